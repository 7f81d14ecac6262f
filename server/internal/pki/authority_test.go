package pki_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/seal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

func TestNothingIsIssuedBeforeTheCeremony(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.must(w.Load(w.Context()))
		w.request() // the keys alone issue nothing
		w.must(w.Load(w.Context()))
		if _, err := w.IssueDevice("edge-1", "e1", newKey(t), w.now, time.Hour); !errors.Is(err, pki.ErrNoAuthority) {
			w.Errorf("a device's certificate: %v", err)
		}
		if _, err := w.ServerCertificate([]string{"localhost"}, time.Hour).Get(nil); !errors.Is(err, pki.ErrNoAuthority) {
			w.Errorf("the server's certificate: %v", err)
		}
		if list, _ := w.Issuers(certs.KindDevice); len(list) != 0 {
			w.Errorf("%d issuers are believed", len(list))
		}
	})
}

func TestPreparingAgainAsksForTheSameKeys(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		first, second := w.request().Authorities, w.request().Authorities
		same := func(a, b ceremony.AuthorityRequest) bool {
			return a.ID == b.ID && a.Kind == b.Kind && string(a.PublicKey) == string(b.PublicKey)
		}
		if len(first) != 2 || !slices.EqualFunc(first, second, same) {
			w.Errorf("%+v, then %+v", first, second)
		}
		w.founded()
		if list, err := w.Prepare(w.Context(), authz.System("test")); err != nil || len(list) != 0 {
			w.Errorf("with active authorities: %+v, %v", list, err)
		}
		if _, err := w.Prepare(w.Context(), authz.By{}); !errors.Is(err, authz.ErrDenied) {
			w.Errorf("by nobody: %v", err)
		}
	})
}

func TestAnAuthorityIsInstalledOnlyAsItWasAskedFor(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		asked := w.request()
		good := w.sign(asked)
		other := asked
		other.Authorities = slices.Clone(asked.Authorities)
		other.Authorities[0].PublicKey, other.Authorities[1].PublicKey = asked.Authorities[1].PublicKey, asked.Authorities[0].PublicKey
		exchangedKeys := w.sign(other)
		stranger := w.sign(asked)
		for name, c := range map[string]struct {
			change func(f *ceremony.Founding)
			want   error // nil: any
		}{
			"an authority nobody asked for":     {func(f *ceremony.Founding) { f.Authorities[0].ID = "another" }, pki.ErrNotRequested},
			"another key than asked for":        {func(f *ceremony.Founding) { *f = *exchangedKeys }, pki.ErrNotRequested},
			"the two exchanged":                 {func(f *ceremony.Founding) { a := f.Authorities; a[0].ID, a[1].ID = a[1].ID, a[0].ID }, pki.ErrNotRequested},
			"one twice":                         {func(f *ceremony.Founding) { f.Authorities[1] = f.Authorities[0] }, db.ErrConflict},
			"a root of another ceremony":        {func(f *ceremony.Founding) { f.RootCertificate = stranger.RootCertificate }, nil},
			"a certificate of another ceremony": {func(f *ceremony.Founding) { f.Authorities[0] = stranger.Authorities[0] }, nil},
			"the root as an authority":          {func(f *ceremony.Founding) { f.Authorities[0].Certificate = f.RootCertificate }, pki.ErrNotRequested},
			"a root that cannot be read":        {func(f *ceremony.Founding) { f.RootCertificate = []byte("root") }, nil},
			"a certificate that cannot be read": {func(f *ceremony.Founding) { f.Authorities[0].Certificate = []byte("x") }, nil},
		} {
			f := *good
			f.Authorities = slices.Clone(good.Authorities)
			c.change(&f)
			if err := w.install(&f); err == nil || c.want != nil && !errors.Is(err, c.want) {
				w.Errorf("%s: %v", name, err)
			}
			w.must(w.Load(w.Context()))
			if _, err := w.Active(certs.KindDevice); !errors.Is(err, pki.ErrNoAuthority) {
				w.Fatalf("%s: an authority is active: %v", name, err)
			}
		}
		w.must(w.install(good))
		if err := w.install(good); !errors.Is(err, pki.ErrNotRequested) {
			w.Errorf("a second time: %v", err)
		}
	})
}

// PKI-05: the server's authority makes no devices, and the other way round.
func TestTheTwoAuthoritiesServeOneKindEach(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		device, err := w.IssueDevice("edge-1", "e1", newKey(t), w.now, time.Hour)
		w.must(err)
		server, err := w.ServerCertificate([]string{"localhost"}, time.Hour).Get(nil)
		w.must(err)
		devices, _ := w.Issuers(certs.KindDevice)
		servers, _ := w.Issuers(certs.KindServer)
		if string(device.Chain[1]) != string(devices[0].Raw) || string(server.Certificate[1]) != string(servers[0].Raw) || string(devices[0].RawSubjectPublicKeyInfo) == string(servers[0].RawSubjectPublicKeyInfo) {
			w.Error("one key issues both kinds")
		}
	})
}

// BKP-06: without the secret, the database gives no issuing key away.
func TestAnIssuingKeyOpensUnderItsSecretOnly(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		if err := w.node("another secret of thirty-two bytes or more", "fleet.test").Load(w.Context()); !errors.Is(err, seal.ErrUnknownKey) {
			w.Errorf("another secret: %v", err)
		}
		again := w.node("a secret of at least thirty-two bytes", "fleet.test")
		w.must(again.Load(w.Context()))
		before, err := w.Active(certs.KindDevice)
		w.must(err)
		if got, err := again.Active(certs.KindDevice); err != nil || !got.Equal(before) {
			w.Errorf("another node: %v", err)
		}
		// Someone who may write to the database gives one authority the other's key.
		w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE authorities SET sealed_key = (SELECT sealed_key FROM authorities WHERE kind = 'server') WHERE kind = 'device'")
			return err
		}))
		if err := again.Load(w.Context()); !errors.Is(err, seal.ErrTampered) {
			w.Errorf("a key moved to another row: %v", err)
		}
	})
}
