package renew

import (
	"context"
	"log/slog"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

const (
	// lookEvery is how often the files are looked at.
	lookEvery = time.Minute
	// tryEvery is how often a certificate that is not let in yet is tried.
	tryEvery = 5 * time.Minute
)

// Files takes over the keys and certificates that another authority's tools leave in
// files, also of a device that goes by the server's own until then. Run is one goroutine.
type Files struct {
	Disk            Disk
	Dir             string // of the slots
	CertificateFile string
	KeyFile         string
	Changed         func() // another certificate is to be shown, at once
	Now             func() time.Time
	Log             *slog.Logger

	tried string // fingerprint of the one that was tried last
	at    time.Time
	told  string // the last trouble that is in the log
}

// Run looks at the files until ctx is done.
func (f *Files) Run(ctx context.Context) error {
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	for {
		if err := f.Round(ctx); err != nil && err.Error() != f.told {
			f.told = err.Error()
			f.Log.WarnContext(ctx, "the certificate of the other authority cannot be taken over", "error", f.told)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// Round takes over what is in the files, if it is another certificate than the one in
// use. The journal last: until it names the other slot, nothing has happened.
func (f *Files) Round(ctx context.Context) error {
	s, err := f.Disk.State()
	if err != nil {
		return err
	}
	if s.Enrolled.Renewal != nil { // something is under way already
		return nil
	}
	pair, err := identity.ReadPair(f.CertificateFile, f.KeyFile)
	if err != nil {
		return err
	}
	inUse, err := f.Disk.LoadIdentity(s.Enrolled.Slot)
	if err != nil {
		return err
	}
	now, fingerprint := f.Now(), pair.Fingerprint()
	if fingerprint == certs.Fingerprint(inUse.Leaf.Raw) || fingerprint == f.tried && now.Sub(f.at).Abs() < tryEvery {
		return nil
	}
	if err := pair.StoreIn(f.Dir, s.Enrolled.Slot.Other()); err != nil {
		return err
	}
	asked := &journal.Renewal{RequestID: journal.NewID(now), At: now.UTC().Truncate(time.Second), Tried: true, Outside: true}
	if err := f.Disk.Update(func(s *journal.State) { s.Enrolled.Renewal = asked }); err != nil {
		return err
	}
	if f.tried != fingerprint {
		code, err := certs.KeyCode(pair.Public()) // for the reviewer, who sees it too
		if err != nil {
			return err
		}
		f.Log.InfoContext(ctx, "another certificate is in the file; trying it", "fingerprint", fingerprint, "key_code", code, "valid_until", pair.Leaf.NotAfter.UTC())
	}
	f.tried, f.at, f.told = fingerprint, now, ""
	f.Changed()
	return nil
}
