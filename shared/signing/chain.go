package signing

import (
	"crypto/subtle"
	"fmt"
	"slices"
)

// MaxRootChain is the longest chain of fleet roots: at one change of root keys
// or CAs a quarter it lasts 16 years.
const MaxRootChain = 64

// PinnedRoot is a fleet root that was verified, and the chain that leads to it.
// It is made by VerifyFirstRoot, Advance and VerifyRootChain only.
type PinnedRoot struct {
	Root      FleetRoot
	Digest    string   // of the payload of Root
	Envelopes [][]byte // version 1 first, Root last, as Envelope.Marshal writes them

	digests []string // of every payload, in the same order
}

// VerifyFirstRoot verifies version 1, which is signed by its own root keys. It is
// believed because its payload has the digest that came out of band; without one
// (wantDigest "") this is trust on first use, which the caller has to record.
// Another digest is ErrRootDigest.
func VerifyFirstRoot(env *Envelope, wantDigest string) (*PinnedRoot, error) {
	digest := Digest(env.Payload)
	if wantDigest != "" && subtle.ConstantTimeCompare([]byte(digest), []byte(wantDigest)) != 1 {
		return nil, ErrRootDigest
	}
	root, err := readRoot(env)
	if err != nil {
		return nil, err
	}
	if root.Version != 1 {
		return nil, fmt.Errorf("%w: the first one has version 1", ErrGap)
	}
	if _, _, err := env.Verify(PurposeFleetRoot, root.Root.Keys, root.Root.Threshold); err != nil {
		return nil, err
	}
	return (&PinnedRoot{}).with(root, digest, env)
}

// Advance verifies the root that follows p and returns the chain with it; p stays
// as it is. The next root needs the threshold of p's keys (only they can hand
// over) and of its own (so that nobody is locked out). ErrRollback and ErrGap
// tell versions that do not follow, ErrFleet another fleet.
func (p *PinnedRoot) Advance(env *Envelope) (*PinnedRoot, error) {
	// By the old keys first: what a stranger wrote is not even read.
	if _, _, err := env.Verify(PurposeFleetRoot, p.Root.Root.Keys, p.Root.Root.Threshold); err != nil {
		return nil, fmt.Errorf("by the keys of version %d: %w", p.Root.Version, err)
	}
	root, err := readRoot(env)
	if err != nil {
		return nil, err
	}
	switch {
	case root.FleetID != p.Root.FleetID:
		return nil, ErrFleet
	case root.Version <= p.Root.Version:
		return nil, ErrRollback
	case root.Version != p.Root.Version+1:
		return nil, ErrGap
	case root.IssuedAt.Before(p.Root.IssuedAt):
		return nil, fmt.Errorf("%w: issued before the one that it follows", ErrRollback)
	}
	if _, _, err := env.Verify(PurposeFleetRoot, root.Root.Keys, root.Root.Threshold); err != nil {
		return nil, fmt.Errorf("by its own keys: %w", err)
	}
	return p.with(root, Digest(env.Payload), env)
}

// VerifyRootChain verifies envelopes from version 1 on, as VerifyFirstRoot and
// Advance do.
func VerifyRootChain(envelopes [][]byte, wantFirstDigest string) (*PinnedRoot, error) {
	if len(envelopes) == 0 || len(envelopes) > MaxRootChain {
		return nil, fmt.Errorf("%w: a chain has 1 to %d fleet roots", ErrMalformed, MaxRootChain)
	}
	var pinned *PinnedRoot
	for i, data := range envelopes {
		env, err := ParseEnvelope(data)
		if err != nil {
			return nil, fmt.Errorf("fleet root %d: %w", i+1, err)
		}
		if i == 0 {
			pinned, err = VerifyFirstRoot(env, wantFirstDigest)
		} else {
			pinned, err = pinned.Advance(env)
		}
		if err != nil {
			return nil, fmt.Errorf("fleet root %d: %w", i+1, err)
		}
	}
	return pinned, nil
}

// Includes says whether a fleet root with this digest is in the chain.
func (p *PinnedRoot) Includes(digest string) bool { return slices.Contains(p.digests, digest) }

// with is the chain that has one more root. The slices are new, since two
// chains may grow from one.
func (p *PinnedRoot) with(root *FleetRoot, digest string, env *Envelope) (*PinnedRoot, error) {
	if len(p.Envelopes) == MaxRootChain {
		return nil, fmt.Errorf("%w: the chain has %d fleet roots already", ErrRule, MaxRootChain)
	}
	data, err := env.Marshal()
	if err != nil {
		return nil, err
	}
	return &PinnedRoot{
		Root:      *root,
		Digest:    digest,
		Envelopes: append(slices.Clone(p.Envelopes), data),
		digests:   append(slices.Clone(p.digests), digest),
	}, nil
}

// readRoot decodes a root before its signatures are checked, since the keys that
// must have signed it stand in it.
func readRoot(env *Envelope) (*FleetRoot, error) {
	if env.PayloadType != PurposeFleetRoot.PayloadType() {
		return nil, ErrPurpose
	}
	var r FleetRoot
	if err := decode(env.Payload, &r); err != nil {
		return nil, err
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	return &r, nil
}
