package flow_test

import (
	"crypto/x509"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

var bothKinds = []certs.Kind{certs.KindDevice, certs.KindServer}

// owner is the fleet's owner, whose keys the server does not hold.
func (w *world) owner() *ceremony.Owner {
	w.Helper()
	o, err := ceremony.LoadOwner(w.keys)
	w.must(err)
	return o
}

// rotation is what the owner makes of the server's request.
func (w *world) rotation(drop []string, kinds ...certs.Kind) *ceremony.Rotation {
	w.Helper()
	request, chain, err := flow.RotationRequest(w.Context(), w.d, w.pki, w.by, "Test", kinds...)
	w.must(err)
	r, err := w.owner().Rotate(w.Context(), request, chain, drop, w.clock.Now())
	w.must(err)
	return r
}

func (w *world) install(r *ceremony.Rotation, force bool) error {
	_, err := flow.InstallRotation(w.Context(), w.d, w.pki, w.policy, w.by, r, force)
	return err
}

func (w *world) activate(kind certs.Kind, force bool) error {
	return flow.ActivateAuthority(w.Context(), w.d, w.pki, w.by, kind, force)
}

func (w *world) active(kind certs.Kind) string {
	w.Helper()
	ca, err := w.pki.Active(kind)
	w.must(err)
	return certs.Fingerprint(ca.Raw)
}

// believed says whether a device's certificate is, by the authorities as they are.
func (a *agent) believed() error {
	a.w.Helper()
	leaf, err := x509.ParseCertificate(a.chain[0])
	a.w.must(err)
	issuers, _ := a.w.pki.Issuers(certs.KindDevice)
	_, err = certs.VerifyDevice([]*x509.Certificate{leaf}, issuers, "fleet.test", a.w.clock.Now())
	return err
}

// PKI-11: old and new certificates work through a change of authorities, and what
// was dropped is worth nothing.
func TestAuthoritiesChangeWithoutAGap(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		old := w.enrolled("edge-1")
		w.must(old.beat())
		first, firstServer := w.active(certs.KindDevice), w.active(certs.KindServer)

		w.must(w.install(w.rotation(nil, bothKinds...), false))
		if w.active(certs.KindDevice) != first {
			t.Fatal("a published authority issues")
		}
		if issuers, _ := w.pki.Issuers(certs.KindDevice); len(issuers) != 2 {
			t.Fatalf("%d authorities are believed", len(issuers))
		}
		w.must(w.activate(certs.KindDevice, false))
		second := w.active(certs.KindDevice)
		if second == first || old.believed() != nil {
			t.Fatal("the change is not a change, or the old certificate is lost")
		}
		w.must(old.beat())

		var needed *flow.NeededError
		if err := w.activate(certs.KindServer, false); !errors.As(err, &needed) || needed.Devices != 1 {
			t.Fatalf("the server's authority, while a device does not know it: %v", err)
		}
		if w.active(certs.KindServer) != firstServer {
			t.Fatal("it was changed all the same")
		}
		young := old.renewed()
		if _, rest := young.chain[0], young.chain[1]; certs.Fingerprint(rest) != second {
			t.Error("a renewal is not of the new authority")
		}
		young.counter, young.beatNonce, young.receipt = old.counter, old.beatNonce, old.receipt
		h := young.heartbeat()
		h.RootVersion = 2
		w.must(young.send(h))
		w.must(w.activate(certs.KindServer, false))
		if w.active(certs.KindServer) == firstServer {
			t.Error("the server's authority is the old one")
		}

		straggler := w.enrolled("edge-2") // of the new authority
		w.must(straggler.beat())
		r := w.rotation([]string{first, firstServer})
		w.must(w.install(r, false))
		if err := old.believed(); !errors.Is(err, certs.ErrUnknownIssuer) {
			t.Errorf("a certificate of a dropped authority: %v", err)
		}
		w.must(young.believed())
		for action, n := range map[string]int{audit.RootPublish: 2, audit.AuthorityActivate: 2, audit.AuthorityRetire: 2} {
			if got := w.count("audit_entries", "action = ?", action); got != n {
				t.Errorf("%d entries of %s, want %d", got, action, n)
			}
		}
		fleet, err := w.policy.Fleet()
		w.must(err)
		if fleet.Root.Root.Version != 3 || len(fleet.RootEnvelopes) != 3 {
			t.Errorf("fleet root %d", fleet.Root.Root.Version)
		}
	})
}

