package httpkit

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
)

type requestIDKey struct{}

// RequestID is the id that the server gave to the request of ctx, "" outside one.
// What a caller sends as X-Request-Id is not it.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

func withRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// Source is the network address of the caller: the peer of the connection,
// whatever headers say. It is "local" for a peer without an address, such as that
// of a Unix socket.
func Source(r *http.Request) string {
	if a, ok := peer(r); ok {
		return a.String()
	}
	return "local"
}

// sourceKey is what a source is counted by: an IPv6 caller has a whole /64 to
// choose addresses from.
func sourceKey(r *http.Request) string {
	a, ok := peer(r)
	if !ok {
		return "local"
	}
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

func peer(r *http.Request) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	return ap.Addr().Unmap().WithZone(""), true
}

// Bearer is the token of an Authorization header of the form of RFC 6750
// section 2.1. Two such headers are none.
func Bearer(r *http.Request) (string, bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", false
	}
	return token, true
}
