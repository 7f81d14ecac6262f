//go:build boundary

package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// authority is another one than the server's.
type authority struct {
	t      *testing.T
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	number int64
}

// newAuthority makes one below another, or its own root.
func newAuthority(t *testing.T, name string, above *authority) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	if above == nil {
		above = &authority{t: t, cert: template, key: key}
	}
	a.cert = above.sign(template, key)
	return a
}

func (a *authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// issue is a device's certificate with its key.
func (a *authority) issue(id string, change func(*x509.Certificate)) *tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: id}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if change != nil {
		change(template)
	}
	leaf := a.sign(template, key)
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// list writes what is revoked.
func (a *authority) list(path string, revoked ...*tls.Certificate) {
	a.t.Helper()
	a.number++
	l := &x509.RevocationList{Number: big.NewInt(a.number), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	for _, c := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.Leaf.SerialNumber, RevocationTime: time.Now().Add(-time.Minute)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, a.cert, a.key)
	if err == nil {
		err = os.WriteFile(path+".new", der, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) file(dir string) string {
	a.t.Helper()
	path := filepath.Join(dir, a.cert.Subject.CommonName+".pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// C1, REV-04, PRX-09: devices with certificates of another authority come through NGINX
// as they come without it, and NGINX refuses what it can know to be revoked.
func TestDevicesOfAnotherAuthorityComeThroughNGINX(t *testing.T) {
	for _, c := range []struct {
		name             string
		below, rootNamed bool // the authority is below a root, which the settings name
		lists            bool // there are lists, and no responder
		looks            bool // at lists, NGINX does
	}{
		{"its own root with a list", false, false, true, true},
		{"below a root with two lists", true, true, true, true},
		{"below a root that is not named", true, false, true, false},
		{"with a responder only", false, false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			root := newAuthority(t, "root", nil)
			issuer := root
			if c.below {
				issuer = newAuthority(t, "issuer", root)
			}
			settings := map[string]string{"SENTINEL_DEVICE_CA": "external", "SENTINEL_EXTERNAL_CA_FILES": issuer.file(dir), "SENTINEL_REVOCATION_INTERVAL": "1s"}
			if c.rootNamed {
				settings["SENTINEL_EXTERNAL_CA_ROOT_FILES"] = root.file(dir)
			}
			ours, above := filepath.Join(dir, "issuer.crl"), filepath.Join(dir, "root.crl")
			switch {
			case c.rootNamed:
				settings["SENTINEL_REVOCATION_LISTS"] = ours + "," + above
			case c.lists:
				settings["SENTINEL_REVOCATION_LISTS"] = ours
			default:
				settings["SENTINEL_REVOCATION_RESPONDER"] = "http://" + freePort(t) // where nobody answers
			}
			edge, gone := issuer.issue("edge-1", nil), issuer.issue("edge-2", nil)
			if c.lists {
				issuer.list(ours, gone)
			}
			if c.rootNamed {
				root.list(above)
			}
			w := newWorld(t, options{settings: settings})
			w.install()
			ask := func(pair *tls.Certificate) answer {
				return w.post(w.caller(pair), protocol.PathHeartbeat, w.firstBeat(pair))
			}
			await := func(what string, ok func(a answer) bool, pair *tls.Certificate) {
				t.Helper()
				said := ""
				defer func() {
					if t.Failed() {
						t.Log(said)
					}
				}()
				w.eventually(20*time.Second, what, func() bool {
					w.refresh()
					a := ask(pair)
					said = fmt.Sprintf("%s: %d %s, by the server: %t", what, a.status, a.code, a.byServer())
					return ok(a)
				})
			}
			if c.lists {
				await("a device's review is opened", func(a answer) bool { return a.code == protocol.CodeReviewPending && a.byServer() }, edge)
				await("a revoked one is refused", func(a answer) bool {
					if c.looks {
						return a.code == protocol.CodeCertificateUnknown && !a.byServer()
					}
					return a.code == protocol.CodeCertificateRevoked && a.byServer()
				}, gone)
				issuer.list(ours, gone, edge)
				await("one that is revoked later is refused", func(a answer) bool {
					return a.status >= 400 && a.code != protocol.CodeReviewPending && a.byServer() != c.looks
				}, edge)
			} else {
				await("the server says that it does not know", func(a answer) bool { return a.code == protocol.CodeRevocationUnknown && a.byServer() }, edge)
			}
			long := issuer.issue("edge-3", func(c *x509.Certificate) {
				for i := range 60 { // over 6000 octets
					c.URIs = append(c.URIs, &url.URL{Scheme: "https", Host: "example.com", Path: fmt.Sprintf("/%d/%s", i, strings.Repeat("a", 70))})
				}
			})
			want := protocol.CodeReviewPending
			if !c.lists {
				want = protocol.CodeRevocationUnknown
			}
			if a := ask(long); a.code != want || !a.byServer() {
				t.Errorf("a certificate of %d octets: %d %s, by the server: %t", len(long.Leaf.Raw), a.status, a.code, a.byServer())
			}
			for name, pair := range map[string]*tls.Certificate{
				"of a third authority":     newAuthority(t, issuer.cert.Subject.CommonName, nil).issue("edge-4", nil),
				"for servers":              issuer.issue("edge-5", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
				"of one beside it":         newAuthority(t, "beside", root).issue("edge-6", nil),
				"the authority's own":      {Certificate: [][]byte{issuer.cert.Raw}, PrivateKey: issuer.key},
				"of an authority under it": newAuthority(t, "under", issuer).issue("edge-7", nil),
			} {
				if a := ask(pair); a.status != http.StatusUnauthorized {
					t.Errorf("a certificate %s: %d %s", name, a.status, a.code)
				}
			}
			if n := w.Count("devices", "1=1"); n != 0 {
				t.Errorf("%d devices were let in", n)
			}
		})
	}
}

// firstBeat is the heartbeat by which a device with a certificate asks to be let in.
func (w *world) firstBeat(pair *tls.Certificate) *protocol.Heartbeat {
	w.Helper()
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	w.must(err)
	h := *w.NewDevice(leaf.Subject.CommonName).Heartbeat()
	own := fmt.Sprintf("0198c1f0-7c1e-7cc2-8a5d-%012x", leaf.SerialNumber.Int64()&(1<<48-1))
	h.Epoch, h.BootID, h.EnrollmentID = own, own, own
	return &h
}