// PKI-11: nothing is dropped that devices go by, until nobody may come back.
func TestAnAuthorityIsNotDroppedWhileDevicesGoByIt(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		w.must(w.enrolled("edge-1").beat())
		gone := w.enrolled("edge-2")
		w.must(w.Revoke(t.Context(), w.by, gone.id, "test"))
		first := w.active(certs.KindDevice)
		w.must(w.install(w.rotation(nil, certs.KindDevice), false))
		if err := w.install(w.rotation([]string{first}), false); !errors.Is(err, policy.ErrForeign) {
			t.Errorf("an authority that issues is left out: %v", err)
		}
		w.must(w.activate(certs.KindDevice, false))
		r := w.rotation([]string{first})
		var needed *flow.NeededError
		if err := w.install(r, false); !errors.As(err, &needed) || needed.Devices != 1 {
			t.Fatalf("while a device goes by it: %v", err)
		}
		w.clock.Add(standard.CertificateLife + identity.Window)
		w.must(w.install(r, false))
	})
}

func TestADropCanBeForced(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		w.enrolled("edge-1")
		first := w.active(certs.KindDevice)
		w.must(w.install(w.rotation(nil, bothKinds...), false))
		w.must(w.activate(certs.KindDevice, false))
		w.must(w.activate(certs.KindServer, true))
		w.must(w.install(w.rotation([]string{first}), true))
	})
}

// PKI-11, UPD-09: the root that follows is the owner's, and names what is ours.
func TestARootThatNamesWhatIsNotOursIsNotInstalled(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		ctx := t.Context()
		request, chain, err := flow.RotationRequest(ctx, w.d, w.pki, w.by, "Test", certs.KindDevice)
		w.must(err)
		rotate := func(change func(r *ceremony.Request)) *ceremony.Rotation {
			r := request
			change(&r)
			rotation, err := w.owner().Rotate(ctx, r, chain, nil, w.clock.Now())
			w.must(err)
			return rotation
		}
		foreign := newWorld(t, "sqlite:"+filepath.Join(t.TempDir(), "other.db"), nil)
		theirs, _, err := flow.RotationRequest(ctx, foreign.d, foreign.pki, foreign.by, "Test", bothKinds...)
		w.must(err)
		good := rotate(func(*ceremony.Request) {})

		silent := rotate(func(r *ceremony.Request) { r.Authorities = append(r.Authorities, theirs.Authorities[1]) })
		silent.Authorities = silent.Authorities[:1]
		missing := rotate(func(r *ceremony.Request) { r.Authorities = nil })
		missing.Authorities = good.Authorities
		otherKeys, err := ceremony.NewOwner(t.TempDir())
		w.must(err)
		if _, err := otherKeys.Rotate(ctx, request, chain, nil, w.clock.Now()); !errors.Is(err, ceremony.ErrOwner) {
			t.Errorf("another owner's keys: %v", err)
		}
		if _, err := w.owner().Rotate(ctx, request, chain, []string{"00"}, w.clock.Now()); !errors.Is(err, ceremony.ErrNotNamed) {
			t.Errorf("to drop what is not named: %v", err)
		}
		otherRoot := *good
		otherRoot.RootCertificate = foreign.rotation(nil, certs.KindDevice).RootCertificate
		for name, c := range map[string]struct {
			r    *ceremony.Rotation
			want error
		}{
			"an authority that nobody asked for":  {rotate(func(r *ceremony.Request) { r.Authorities = theirs.Authorities }), pki.ErrNotRequested},
			"one that is named but not handed in": {silent, policy.ErrForeign},
			"one that is handed in but not named": {missing, policy.ErrForeign},
			"certificates by another key":         {&otherRoot, pki.ErrOtherRoot},
			"the fleet root that is there":        {&ceremony.Rotation{FleetRoot: chain[0]}, signing.ErrRollback},
			"another fleet's root":                {&ceremony.Rotation{FleetRoot: foreign.rotation(nil, certs.KindDevice).FleetRoot}, signing.ErrThreshold},
		} {
			if err := w.install(c.r, true); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
		if w.count("fleet_documents", "kind = 'fleet-root'") != 1 || w.count("authorities", "state NOT IN ('requested', 'active')") != 0 {
			t.Fatal("a refused root left something")
		}
		w.must(w.install(good, false))
		if err := w.install(good, false); !errors.Is(err, pki.ErrNotRequested) {
			t.Errorf("the same again: %v", err)
		}
		if _, _, err := flow.RotationRequest(ctx, w.d, w.pki, w.by, "Test", certs.KindDevice); !errors.Is(err, pki.ErrPublished) {
			t.Errorf("another change before the first is finished: %v", err)
		}
		if err := w.activate(certs.KindServer, true); !errors.Is(err, pki.ErrNotPublished) {
			t.Errorf("nothing to activate: %v", err)
		}
	})
}

