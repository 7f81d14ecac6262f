package pki

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// ServerCertificate keeps the machine listener's own certificate: made at the
// first call, renewed when two thirds of its life are over. Its key lives in this
// process only. While one caller has it renewed, and for a while after that
// failed, the others present the one that is still valid.
type ServerCertificate struct {
	s     *Service
	names []string
	life  time.Duration

	current  atomic.Pointer[served]
	renewing sync.Mutex
	failed   atomic.Pointer[failure] // nil while all is well
}

// failure is a renewal that did not succeed.
type failure struct {
	err   error
	again time.Time // nothing is tried before
}

// served is a certificate with who issued it and when another one is due.
type served struct {
	tls.Certificate
	issuer  string // id of the authority
	renewAt time.Time
}

// renewRest is how long after a failed renewal the next one is tried.
const renewRest = 10 * time.Second

// ServerCertificate serves the given DNS names and addresses with certificates
// of the given life.
func (s *Service) ServerCertificate(names []string, life time.Duration) *ServerCertificate {
	return &ServerCertificate{s: s, names: names, life: life}
}

// Get is the certificate to present, for tls.Config.GetCertificate.
func (c *ServerCertificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	now := c.s.d.Now()
	a, err := c.s.active(certs.KindServer)
	if err != nil {
		return nil, err
	}
	have := c.current.Load()
	valid := have != nil && have.issuer == a.id && !now.After(have.Leaf.NotAfter)
	if f := c.failed.Load(); valid && (now.Before(have.renewAt) || f != nil && now.Before(f.again)) {
		return &have.Certificate, nil
	}
	if !c.renewing.TryLock() {
		if valid {
			return &have.Certificate, nil
		}
		c.renewing.Lock()
	}
	defer c.renewing.Unlock()
	if h := c.current.Load(); h != have && h.issuer == a.id { // whoever held the lock made it
		return &h.Certificate, nil
	}
	fresh, err := c.issue(a, now)
	if err != nil {
		c.failed.Store(&failure{err, now.Add(renewRest)})
		if valid {
			return &have.Certificate, nil
		}
		return nil, err
	}
	c.failed.Store(nil)
	c.current.Store(fresh)
	return &fresh.Certificate, nil
}

// Adopt goes on with a certificate that was made before, by this node or another
// process of it, instead of making one: if it is of the authority that issues now, for
// the same names, and lasts for a while. It reports whether it does, and is called
// before the first Get.
func (c *ServerCertificate) Adopt(pair tls.Certificate) bool {
	a, err := c.s.active(certs.KindServer)
	if err != nil || pair.PrivateKey == nil || len(pair.Certificate) != 2 || !bytes.Equal(pair.Certificate[1], a.Certificate.Raw) {
		return false
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil || leaf.CheckSignatureFrom(a.Certificate) != nil {
		return false
	}
	dns, ips := c.namesOf()
	same := slices.Equal(leaf.DNSNames, dns) && slices.EqualFunc(leaf.IPAddresses, ips, net.IP.Equal)
	renewAt := leaf.NotAfter.Add(-c.life / 3)
	if now := c.s.d.Now(); !same || now.Before(leaf.NotBefore) || !now.Before(renewAt) {
		return false
	}
	pair.Leaf = leaf
	c.current.Store(&served{Certificate: pair, issuer: a.id, renewAt: renewAt})
	return true
}

// namesOf are the names and the addresses among what the certificate is for.
func (c *ServerCertificate) namesOf() (dns []string, ips []net.IP) {
	for _, name := range c.names {
		if ip := net.ParseIP(name); ip != nil {
			ips = append(ips, ip)
		} else {
			dns = append(dns, name)
		}
	}
	return dns, ips
}

// Failing is why the last attempt failed, and when what is presented meanwhile ends,
// zero when there is nothing to present; nil when all is well.
func (c *ServerCertificate) Failing() (ends time.Time, err error) {
	f, have := c.failed.Load(), c.current.Load()
	switch {
	case f == nil:
		return time.Time{}, nil
	case have == nil || c.s.d.Now().After(have.Leaf.NotAfter):
		return time.Time{}, f.err
	}
	if a, err := c.s.active(certs.KindServer); err != nil || have.issuer != a.id { // Get presents none of another's
		return time.Time{}, f.err
	}
	return have.Leaf.NotAfter, f.err
}

func (c *ServerCertificate) issue(a authority, now time.Time) (*served, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := certs.ServerTemplate{PublicKey: key.Public()}
	t.NotBefore, t.NotAfter = validity(now, c.life)
	ends := a.Certificate.NotAfter
	if !now.Before(ends) {
		return nil, fmt.Errorf("the server authority ended at %s; rotate it: sentinel-server keys request --rotate server", ends.UTC().Format(time.RFC3339))
	}
	if ends.Before(t.NotAfter) { // the authority's last days are days too
		t.NotAfter = ends
	}
	t.DNSNames, t.IPs = c.namesOf()
	der, err := certs.IssueServer(a.CA, t)
	if err != nil {
		return nil, fmt.Errorf("issue the server's certificate: %w", err)
	}
	rec, err := issued(a, certs.KindServer, der, "", "", now)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error { return Record(ctx, tx, rec) }); err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &served{
		Certificate: tls.Certificate{Certificate: rec.Chain, PrivateKey: key, Leaf: leaf},
		issuer:      a.id, renewAt: now.Add(c.life * 2 / 3),
	}, nil
}
