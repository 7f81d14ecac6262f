package pins

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

var day = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// stored is a device's directory with verified documents, and its journal.
func stored(t *testing.T, fleet *agenttest.Fleet) (dir string, e *journal.Enrolled) {
	t.Helper()
	root, digest := fleet.Root(t)
	p, err := Verify([][]byte{root}, fleet.Bundle(t, digest, 3, day, time.Hour), digest, day, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := p.Store(dir); err != nil {
		t.Fatal(err)
	}
	return dir, &journal.Enrolled{FirstRoot: digest, Root: p.RootMark(), Policy: p.PolicyMark(), TimeFloor: p.Floor()}
}

func TestWhatWasVerifiedIsBelievedAfterARestart(t *testing.T) {
	t.Parallel()
	fleet := agenttest.NewFleet(t, day)
	dir, e := stored(t, fleet)
	for name, now := range map[string]time.Time{
		"in time":                          day.Add(time.Minute),
		"with a clock that went back":      day.AddDate(-30, 0, 0),
		"with a bundle that has since run": day.Add(2 * time.Hour),
	} {
		p, err := Load(dir, e, now)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.Lapsed != now.After(day.Add(time.Hour)) {
			t.Errorf("%s: lapsed is %v", name, p.Lapsed)
		}
		if cas, err := p.ServerCAs(); err != nil || len(cas) != 1 || !cas[0].Equal(fleet.ServerCA.Certificate) {
			t.Errorf("%s: server CAs %v, %v", name, cas, err)
		}
		if first, err := p.FirstDigest(); err != nil || first != e.FirstRoot {
			t.Errorf("%s: first root %s, %v", name, first, err)
		}
	}
}

func TestDocumentsThatTheJournalDoesNotNameAreNotBelieved(t *testing.T) {
	t.Parallel()
	fleet, other := agenttest.NewFleet(t, day), agenttest.NewFleet(t, day)
	otherRoot, _ := other.Root(t)
	_, digest := fleet.Root(t)
	for name, change := range map[string]func(t *testing.T, dir string, e *journal.Enrolled){
		"another fleet's root": func(t *testing.T, dir string, _ *journal.Enrolled) {
			write(t, dir, rootsFile, "["+string(otherRoot)+"]")
		},
		"a newer bundle than was taken": func(t *testing.T, dir string, _ *journal.Enrolled) {
			write(t, dir, bundleFile, string(fleet.Bundle(t, digest, 4, day, time.Hour)))
		},
		"another bundle of the version": func(t *testing.T, dir string, _ *journal.Enrolled) {
			write(t, dir, bundleFile, string(fleet.Bundle(t, digest, 3, day, 2*time.Hour)))
		},
		"an older bundle": func(t *testing.T, dir string, e *journal.Enrolled) { e.Policy.Version = 4 },
		"garbage":         func(t *testing.T, dir string, _ *journal.Enrolled) { write(t, dir, rootsFile, "{") },
		"no root":         func(t *testing.T, dir string, _ *journal.Enrolled) { write(t, dir, rootsFile, "[]") },
		"no files":        func(t *testing.T, dir string, _ *journal.Enrolled) { _ = Remove(dir) },
		"a file that others may read": func(t *testing.T, dir string, _ *journal.Enrolled) {
			if err := os.Chmod(filepath.Join(dir, bundleFile), 0o644); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, e := stored(t, fleet)
			change(t, dir, e)
			if _, err := Load(dir, e, day); !errors.Is(err, ErrDamaged) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestARootThatWasNotGivenIsRefused(t *testing.T) {
	t.Parallel()
	fleet, other := agenttest.NewFleet(t, day), agenttest.NewFleet(t, day)
	root, digest := fleet.Root(t)
	_, wrong := other.Root(t)
	bundle := fleet.Bundle(t, digest, 1, day, time.Hour)
	if _, err := Verify([][]byte{root}, bundle, wrong, day, 0); !errors.Is(err, signing.ErrRootDigest) {
		t.Errorf("another digest: %v", err)
	}
	if _, err := Verify([][]byte{root}, other.Bundle(t, digest, 1, day, time.Hour), digest, day, 0); err == nil {
		t.Error("a stranger's bundle was taken")
	}
	if _, err := Verify([][]byte{root}, bundle, digest, day.Add(-time.Hour), 0); !errors.Is(err, signing.ErrNotYetValid) {
		t.Errorf("a bundle from the future: %v", err)
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func FuzzReadRoots(f *testing.F) {
	f.Add([]byte(`[{"payloadType":"x","payload":"","signatures":[]}]`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`[null]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if roots, err := readRoots(data); err == nil {
			_, _ = signing.VerifyRootChain(roots, "")
		}
	})
}