// Other nodes notice by what is stored.
func TestANodeTakesOverWhatAnotherChanged(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		other := pki.New(w.d, w.ring, "fleet.test")
		w.must(other.Load(t.Context()))
		_, round := other.Issuers(certs.KindDevice)
		w.must(other.Refresh(t.Context()))
		if _, again := other.Issuers(certs.KindDevice); again != round {
			t.Error("nothing changed, and it was loaded again")
		}
		w.must(w.install(w.rotation(nil, certs.KindDevice), false))
		w.must(w.activate(certs.KindDevice, false))
		w.must(other.Refresh(t.Context()))
		ca, err := other.Active(certs.KindDevice)
		w.must(err)
		if certs.Fingerprint(ca.Raw) != w.active(certs.KindDevice) {
			t.Error("the other node issues by the old authority")
		}
	})
}

// A node that did not notice yet does not record what a retired authority signed.
func TestARenewalIsOfTheAuthorityThatIssues(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		elsewhere := pki.New(w.d, w.ring, "fleet.test") // another node changes the authority
		w.must(elsewhere.Load(t.Context()))
		r := w.rotation(nil, certs.KindDevice)
		_, err := flow.InstallRotation(t.Context(), w.d, elsewhere, w.policy, w.by, r, false)
		w.must(err)
		w.must(flow.ActivateAuthority(t.Context(), w.d, elsewhere, w.by, certs.KindDevice, false))
		w.clock.Add(time.Minute)
		b := a.renewed()
		ca, err := elsewhere.Active(certs.KindDevice)
		w.must(err)
		if string(b.chain[1]) != string(ca.Raw) {
			t.Error("the renewal is of a retired authority")
		}
	})
}

// PKI-11: the listener's own certificate changes with its authority, at the next
// handshake.
func TestTheServersCertificateFollowsItsAuthority(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		own := w.pki.ServerCertificate([]string{"localhost"}, 7*24*time.Hour)
		first, err := own.Get(nil)
		w.must(err)
		w.must(w.install(w.rotation(nil, certs.KindServer), false))
		if again, err := own.Get(nil); err != nil || again != first {
			t.Errorf("it changed with the publication: %v", err)
		}
		w.must(w.activate(certs.KindServer, false))
		second, err := own.Get(nil)
		w.must(err)
		if certs.Fingerprint(second.Certificate[1]) != w.active(certs.KindServer) {
			t.Error("it is of the retired authority")
		}
	})
}
