package year

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// kept is a year between two chapters, beside a copy of the server's data.
type kept struct {
	Plan            Plan
	Chapter         int // how many are over
	Now             time.Time
	Renewals, Beats int64
	Recoveries      int
	Sleepers        int
	Devices         []keptDevice
}

type keptDevice struct {
	ID, EnrollmentID, BootID string
	Key                      []byte // PKCS #8
	Chain                    [][]byte
	Counter                  int64
	Epoch, Nonce, Receipt    string
	Roots                    []json.RawMessage
	Bundle                   *signing.PolicyBundle
	Answer                   protocol.HeartbeatAnswer
	Asleep                   bool
	Ends                     time.Time
}

// Where the parts lie in the plan's directory. What runs is a copy: a run that is cut
// short leaves what was kept as it was.
const (
	running = "running"
	saved   = "saved"
	saving  = "saving"
	before  = "before" // only while saving takes the place of saved
	state   = "year.json"
	data    = "data"
)

// dir is where the server's data of a new year lies; "" lets the test choose.
func (f *fleet) dir() string {
	if f.plan.Dir == "" {
		return ""
	}
	dir := filepath.Join(f.plan.Dir, running)
	f.must(os.RemoveAll(dir))
	f.must(os.MkdirAll(dir, 0o700))
	return dir
}

func (f *fleet) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// keep stops the server, copies its data, writes the devices beside them, and goes on.
func (f *fleet) keep(chapter int) {
	f.Helper()
	f.server.Stop()
	k := kept{Plan: f.plan, Chapter: chapter, Now: f.clock.Now(), Renewals: f.renewals.Load(), Beats: f.beats.Load(), Recoveries: f.recoveries, Sleepers: f.sleepers}
	for _, d := range f.devices {
		key, err := x509.MarshalPKCS8PrivateKey(d.Key)
		f.must(err)
		k.Devices = append(k.Devices, keptDevice{ID: d.ID, EnrollmentID: d.EnrollmentID, BootID: d.BootID, Key: key, Chain: d.Chain, Counter: d.Counter,
			Epoch: d.Epoch, Nonce: d.Nonce, Receipt: d.Receipt, Roots: d.Roots, Bundle: d.Bundle, Answer: d.Answer, Asleep: d.asleep, Ends: d.ends})
	}
	text, err := json.Marshal(k)
	f.must(err)
	at := func(name ...string) string { return filepath.Join(append([]string{f.plan.Dir}, name...)...) }
	f.must(os.RemoveAll(at(saving)))
	f.copy(at(running), at(saving, data))
	f.must(os.WriteFile(at(saving, state), text, 0o600))
	f.must(os.RemoveAll(at(before)))
	if err := os.Rename(at(saved), at(before)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.Fatal(err)
	}
	f.must(os.Rename(at(saving), at(saved)))
	f.must(os.RemoveAll(at(before)))
	f.again(f.server.Again())
}

// copy copies a directory with its modes: secrets must stay the owner's.
func (f *fleet) copy(from, to string) {
	f.Helper()
	f.must(os.CopyFS(to, os.DirFS(from)))
	f.must(filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		return os.Chmod(filepath.Join(to, name), info.Mode().Perm())
	}))
}

// recall takes over a year that was kept and starts its server: how many chapters are
// over, 0 for a new one.
func (f *fleet) recall() (chapters int) {
	f.Helper()
	if f.plan.Dir == "" {
		return 0
	}
	from := filepath.Join(f.plan.Dir, saved)
	text, err := os.ReadFile(filepath.Join(from, state))
	if errors.Is(err, fs.ErrNotExist) {
		// Cut short between two renames?
		from = filepath.Join(f.plan.Dir, before)
		text, err = os.ReadFile(filepath.Join(from, state))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	f.must(err)
	var k kept
	f.must(json.Unmarshal(text, &k))
	if k.Plan.Devices != f.plan.Devices || k.Plan.Life != f.plan.Life || k.Plan.Span != f.plan.Span {
		f.Fatalf("%s keeps a year of another plan: %d devices, %v, %v", f.plan.Dir, k.Plan.Devices, k.Plan.Life, k.Plan.Span)
	}
	f.clock.add(k.Now.Sub(f.clock.Now()))
	f.renewals.Store(k.Renewals)
	f.beats.Store(k.Beats)
	f.recoveries, f.sleepers = k.Recoveries, k.Sleepers
	dir := f.dir()
	f.copy(filepath.Join(from, data), dir)
	f.server = servertest.Start(f, f.options(dir))
	for _, d := range k.Devices {
		f.devices = append(f.devices, f.device(d))
	}
	return k.Chapter
}

func (f *fleet) device(k keptDevice) *device {
	f.Helper()
	d := &device{Device: f.server.NewDevice(k.ID), asleep: k.Asleep, ends: k.Ends}
	key, err := x509.ParsePKCS8PrivateKey(k.Key)
	f.must(err)
	d.Key = f.ecdsa(key)
	d.EnrollmentID, d.BootID, d.Chain, d.Counter = k.EnrollmentID, k.BootID, k.Chain, k.Counter
	d.Epoch, d.Nonce, d.Receipt, d.Bundle, d.Answer = k.Epoch, k.Nonce, k.Receipt, k.Bundle, k.Answer
	d.Trust(k.Roots)
	return d
}

func (f *fleet) ecdsa(key any) *ecdsa.PrivateKey {
	f.Helper()
	k, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		f.Fatal("a device's key is kept as another kind")
	}
	return k
}
