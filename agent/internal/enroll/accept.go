package enroll

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/pins"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// accept verifies all that was issued, then stores it, the journal last: only
// with that is the device enrolled.
func (e *enrollment) accept(issued *protocol.EnrollResult) (*Result, error) {
	now := latest(e.Now(), e.Built)
	p, err := verifyPins(issued, &e.state, now)
	if err != nil {
		return nil, err
	}
	leaf, err := e.verifyCertificate(issued, p, now)
	if err != nil {
		return nil, err
	}
	if protocol.CheckID(issued.Epoch) != nil {
		return nil, fmt.Errorf("%w: the epoch is not an id", ErrNotOurs)
	}
	first, err := p.FirstDigest()
	if err != nil {
		return nil, err
	}
	if !e.state.Outside { // its own it has already
		if err := identity.StoreChain(e.Dir, issued.Certificates); err != nil {
			return nil, err
		}
	}
	if err := p.Store(e.Dir); err != nil {
		return nil, err
	}
	enrolled := journal.Enrolled{
		At: now.UTC().Truncate(time.Second), FirstRoot: first, FirstUse: e.state.WantRoot == "",
		Root: p.RootMark(), Policy: p.PolicyMark(), TimeFloor: latest(p.Floor(), e.Built),
		Epoch: issued.Epoch, Interval: max(issued.IntervalSeconds, 0),
	}
	if err := e.journal.Update(func(s *journal.State) { s.Enrolled, s.PollNonce = &enrolled, "" }); err != nil {
		return nil, err
	}
	return &Result{DeviceID: e.state.DeviceID, NotAfter: leaf.NotAfter, FirstRoot: first, FirstUse: enrolled.FirstUse}, nil
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// verifyPins judges root and bundle, and whether the root knows the CA that
// served this enrollment.
func verifyPins(issued *protocol.EnrollResult, s *journal.State, now time.Time) (*pins.Pins, error) {
	roots := make([][]byte, len(issued.FleetRoots))
	for i, env := range issued.FleetRoots {
		roots[i] = env
	}
	p, err := pins.Verify(roots, issued.PolicyBundle, s.WantRoot, now, 0)
	switch {
	case errors.Is(err, signing.ErrNotYetValid):
		return nil, fmt.Errorf("%w: the policy was issued later than %s, which is this device's time", ErrClock, now.UTC().Format(time.RFC3339))
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNotOurs, err)
	}
	if !slices.ContainsFunc(p.Root.Root.ServerCAs, func(der []byte) bool { return bytes.Equal(der, s.ServerCA) }) {
		return nil, fmt.Errorf("%w: the fleet root does not name the CA of this server", ErrNotOurs)
	}
	return p, nil
}

// verifyCertificate makes sure that the certificate is this device's, from a CA that
// the fleet root names for devices; or the very one that the device came with. A device may come for its certificate so
// late, or so much ahead of the time, that it is over: by the server's clock too, so
// that no clock is to blame. It takes that one, which is the only one it will be given,
// and asks for the way back with it.
func (e *enrollment) verifyCertificate(issued *protocol.EnrollResult, p *pins.Pins, now time.Time) (*x509.Certificate, error) {
	if e.state.Outside {
		if len(issued.Certificates) == 0 || !bytes.Equal(issued.Certificates[0], e.own.Leaf.Raw) {
			return nil, fmt.Errorf("%w: another certificate was let in than the one that this device shows", ErrNotOurs)
		}
		return e.own.Leaf, nil
	}
	issuers, err := p.DeviceCAs()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotOurs, err)
	}
	leaf, err := identity.Judge(issued.Certificates, identity.Expected{
		DeviceID: e.state.DeviceID, Key: e.key, Issuers: issuers, TrustDomain: p.Root.Root.TrustDomain, Now: now,
	})
	switch {
	case errors.Is(err, identity.ErrWrongTime) && now.After(leaf.NotAfter) && issued.ServerTime.After(leaf.NotAfter):
		return leaf, nil
	case errors.Is(err, identity.ErrWrongTime):
		return nil, fmt.Errorf("%w: %w", ErrClock, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNotOurs, err)
	}
	return leaf, nil
}
