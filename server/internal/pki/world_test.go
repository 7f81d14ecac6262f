package pki_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/seal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// office is a certificate authority before its ceremony, with a clock that only
// the test moves.
type office struct {
	*testing.T
	*pki.Service
	d      *db.DB
	now    time.Time
	commit func(func() error) error // stands in for a commit, when there is one
}

func onBoth(t *testing.T, f func(w *office)) {
	t.Helper()
	dbtest.Both(t, func(t *testing.T, url string) { f(newOffice(t, url)) })
}

func newOffice(t *testing.T, url string) *office {
	t.Helper()
	w := &office{T: t, now: noon}
	var err error
	w.d, err = db.Open(t.Context(), db.Options{URL: url, Now: func() time.Time { return w.now }, Hooks: db.Hooks{
		Commit: func(_ context.Context, commit func() error) error {
			if w.commit != nil {
				return w.commit(commit)
			}
			return commit()
		},
	}})
	w.must(err)
	t.Cleanup(func() { _ = w.d.Close() })
	_, err = w.d.Migrate(t.Context())
	w.must(err)
	_, err = w.d.Begin(t.Context(), "trial")
	w.must(err)
	w.Service = w.node("a secret of at least thirty-two bytes", "fleet.test")
	return w
}

// node is another service over the same database.
func (w *office) node(secret, domain string) *pki.Service {
	w.Helper()
	ring, err := seal.NewRing([]byte(secret))
	w.must(err)
	return pki.New(w.d, ring, domain)
}

// record issues a device's certificate and stores it.
func (w *office) record(id string) *pki.Issued {
	w.Helper()
	c, err := w.IssueDevice(id, "e1", newKey(w.T), w.now, time.Hour)
	w.must(err)
	w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error { return pki.Record(ctx, tx, c) }))
	return c
}

func (w *office) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *office) request() ceremony.Request {
	w.Helper()
	list, err := w.Prepare(w.Context(), authz.System("test"))
	w.must(err)
	in, err := w.d.Instance(w.Context())
	w.must(err)
	command, _, err := signing.GenerateEd25519(signing.PurposeCommand)
	w.must(err)
	return ceremony.Request{FleetID: in.FleetID, FleetName: "Test", TrustDomain: w.TrustDomain(), Authorities: list, CommandKeys: []signing.Key{command.Key()}}
}

func (w *office) sign(r ceremony.Request) *ceremony.Founding {
	w.Helper()
	owner, err := ceremony.NewOwner(w.TempDir())
	w.must(err)
	f, err := owner.Hold(w.Context(), r, w.now)
	w.must(err)
	return f
}

func (w *office) install(f *ceremony.Founding) error {
	return w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error {
		return w.Install(ctx, tx, f.RootCertificate, f.Authorities)
	})
}

// founded is an office that issues.
func (w *office) founded() {
	w.Helper()
	w.must(w.install(w.sign(w.request())))
	w.must(w.Load(w.Context()))
}

func newKey(t *testing.T) crypto.PublicKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key.Public()
}
