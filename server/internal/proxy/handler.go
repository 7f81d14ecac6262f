package proxy

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/netip"
	"time"
)

// ErrNotProxy says that a request on the proxy's listener is not the proxy's.
var ErrNotProxy = errors.New("the caller did not prove to be the proxy")

// ErrForeign says that somebody who is not the proxy speaks for it.
var ErrForeign = errors.New("only the proxy says which certificate a client has, on its own listener")

// Refuse answers a request that goes no further.
type Refuse func(w http.ResponseWriter, r *http.Request, err error)

// Gate stands before the handlers of the proxy's listeners.
type Gate struct {
	// Secrets prove the proxy where its socket's user does not: the present one, and one
	// that is still taken while both ends change to the next. Without any, only peers
	// that the listener itself judged count.
	Secrets [][]byte
	Now     func() time.Time
	Refuse  Refuse
	// Lists hears when the first of the revocation lists ends that the proxy goes by, if
	// it says so; nil hears nothing.
	Lists func(ends time.Time)
}

// Machines is the handler of the listener for devices. A handler behind it finds the
// certificate and the address where it would on a direct connection.
func (g Gate) Machines(next http.Handler) http.Handler {
	return g.stand(next, func(h http.Header) (word, error) { return read(h, g.Now()) })
}

// People is the handler of the listener for people.
func (g Gate) People(next http.Handler) http.Handler { return g.stand(next, readPeople) }

func (g Gate) stand(next http.Handler, read func(http.Header) (word, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !judged(r.Context()) && !knows(r.Header.Values(HeaderSecret), g.Secrets) {
			g.Refuse(w, r, ErrNotProxy)
			return
		}
		r = r.Clone(r.Context())
		said, err := read(r.Header)
		if err != nil {
			g.Refuse(w, r, err)
			return
		}
		if g.Lists != nil && !said.lists.IsZero() {
			g.Lists(said.lists)
		}
		r.RemoteAddr = netip.AddrPortFrom(said.address, 0).String()
		r.TLS = &tls.ConnectionState{HandshakeComplete: true}
		if said.certificate != nil {
			r.TLS.PeerCertificates = []*x509.Certificate{said.certificate}
		}
		next.ServeHTTP(w, r)
	})
}

// Closed is the handler of every other listener while there is one for the proxy.
func Closed(next http.Handler, refuse Refuse) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if Speaks(r.Header) {
			refuse(w, r, ErrForeign)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// knows compares in constant time, with every secret whatever the first says.
func knows(said []string, secrets [][]byte) bool {
	if len(said) != 1 || said[0] == "" {
		return false
	}
	ok := 0
	for _, s := range secrets {
		ok |= subtle.ConstantTimeCompare([]byte(said[0]), s)
	}
	return ok == 1
}

type judgedKey struct{}

// judged reports whether the connection's peer was found to be the proxy's user.
func judged(ctx context.Context) bool {
	ok, _ := ctx.Value(judgedKey{}).(bool)
	return ok
}
