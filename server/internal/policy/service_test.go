package policy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// shelf is where the fleet's documents are kept, with a clock that only the test
// moves.
type shelf struct {
	*testing.T
	*policy.Service
	d     *db.DB
	now   time.Time
	asked ceremony.Request
}

func onBoth(t *testing.T, f func(w *shelf)) {
	t.Helper()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := &shelf{T: t, now: noon}
		var err error
		w.d, err = db.Open(t.Context(), db.Options{URL: url, Now: func() time.Time { return w.now }})
		w.must(err)
		t.Cleanup(func() { _ = w.d.Close() })
		_, err = w.d.Migrate(t.Context())
		w.must(err)
		w.Service = policy.New(w.d)
		f(w)
	})
}

func (w *shelf) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

const fleetID = "0195a5c0-0000-7000-8000-000000000001"

// request is what the server asks for, always the same.
func (w *shelf) request() ceremony.Request {
	w.Helper()
	if w.asked.FleetID == "" {
		w.asked = ceremony.Request{FleetID: fleetID, FleetName: "Test", TrustDomain: "fleet.test", CommandKeys: []signing.Key{w.commandKey()}}
		for _, kind := range []certs.Kind{certs.KindDevice, certs.KindServer} {
			w.asked.Authorities = append(w.asked.Authorities, w.authority(string(kind), kind))
		}
	}
	return w.asked
}

func (w *shelf) authority(id string, kind certs.Kind) ceremony.AuthorityRequest {
	w.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	w.must(err)
	return ceremony.AuthorityRequest{ID: id, Kind: kind, PublicKey: pub}
}

func (w *shelf) commandKey() signing.Key {
	w.Helper()
	command, _, err := signing.GenerateEd25519(signing.PurposeCommand)
	w.must(err)
	return command.Key()
}

// founding is a ceremony's result for a fleet.
func (w *shelf) founding(fleetID string) *ceremony.Founding {
	w.Helper()
	r := w.request()
	r.FleetID = fleetID
	return w.hold(r)
}

func (w *shelf) hold(r ceremony.Request) *ceremony.Founding {
	w.Helper()
	owner, err := ceremony.NewOwner(w.TempDir())
	w.must(err)
	f, err := owner.Hold(w.Context(), r, noon)
	w.must(err)
	return f
}

func (w *shelf) found(f *ceremony.Founding) error {
	return w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error { return w.Found(ctx, tx, f, w.request()) })
}

func (w *shelf) exec(query string, args ...any) {
	w.Helper()
	w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	}))
}

func TestDocumentsAreInstalledOnceAndHandedOutAsTheyWereSigned(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *shelf) {
		if err := w.Load(w.Context()); !errors.Is(err, policy.ErrNotFounded) {
			w.Errorf("nothing is installed: %v", err)
		}
		if _, err := w.Fleet(); !errors.Is(err, policy.ErrNotFounded) {
			w.Errorf("nothing is loaded: %v", err)
		}
		f := w.founding(fleetID)
		w.must(w.found(f))
		for _, again := range []*ceremony.Founding{f, w.founding(fleetID)} {
			if err := w.found(again); !errors.Is(err, policy.ErrFounded) {
				w.Errorf("a second root: %v", err)
			}
		}
		w.must(w.Load(w.Context()))
		got, err := w.Fleet()
		w.must(err)
		if string(got.RootEnvelopes[0]) != string(f.FleetRoot) || string(got.BundleBytes) != string(f.PolicyBundle) || got.FirstDigest != got.Root.Digest || got.Bundle.Version != 1 {
			w.Errorf("handed out: %+v", got)
		}
	})
}

func TestWhatADeviceWouldRefuseIsNotInstalled(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *shelf) {
		good, other := w.founding(fleetID), w.founding(fleetID)
		for name, spoil := range map[string]func(f *ceremony.Founding){
			"another fleet's root":           func(f *ceremony.Founding) { *f = *w.founding("0195a5c0-0000-7000-8000-000000000002") },
			"a bundle under another root":    func(f *ceremony.Founding) { f.PolicyBundle = other.PolicyBundle },
			"a root instead of a bundle":     func(f *ceremony.Founding) { f.PolicyBundle = f.FleetRoot },
			"a bundle instead of a root":     func(f *ceremony.Founding) { f.FleetRoot = f.PolicyBundle },
			"a root that is none":            func(f *ceremony.Founding) { f.FleetRoot = []byte("{}") },
			"a bundle that is none":          func(f *ceremony.Founding) { f.PolicyBundle = nil },
			"a bundle that has expired":      func(*ceremony.Founding) { w.now = noon.Add(30 * 24 * time.Hour) },
			"a bundle of a far future clock": func(*ceremony.Founding) { w.now = noon.Add(-time.Hour) },
		} {
			f := *good
			spoil(&f)
			if err := w.found(&f); err == nil {
				w.Errorf("%s: installed", name)
			}
			w.now = noon
		}
		if n, err := w.d.Read().NewSelect().Table("fleet_documents").Count(w.Context()); err != nil || n != 0 {
			w.Errorf("%d documents of refused ceremonies, %v", n, err)
		}
	})
}

