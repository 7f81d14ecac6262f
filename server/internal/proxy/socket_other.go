//go:build !linux

package proxy

import (
	"context"
	"errors"
	"net"
)

var errNoPeer = errors.New("this system does not say who is at the other end of a socket; use an address and SENTINEL_PROXY_SECRET")

// Users are the user ids that a proxy may run as.
func Users([]string) (map[uint32]bool, error) { return nil, errNoPeer }

// ListenUnix listens on a Unix socket that only connections of the given users get
// through.
func ListenUnix(context.Context, string, map[uint32]bool) (net.Listener, error) {
	return nil, errNoPeer
}

// ConnContext marks what came through such a socket, for http.Server.ConnContext.
func ConnContext(ctx context.Context, _ net.Conn) context.Context { return ctx }
