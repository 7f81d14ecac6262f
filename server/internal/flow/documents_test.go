package flow_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keyfile"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// bundle is the next one, as change makes it, signed with the key.
func (w *world) bundle(change func(*signing.PolicyBundle), signer signing.Signer) []byte {
	w.Helper()
	fleet, err := w.policy.Fleet()
	w.must(err)
	b := *fleet.Bundle
	b.Version, b.IssuedAt = b.Version+1, w.clock.Now()
	b.ExpiresAt = b.IssuedAt.Add(signing.MaxBundleLife)
	if change != nil {
		change(&b)
	}
	env, err := signing.SignBundle(context.Background(), b, signer)
	w.must(err)
	data, err := env.Marshal()
	w.must(err)
	return data
}

func (w *world) policyKey() signing.Signer {
	w.Helper()
	key, err := keyfile.Load(filepath.Join(w.keys, ceremony.PolicyKeyFile))
	w.must(err)
	signer, err := signing.NewSigner(signing.PurposePolicyBundle, key)
	w.must(err)
	return signer
}

func (w *world) publish(change func(*signing.PolicyBundle)) {
	w.Helper()
	_, err := w.PublishBundle(w.Context(), w.by, w.bundle(change, w.policyKey()))
	w.must(err)
}

// CMD-06, CMD-13: the server takes what a device would take, and nothing else.
func TestOnlyWhatDevicesTakeIsPublished(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		thief, _, err := signing.GenerateEd25519(signing.PurposePolicyBundle)
		w.must(err)
		refused := func(name string, data []byte, old bool) {
			t.Helper()
			_, err := w.PublishBundle(t.Context(), w.by, data)
			_, invalid := errors.AsType[*policy.InvalidError](err)
			if old && !errors.Is(err, policy.ErrOld) || !old && !invalid {
				t.Errorf("%s: %v", name, err)
			}
		}
		key := w.policyKey()
		refused("signed by another key", w.bundle(nil, thief), false)
		refused("of another fleet", w.bundle(func(b *signing.PolicyBundle) { b.FleetID = "00000000-0000-4000-8000-000000000000" }, key), false)
		refused("of another root", w.bundle(func(b *signing.PolicyBundle) { b.RootDigest = signing.Digest([]byte("x")) }, key), false)
		refused("expired", w.bundle(func(b *signing.PolicyBundle) {
			b.IssuedAt, b.ExpiresAt = w.clock.Now().Add(-time.Hour), w.clock.Now()
		}, key), false)
		refused("issued in an hour", w.bundle(func(b *signing.PolicyBundle) { b.IssuedAt = w.clock.Now().Add(time.Hour) }, key), false)
		refused("the same version", w.bundle(func(b *signing.PolicyBundle) { b.Version-- }, key), true)
		refused("no envelope", []byte(`{}`), false)
		old := w.bundle(nil, key)
		w.publish(func(b *signing.PolicyBundle) { b.Version = 7 })
		refused("a version below the newest", old, true)
		fleet, err := w.policy.Fleet()
		w.must(err)
		if fleet.Bundle.Version != 7 || w.count("fleet_documents", "kind = 'policy-bundle'") != 2 || w.count("audit_entries", "action = 'policy.publish'") != 1 {
			t.Errorf("version %d", fleet.Bundle.Version)
		}
		list, _, err := policy.Bundles(t.Context(), w.d.Read(), 0, 10)
		w.must(err)
		if len(list) != 2 || list[0].Version != 7 || !list[0].InForce || list[1].InForce || list[0].Envelope != nil {
			t.Errorf("%+v", list)
		}
		if doc, err := policy.Bundle(t.Context(), w.d.Read(), 0); err != nil || doc.Version != 7 || len(doc.Envelope) == 0 {
			t.Errorf("%+v %v", doc, err)
		}
		if _, err := policy.Bundle(t.Context(), w.d.Read(), 5); !errors.Is(err, policy.ErrUnknown) {
			t.Errorf("a version that is not there: %v", err)
		}
		// Another node takes it over.
		other := policy.New(w.d)
		w.must(other.Load(t.Context()))
		w.publish(nil)
		w.must(other.Refresh(t.Context()))
		if fleet, err := other.Fleet(); err != nil || fleet.Bundle.Version != 8 {
			t.Errorf("%v %v", fleet, err)
		}
	})
}

func TestDocumentsGoToWhoeverIsBehind(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		said := func(root, bundle int64) *protocol.HeartbeatAnswer {
			t.Helper()
			h := a.heartbeat()
			h.RootVersion, h.PolicyVersion = root, bundle
			w.must(a.send(h))
			return a.answer
		}
		w.publish(nil)
		w.publish(nil)
		if got := said(1, 1); len(got.PolicyBundles) != 1 || got.PolicyVersion != 3 {
			t.Errorf("one that is behind: %d bundles, version %d", len(got.PolicyBundles), got.PolicyVersion)
		}
		if got := said(1, 3); len(got.PolicyBundles) != 0 || len(got.FleetRoots) != 0 {
			t.Error("one that has them is sent them")
		}
		if got := said(0, 0); len(got.PolicyBundles) != 0 || len(got.FleetRoots) != 0 {
			t.Error("one that says nothing is sent something")
		}
	})
}
