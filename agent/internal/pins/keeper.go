package pins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// maxTold bounds how many refused documents are remembered as told.
const maxTold = 64

// errSame means that another bundle has the version of the one in force.
var errSame = errors.New("another bundle of the version in force")

// Keeper holds what the device believes and takes newer documents. Its methods may
// be called from several goroutines.
type Keeper struct {
	journal *journal.Journal
	now     func() time.Time // never below the time floor
	log     *slog.Logger

	mu   sync.Mutex
	pins *Pins
	told map[string]bool // digests of documents whose refusal is in the log
}

// NewKeeper starts from what was loaded.
func NewKeeper(j *journal.Journal, p *Pins, now func() time.Time, log *slog.Logger) *Keeper {
	return &Keeper{journal: j, pins: p, now: now, log: log, told: map[string]bool{}}
}

// Pins is what is believed now. It is not changed any more.
func (k *Keeper) Pins() *Pins {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pins
}

// Take believes what it may of newer roots, the oldest first, and then of bundles.
// A document that is refused is told in the log, once, and changes nothing. An
// error means that the disk could not hold what came; it changes nothing either.
func (k *Keeper) Take(ctx context.Context, roots, bundles []json.RawMessage) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := *k.pins
	for _, data := range roots {
		if err := next.advance(data); err != nil {
			k.refuse(ctx, "fleet root", data, err)
			break // those that follow it cannot fit either
		}
	}
	next.revise(k.now())
	believed := []journal.Mark{}
	for _, data := range bundles {
		if err := next.replace(data, k.now()); err != nil {
			k.refuse(ctx, "policy bundle", data, err)
			continue
		}
		believed = append(believed, next.PolicyMark())
	}
	if next.RootMark() == k.pins.RootMark() && next.PolicyMark() == k.pins.PolicyMark() {
		return nil
	}
	return k.adopt(ctx, &next, believed)
}

// adopt stores files first, then the journal: only what it names is believed.
func (k *Keeper) adopt(ctx context.Context, next *Pins, believed []journal.Mark) error {
	if err := k.promote(); err != nil { // what is in force may lie in the next one's place
		return err
	}
	if err := next.store(k.journal.Dir(), nextFile); err != nil {
		return err
	}
	if err := k.journal.Update(func(s *journal.State) {
		s.Enrolled.Root = next.RootMark()
		for _, bundle := range believed {
			s.Enrolled.Believe(bundle)
		}
		s.Enrolled.Floor(next.Floor())
	}); err != nil {
		return err
	}
	k.pins = next
	if err := k.promote(); err != nil { // it is found where it is, and moved before the next one comes
		k.log.WarnContext(ctx, "the policy bundle cannot be moved to its place", "error", err.Error())
	}
	k.log.InfoContext(ctx, "newer documents are in force", "root_version", next.RootMark().Version,
		"policy_version", next.PolicyMark().Version, "policy_until", next.Bundle.ExpiresAt, "policy_void", next.Void)
	return nil
}

func (k *Keeper) refuse(ctx context.Context, what string, data []byte, err error) {
	digest := signing.Digest(data)
	if k.told[digest] {
		return
	}
	if len(k.told) >= maxTold {
		clear(k.told)
	}
	k.told[digest] = true
	k.log.WarnContext(ctx, "a document is refused", "document", what, "error", err.Error())
}

// promote puts the bundle in force in its own place.
func (k *Keeper) promote() error {
	next := filepath.Join(k.journal.Dir(), nextFile)
	if _, err := os.Lstat(next); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := files.Replace(filepath.Join(k.journal.Dir(), bundleFile), k.pins.bundle, 0o600); err != nil {
		return fmt.Errorf("store the policy bundle: %w", err)
	}
	return os.Remove(next)
}

// advance takes the root that follows. One that is in the chain is passed over:
// an answer to a renewal holds the whole chain.
func (p *Pins) advance(data []byte) error {
	env, err := signing.ParseEnvelope(data)
	if err != nil {
		return err
	}
	if p.Root.Includes(signing.Digest(env.Payload)) {
		return nil
	}
	root, err := p.Root.Advance(env)
	if err != nil {
		return err
	}
	p.Root = root
	return nil
}

// revise asks whether the root in force still bears out the bundle.
func (p *Pins) revise(now time.Time) {
	env, err := signing.ParseEnvelope(p.bundle)
	if err == nil {
		_, err = signing.VerifyBundle(env, p.Root, now, p.Bundle.Version)
	}
	p.Void = err != nil && !errors.Is(err, signing.ErrExpired)
}

// replace takes a newer bundle. One that has expired is taken too: it is what the
// fleet says last, and leaves the kinds of signing.AlwaysAllowed.
func (p *Pins) replace(data json.RawMessage, now time.Time) error {
	env, err := signing.ParseEnvelope(data)
	if err != nil {
		return err
	}
	b, err := signing.VerifyBundle(env, p.Root, now, p.Bundle.Version)
	if err != nil && !errors.Is(err, signing.ErrExpired) {
		return err
	}
	digest := signing.Digest(env.Payload)
	if b.Version == p.Bundle.Version && digest != p.BundleDigest {
		return fmt.Errorf("%w: %w", signing.ErrRollback, errSame)
	}
	p.Bundle, p.BundleDigest, p.Lapsed, p.Void, p.bundle = b, digest, err != nil, false, data
	return nil
}

// Before is part of what a link's parties do. Nothing is said before a heartbeat:
// the versions in force are in every one.
func (k *Keeper) Before(context.Context, *protocol.Heartbeat) error { return nil }

// After takes what a heartbeat's answer brought.
func (k *Keeper) After(ctx context.Context, a *protocol.HeartbeatAnswer) error {
	return k.Take(ctx, a.FleetRoots, a.PolicyBundles)
}

// Refused changes nothing: no refusal does away with what is believed.
func (k *Keeper) Refused(context.Context, protocol.Code) {}