// A request that was changed on its way to the ceremony would have every device
// believe an authority, or a command key, that is not this server's.
func TestNothingIsInstalledThatThisServerDidNotAskFor(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *shelf) {
		for name, change := range map[string]func(r *ceremony.Request, f func() *ceremony.Founding) *ceremony.Founding{
			"one more server authority, hidden afterwards": func(r *ceremony.Request, hold func() *ceremony.Founding) *ceremony.Founding {
				r.Authorities = append(slices.Clone(r.Authorities), w.authority("mine", certs.KindServer))
				f := hold()
				f.Authorities = f.Authorities[:2]
				return f
			},
			"one more device authority": func(r *ceremony.Request, hold func() *ceremony.Founding) *ceremony.Founding {
				r.Authorities = append(slices.Clone(r.Authorities), w.authority("mine", certs.KindDevice))
				return hold()
			},
			"one more command key": func(r *ceremony.Request, hold func() *ceremony.Founding) *ceremony.Founding {
				r.CommandKeys = append(slices.Clone(r.CommandKeys), w.commandKey())
				return hold()
			},
			"another command key": func(r *ceremony.Request, hold func() *ceremony.Founding) *ceremony.Founding {
				r.CommandKeys = []signing.Key{w.commandKey()}
				return hold()
			},
			"another trust domain": func(r *ceremony.Request, hold func() *ceremony.Founding) *ceremony.Founding {
				r.TrustDomain = "other.test"
				return hold()
			},
		} {
			r := w.request()
			f := change(&r, func() *ceremony.Founding { return w.hold(r) })
			if err := w.found(f); !errors.Is(err, policy.ErrForeign) {
				w.Errorf("%s: %v", name, err)
			}
		}
	})
}

// ATT-04: what is stored is verified again whenever it is loaded.
func TestADocumentThatWasChangedInTheDatabaseIsNotHandedOut(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *shelf) {
		f, other := w.founding(fleetID), w.founding(fleetID)
		w.must(w.found(f))
		w.must(w.Load(w.Context()))
		for name, c := range map[string]struct {
			kind     string
			envelope []byte
		}{
			"a root of another ceremony":   {"fleet-root", other.FleetRoot},
			"a root that is none":          {"fleet-root", []byte("{}")},
			"a bundle of another ceremony": {"policy-bundle", other.PolicyBundle},
			"a root as bundle":             {"policy-bundle", f.FleetRoot},
			"a bundle that is none":        {"policy-bundle", []byte("{}")},
		} {
			before := f.FleetRoot
			if c.kind == "policy-bundle" {
				before = f.PolicyBundle
			}
			w.exec("UPDATE fleet_documents SET envelope = ? WHERE kind = ?", c.envelope, c.kind)
			if err := w.Load(w.Context()); err == nil {
				w.Errorf("%s: loaded", name)
			}
			if got, err := w.Fleet(); err != nil || string(got.BundleBytes) != string(f.PolicyBundle) {
				w.Errorf("%s: what was loaded before is gone: %v", name, err)
			}
			w.exec("UPDATE fleet_documents SET envelope = ? WHERE kind = ?", before, c.kind)
			w.must(w.Load(w.Context()))
		}
		// Both together fit each other: only the digest of what was installed tells.
		w.exec("UPDATE fleet_documents SET envelope = ? WHERE kind = 'fleet-root'", other.FleetRoot)
		w.exec("UPDATE fleet_documents SET envelope = ? WHERE kind = 'policy-bundle'", other.PolicyBundle)
		if err := w.Load(w.Context()); !errors.Is(err, signing.ErrRootDigest) {
			w.Errorf("root and bundle of another ceremony: %v", err)
		}
	})
}

// REL-06: one that has expired, and one that a clock was ahead for, are what was
// verified when they were installed.
func TestNoClockTakesTheBundleAway(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *shelf) {
		w.must(w.found(w.founding(fleetID)))
		for _, now := range []time.Time{noon.AddDate(1, 0, 0), noon.Add(-time.Hour), noon.AddDate(-50, 0, 0)} {
			w.now = now
			s := policy.New(w.d) // a start knows of nothing
			w.must(s.Load(w.Context()))
			if f, err := s.Fleet(); err != nil || f.Bundle == nil || f.Bundle.Version != 1 || f.BundleDigest == "" {
				w.Errorf("%s: %+v, %v", now, f, err)
			}
		}
	})
}
