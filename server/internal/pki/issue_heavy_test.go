//go:build heavy

package pki_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/seal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/rounds"
)

const heavyDomain = "fleet.test"

// Tens of thousands of certificates (100,000 at five rounds of HEAVY_ROUNDS), each
// looked at by itself and all of them together. ENR-15
func TestManyCertificatesHaveEachASerialOfItsOwnAndTheExactLife(t *testing.T) {
	many := min(20_000*rounds.Of(t), 100_000)
	authority := foundedForIssuing(t)
	issuer, err := authority.Active(certs.KindDevice)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex
	seen := make(map[string]int, many)
	var ones [128]int // how often each bit of a serial was set
	begin := time.Now()
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := worker; i < many; i += 4 {
				// Every length of life, asked for at every fraction of a second.
				life := time.Duration(5+i%7200) * time.Second
				now := begin.Add(time.Duration(i) * 7919 * time.Microsecond)
				c, err := heavyIssue(authority, issuer, key, i, now, life)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if other, twice := seen[c.SerialNumber.String()]; twice {
					t.Errorf("certificates %d and %d have one serial", i, other)
				}
				seen[c.SerialNumber.String()] = i
				for bit := range ones {
					ones[bit] += int(c.SerialNumber.Bit(bit))
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	took := time.Since(begin)

	// A fair bit is set in half of all serials, give or take; beyond six standard
	// deviations it happens to a fair one once in 500 million.
	random := 0
	for _, n := range ones {
		if math.Abs(float64(n)-float64(many)/2) < 6*math.Sqrt(float64(many))/2 {
			random++
		}
	}
	if random < 64 {
		t.Errorf("%d bits of a serial are random, want 64 at least", random)
	}
	if len(seen) != many {
		t.Errorf("%d serials for %d certificates", len(seen), many)
	}
	t.Logf("%d certificates issued and linted twice in %v (%.0f/s), %d random bits in a serial", many, took.Round(time.Millisecond), float64(many)/took.Seconds(), random)
}

// heavyIssue issues one certificate and looks at it with other eyes: its dates
// are worked out here, and the linter is asked again about what came out.
func heavyIssue(authority *pki.Service, issuer *x509.Certificate, key *ecdsa.PrivateKey, i int, now time.Time, life time.Duration) (*x509.Certificate, error) {
	id := fmt.Sprintf("edge-%06d", i)
	issued, err := authority.IssueDevice(id, "enrollment", key.Public(), now, life)
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(issued.Chain[0])
	if err != nil {
		return nil, err
	}
	if got, want := c.NotAfter.Unix()-c.NotBefore.Unix()+1, int64((life+pki.Backdate)/time.Second); got != want {
		return nil, fmt.Errorf("%s: valid for %d seconds, both ends included, want %d", id, got, want)
	}
	if c.NotAfter.Unix() != now.Unix()+int64(life/time.Second)-1 {
		return nil, fmt.Errorf("%s: its last second is %v, for %v from %v", id, c.NotAfter, life, now)
	}
	return c, certs.LintDevice(c.Raw, issuer, certs.DeviceTemplate{
		DeviceID: id, TrustDomain: heavyDomain, PublicKey: key.Public(), NotBefore: c.NotBefore, NotAfter: c.NotAfter,
	})
}

// foundedForIssuing is a service whose authorities the ceremony has signed.
func foundedForIssuing(t *testing.T) *pki.Service {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	d, err := db.Open(t.Context(), db.Options{URL: "sqlite:" + dbtest.SQLitePath(t)})
	must(err)
	t.Cleanup(func() { _ = d.Close() })
	_, err = d.Migrate(t.Context())
	must(err)
	ring, err := seal.NewRing([]byte("a secret of at least thirty-two bytes"))
	must(err)
	service := pki.New(d, ring, heavyDomain)
	asked, err := service.Prepare(t.Context(), authz.System("test"))
	must(err)
	owner, err := ceremony.NewOwner(t.TempDir())
	must(err)
	command, _, err := signing.GenerateEd25519(signing.PurposeCommand)
	must(err)
	founding, err := owner.Hold(t.Context(), ceremony.Request{
		FleetID: db.NewID(d.Now()), FleetName: "Test", TrustDomain: heavyDomain, Authorities: asked, CommandKeys: []signing.Key{command.Key()},
	}, d.Now())
	must(err)
	must(d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error {
		return service.Install(ctx, tx, founding.RootCertificate, founding.Authorities)
	}))
	must(service.Load(t.Context()))
	return service
}
