package pins

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// kept is an enrolled device that believes root 1 and bundle 3 of its fleet.
type kept struct {
	*Keeper

	t      *testing.T
	fleet  *agenttest.Fleet
	now    time.Time
	warned *strings.Builder
	roots  []string // digests, version 1 first
}

func newKept(t *testing.T) *kept {
	t.Helper()
	k := &kept{t: t, fleet: agenttest.NewFleet(t, day), now: day.Add(time.Hour), warned: &strings.Builder{}}
	dir := filepath.Join(t.TempDir(), "state")
	if err := journal.MakeDir(dir); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	root, digest := k.fleet.Root(t)
	k.roots = []string{digest}
	bundle, _ := k.fleet.BundleWith(t, digest, 3, nil)
	p, err := Verify([][]byte{root}, bundle, digest, k.now, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Store(dir); err != nil {
		t.Fatal(err)
	}
	if err := j.Begin(journal.State{
		Server: "https://s.test:8443", DeviceID: "edge-1", EnrollmentID: journal.NewID(day), StartedAt: day, ServerCA: []byte{1},
		Enrolled: &journal.Enrolled{At: day, FirstRoot: digest, Root: p.RootMark(), Policy: p.PolicyMark(), TimeFloor: p.Floor(), Epoch: agenttest.Epoch},
	}); err != nil {
		t.Fatal(err)
	}
	k.Keeper = k.keeper(j, p)
	return k
}

func (k *kept) keeper(j *journal.Journal, p *Pins) *Keeper {
	log := slog.New(slog.NewTextHandler(k.warned, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return NewKeeper(j, p, func() time.Time { return j.Now(k.now) }, log)
}

func (k *kept) take(roots, bundles []json.RawMessage) {
	k.t.Helper()
	if err := k.After(k.t.Context(), &protocol.HeartbeatAnswer{FleetRoots: roots, PolicyBundles: bundles}); err != nil {
		k.t.Fatal(err)
	}
}

// next is the root after the last one.
func (k *kept) next(change func(*signing.FleetRoot), also ...signing.Signer) json.RawMessage {
	k.t.Helper()
	env, digest := k.fleet.NextRoot(k.t, int64(len(k.roots)+1), change, also...)
	k.roots = append(k.roots, digest)
	return env
}

// stands says what is believed, and makes sure that a restart believes the same.
func (k *kept) stands(root, policy int64) *Pins {
	k.t.Helper()
	s, err := k.journal.State()
	if err != nil {
		k.t.Fatal(err)
	}
	again, err := Load(k.journal.Dir(), s.Enrolled, k.now)
	if err != nil {
		k.t.Fatalf("after a restart: %v", err)
	}
	for _, p := range []*Pins{k.Pins(), again} {
		if p.RootMark().Version != root || p.PolicyMark().Version != policy {
			k.t.Fatalf("root %d and policy %d, want %d and %d", p.RootMark().Version, p.PolicyMark().Version, root, policy)
		}
	}
	if k.Pins().Void != again.Void {
		k.t.Fatalf("void %v, after a restart %v", k.Pins().Void, again.Void)
	}
	return again
}

func TestNewerDocumentsAreBelievedOneAfterTheOther(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	otherCA := agenttest.NewFleet(t, day).ServerCA.Certificate.Raw
	second := k.next(func(r *signing.FleetRoot) { r.ServerCAs = append(r.ServerCAs, otherCA) })
	third := k.next(nil)
	four, _ := k.fleet.BundleWith(t, k.roots[1], 4, nil)
	six, _ := k.fleet.BundleWith(t, k.roots[2], 6, func(b *signing.PolicyBundle) { b.IssuedAt, b.ExpiresAt = k.now, k.now.Add(time.Hour) })
	k.take([]json.RawMessage{second}, nil)
	if p := k.stands(2, 3); len(p.Root.Root.ServerCAs) != 2 {
		t.Error("the CAs are those of before")
	}
	k.take([]json.RawMessage{third}, []json.RawMessage{four, six}) // the bundle rests on the root that comes with it
	k.stands(3, 6)
	s, err := k.journal.State()
	if err != nil || len(s.Enrolled.Policies) != 2 || s.Enrolled.Policies[0].Version != 3 || s.Enrolled.Policies[1].Version != 4 {
		t.Errorf("remembers %+v, %v", s.Enrolled.Policies, err)
	}
	if !s.Enrolled.TimeFloor.Equal(k.now) {
		t.Errorf("the time floor is %v", s.Enrolled.TimeFloor)
	}
	if list, _ := filepath.Glob(filepath.Join(k.journal.Dir(), "policy-*")); len(list) != 1 {
		t.Errorf("left: %v", list)
	}
	if k.warned.Len() > 0 {
		t.Error(k.warned)
	}
}

// CMD-06, UPD-09: what does not follow is refused, said once, and changes nothing.
func TestWhatDoesNotFollowChangesNothing(t *testing.T) {
	t.Parallel()
	stranger := agenttest.NewFleet(t, day)
	for name, bring := range map[string]func(t *testing.T, k *kept) (roots, bundles []json.RawMessage){
		"garbage": func(*testing.T, *kept) (_, _ []json.RawMessage) {
			return []json.RawMessage{json.RawMessage("{}")}, []json.RawMessage{json.RawMessage("1")}
		},
		"a root by another fleet's keys": func(t *testing.T, _ *kept) (_, _ []json.RawMessage) {
			root, _ := stranger.NextRoot(t, 2, nil)
			return []json.RawMessage{root}, nil
		},
		"a first root in its place": func(t *testing.T, _ *kept) (_, _ []json.RawMessage) {
			root, _ := stranger.Root(t)
			return []json.RawMessage{root}, nil
		},
		"a root that leaves one out": func(t *testing.T, k *kept) (_, _ []json.RawMessage) {
			root, _ := k.fleet.NextRoot(t, 3, nil)
			return []json.RawMessage{root}, nil
		},
		"an older bundle": func(t *testing.T, k *kept) (_, _ []json.RawMessage) {
			bundle, _ := k.fleet.BundleWith(t, k.roots[0], 2, nil)
			return nil, []json.RawMessage{bundle}
		},
		"another bundle of the same version": func(t *testing.T, k *kept) (_, _ []json.RawMessage) {
			bundle, _ := k.fleet.BundleWith(t, k.roots[0], 3, func(b *signing.PolicyBundle) { b.Kinds = b.Kinds[:1] })
			return nil, []json.RawMessage{bundle}
		},
		"a bundle by other keys": func(t *testing.T, k *kept) (_, _ []json.RawMessage) {
			bundle, _ := stranger.BundleWith(t, k.roots[0], 9, nil)
			return nil, []json.RawMessage{bundle}
		},
		"a bundle under a root that is not there": func(t *testing.T, k *kept) (_, _ []json.RawMessage) {
			bundle, _ := k.fleet.BundleWith(t, signing.Digest(nil), 9, nil)
			return nil, []json.RawMessage{bundle}
		},
		"a bundle of tomorrow": func(t *testing.T, k *kept) (_, _ []json.RawMessage) {
			bundle, _ := k.fleet.BundleWith(t, k.roots[0], 9, func(b *signing.PolicyBundle) { b.IssuedAt = k.now.Add(24 * time.Hour) })
			return nil, []json.RawMessage{bundle}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKept(t)
			before := k.files()
			roots, bundles := bring(t, k)
			for range 3 {
				k.take(roots, bundles)
			}
			k.stands(1, 3)
			if k.files() != before {
				t.Error("the disk is not as it was")
			}
			if said := strings.Count(k.warned.String(), "refused"); said != len(roots)+len(bundles) {
				t.Errorf("said %d times: %s", said, k.warned)
			}
			good, _ := k.fleet.BundleWith(t, k.roots[0], 4, nil)
			k.take(nil, []json.RawMessage{good}) // and nothing is stuck
			k.stands(1, 4)
		})
	}
}

func (k *kept) files() string {
	k.t.Helper()
	var all strings.Builder
	entries, err := os.ReadDir(k.journal.Dir())
	if err != nil {
		k.t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(k.journal.Dir(), e.Name()))
		if err != nil {
			k.t.Fatal(err)
		}
		all.WriteString(e.Name() + "\n" + string(data) + "\n")
	}
	return all.String()
}

// A root that takes away the policy keys leaves nothing that they allowed, over a
// restart too, until a bundle by the new keys comes.
func TestARootThatDropsThePolicyKeyVoidsItsBundle(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	fresh := agenttest.Signer(t, signing.PurposePolicyBundle)
	root := k.next(func(r *signing.FleetRoot) { r.Policy.Keys = []signing.Key{fresh.Key()} })
	k.take([]json.RawMessage{root}, nil)
	if !k.stands(2, 3).Void {
		t.Fatal("the bundle is in force by keys that the root took away")
	}
	old, _ := k.fleet.BundleWith(t, k.roots[1], 4, nil)
	k.take(nil, []json.RawMessage{old})
	if !k.stands(2, 3).Void {
		t.Fatal("the old key still signs")
	}
	k.fleet.PolicyKey = fresh
	bundle, _ := k.fleet.BundleWith(t, k.roots[1], 5, nil)
	k.take(nil, []json.RawMessage{bundle})
	if k.stands(2, 5).Void {
		t.Fatal("void under the new keys")
	}
}

// Files are written before the journal: what a crash leaves in between is as if it
// had not come, and what it leaves after is in force.
func TestACrashBetweenFilesAndJournalLosesNothing(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	root := k.next(nil)
	bundle, _ := k.fleet.BundleWith(t, k.roots[1], 4, nil)
	next := *k.Pins()
	if err := errors.Join(next.advance(root), next.replace(bundle, k.now), next.store(k.journal.Dir(), nextFile)); err != nil {
		t.Fatal(err)
	}
	before := k.stands(1, 3) // the journal was not written
	if err := k.journal.Update(func(s *journal.State) {
		s.Enrolled.Root = next.RootMark()
		s.Enrolled.Believe(next.PolicyMark())
	}); err != nil {
		t.Fatal(err)
	}
	s, err := k.journal.State()
	if err != nil {
		t.Fatal(err)
	}
	after, err := Load(k.journal.Dir(), s.Enrolled, k.now) // the bundle was not moved
	if err != nil || after.PolicyMark() != next.PolicyMark() || after.RootMark() == before.RootMark() {
		t.Fatalf("got %+v, %v", after, err)
	}
	k.Keeper = k.keeper(k.journal, after)
	newer, _ := k.fleet.BundleWith(t, k.roots[1], 5, nil)
	k.take([]json.RawMessage{root}, []json.RawMessage{newer})
	k.stands(2, 5)
}

// An answer to a renewal brings the whole chain.
func TestRootsThatAreKnownArePassedOver(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	first, _ := k.fleet.Root(t)
	second := k.next(nil)
	// Signed anew it is other bytes of the same document.
	k.take([]json.RawMessage{first, second, first, second}, nil)
	k.stands(2, 3)
	if k.warned.Len() > 0 {
		t.Error(k.warned)
	}
}

func FuzzTake(f *testing.F) {
	fleet := agenttest.NewFleet(f, day)
	data, digest := fleet.Root(f)
	bundle, _ := fleet.BundleWith(f, digest, 3, nil)
	p, err := Verify([][]byte{data}, bundle, digest, day, 0)
	if err != nil {
		f.Fatal(err)
	}
	second, _ := fleet.NextRoot(f, 2, nil)
	newer, _ := fleet.BundleWith(f, digest, 4, nil)
	f.Add(second, newer)
	f.Add([]byte("{}"), []byte("{}"))
	f.Fuzz(func(t *testing.T, root, bundle []byte) {
		next := *p
		if next.advance(root) != nil && next.RootMark() != p.RootMark() {
			t.Fatal("a refused root changed something")
		}
		if next.replace(bundle, day) != nil && next.PolicyMark() != p.PolicyMark() {
			t.Fatal("a refused bundle changed something")
		}
		if next.Root.Root.FleetID != agenttest.FleetID || next.PolicyMark().Version < 3 {
			t.Fatal("it went back")
		}
	})
}
