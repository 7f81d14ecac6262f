package deviceapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// peer is what is known of the certificate of one connection. Its chain is
// verified once for a set of issuers; its dates are judged at every request.
type peer struct {
	mu      sync.Mutex
	known   bool
	round   int
	at      time.Time
	id      certs.Identity
	retired bool // the authority that issued the certificate issues no more
}

type peerKey struct{}

// ConnContext gives a connection its peer, for http.Server.ConnContext.
func ConnContext(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, &peer{})
}

// EachRequest gives each request a peer of its own, in place of ConnContext: a proxy
// brings requests of many devices over one connection, and nothing that was found out
// about one of them may be said of the next.
func EachRequest(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, &peer{})))
	})
}

// verifyAgain is how long a verified chain is believed on an open connection, so
// that an issuer's own end is noticed there too.
const verifyAgain = time.Minute

type identityKey struct{}

// identify lets a request pass with the identity that its connection proved.
func (a *API) identify(_ httpkit.Route, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := a.identity(r.Context(), r.TLS)
		if errors.Is(err, certs.ErrExpired) && id.Outside == nil {
			err = a.flow.Ended(r.Context(), id, err)
		}
		if err == nil && id.Outside != nil {
			err = a.outside.Standing(id.Outside.Chain)
		}
		if err != nil {
			a.refuse(w, r, audit.Entry{Action: audit.DeviceIdentity, ObjectKind: "device", ObjectID: id.DeviceID}, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, id)))
	})
}

// identity is who the connection proved to be. With certs.ErrExpired and
// certs.ErrNotYetValid the identity comes too.
func (a *API) identity(ctx context.Context, state *tls.ConnectionState) (certs.Identity, error) {
	if state == nil {
		return certs.Identity{}, certs.ErrNoCertificate
	}
	_, round := a.pki.Issuers(certs.KindDevice)
	now := a.now()
	p, ok := ctx.Value(peerKey{}).(*peer)
	if !ok {
		return a.verify(state.PeerCertificates, now)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if age := now.Sub(p.at); p.known && p.round == round && age >= 0 && age < verifyAgain {
		return p.id, inDate(p.id, now)
	}
	id, err := a.verify(state.PeerCertificates, now)
	if err == nil || errors.Is(err, certs.ErrExpired) || errors.Is(err, certs.ErrNotYetValid) {
		p.known, p.round, p.at, p.id = true, round, now, id
		p.retired = id.Outside == nil && a.pki.IsRetired(state.PeerCertificates[0])
	}
	return id, err
}

// verify judges what a caller presented, by the rule of another authority where that
// one issued it. What bears the name of an authority of ours is judged by our rule alone:
// no setting and no other authority of that name takes our devices out of it.
func (a *API) verify(presented []*x509.Certificate, now time.Time) (certs.Identity, error) {
	issuers, _ := a.pki.Issuers(certs.KindDevice)
	if a.outside != nil && a.outside.Issued(presented) && !slices.ContainsFunc(issuers, func(c *x509.Certificate) bool {
		return bytes.Equal(c.RawSubject, presented[0].RawIssuer)
	}) {
		return a.outside.Verify(presented, now)
	}
	return certs.VerifyDevice(presented, issuers, a.pki.TrustDomain(), now)
}

// retired reports whether the caller's certificate is of an authority that issues
// no more. It was found out when the connection was identified, and is found out
// again when authorities change.
func (a *API) retired(ctx context.Context) bool {
	p, ok := ctx.Value(peerKey{}).(*peer)
	if !ok {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.retired
}

func inDate(id certs.Identity, now time.Time) error {
	switch {
	case now.After(id.NotAfter):
		return certs.ErrExpired
	case now.Before(id.NotBefore):
		return certs.ErrNotYetValid
	}
	return nil
}
