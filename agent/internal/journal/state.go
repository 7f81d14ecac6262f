package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// State is everything in the journal. Times are UTC.
type State struct {
	Server       string    `json:"server"` // https URL of the machine listener
	DeviceID     string    `json:"device_id"`
	EnrollmentID string    `json:"enrollment_id"`
	StartedAt    time.Time `json:"started_at"`          // when enrolling began
	ServerCA     []byte    `json:"server_ca"`           // DER of the CA that was pinned for first contact
	WantRoot     string    `json:"want_root,omitempty"` // digest of the first fleet root as given out of band
	Submitted    bool      `json:"submitted,omitempty"` // the server has stored the request: no token is needed any more
	PollNonce    string    `json:"poll_nonce,omitempty"`
	Outside      bool      `json:"outside,omitempty"` // another authority issues this device's certificates

	Enrolled *Enrolled `json:"enrolled,omitempty"`
}

// Enrolled is what a device holds on to once it is let in.
type Enrolled struct {
	At        time.Time `json:"at"`
	FirstRoot string    `json:"first_root"`          // digest of the fleet root of version 1: the pin
	FirstUse  bool      `json:"first_use,omitempty"` // the pin was taken from the server itself
	Root      Mark      `json:"root"`                // fleet root in force
	Policy    Mark      `json:"policy"`              // policy bundle in force
	Policies  []Mark    `json:"policies,omitempty"`  // bundles that were in force before, the oldest first
	TimeFloor time.Time `json:"time_floor"`          // the device's clock is never believed below it

	Counter  int64  `json:"counter"` // the last one used, 0 for none
	Epoch    string `json:"epoch"`
	Nonce    string `json:"nonce,omitempty"`
	Receipt  string `json:"receipt,omitempty"`
	Interval int    `json:"interval"`        // seconds between heartbeats, as last told
	Facts    string `json:"facts,omitempty"` // digest of the facts that the server last accepted

	Accepted *Accepted `json:"accepted,omitempty"` // the last heartbeat accepted
	Refusal  *Refusal  `json:"refusal,omitempty"`  // the answer since, if it was a refusal to act on

	Slot    Slot     `json:"slot,omitempty"`    // where key and certificate in use lie
	Renewal *Renewal `json:"renewal,omitempty"` // under way, in the other slot
	Lost    bool     `json:"lost,omitempty"`    // the server forgot the certificate in use, by a restore
	Closed  *Refusal `json:"closed,omitempty"`  // why the way back is closed to this device

	Commands      int64     `json:"commands,omitempty"`      // how many commands were ever begun here
	CommandsMade  time.Time `json:"commands_made,omitzero"`  // the latest not_before of those
	CommandsAfter time.Time `json:"commands_after,omitzero"` // the same, when their journal was lost last; zero: it never was
}

// Slot is one of the two places for a key and its certificate.
type Slot string

// The slots. Enrollment fills the first.
const (
	SlotA Slot = ""
	SlotB Slot = "b"
)

// Other is the slot that is not this one.
func (s Slot) Other() Slot {
	if s == SlotA {
		return SlotB
	}
	return SlotA
}

// Renewal is a request for another certificate, for a key in the slot that is not
// in use. What is here makes it the same request however often it is sent.
type Renewal struct {
	RequestID string    `json:"request_id"`
	At        time.Time `json:"at"` // when it was begun
	CSR       []byte    `json:"csr"`
	Recovery  bool      `json:"recovery,omitempty"`   // the certificate in use has expired
	Submitted bool      `json:"submitted,omitempty"`  // the server has stored it
	PollNonce string    `json:"poll_nonce,omitempty"` // of a recovery
	Tried     bool      `json:"tried,omitempty"`      // the certificate is there, and is shown to the server until it takes it or not
	Outside   bool      `json:"outside,omitempty"`    // another authority issued it: there was no request of ours
}

// MaxPolicies is how many bundles that were in force before are remembered. A
// command outlives the bundle that it was made under by a week at most.
const MaxPolicies = 16

// Shown is the slot whose certificate is shown to the server.
func (e *Enrolled) Shown() Slot {
	if e.Renewal != nil && e.Renewal.Tried {
		return e.Slot.Other()
	}
	return e.Slot
}

// Settle makes the certificate that is tried the one in use.
func (e *Enrolled) Settle() { e.Slot, e.Renewal, e.Lost = e.Shown(), nil, false }

// Believe puts a newer bundle in force, and remembers the one before it.
func (e *Enrolled) Believe(bundle Mark) {
	if e.Policy == bundle {
		return
	}
	e.Policies = append(slices.Clone(e.Policies), e.Policy)
	e.Policies = e.Policies[max(0, len(e.Policies)-MaxPolicies):]
	e.Policy = bundle
}

// Floor raises the time floor to t, unless it is higher.
func (e *Enrolled) Floor(t time.Time) {
	e.TimeFloor = later(e.TimeFloor, t)
}

// BeginCommand takes down that the nth command is begun, with its not_before.
func (e *Enrolled) BeginCommand(nth int64, made time.Time) {
	e.Commands, e.CommandsMade = max(e.Commands, nth), later(e.CommandsMade, made)
}

// LoseCommands takes down that the journal of commands is lost: what was begun by it is known
// no more. An agent that did not keep CommandsMade goes by instead.
func (e *Enrolled) LoseCommands(instead time.Time) {
	if e.CommandsMade.IsZero() && e.Commands > 0 {
		e.CommandsMade = instead.UTC().Truncate(time.Microsecond)
	}
	e.CommandsAfter = later(e.CommandsAfter, e.CommandsMade)
}

func later(a, b time.Time) time.Time {
	if b = b.UTC().Truncate(time.Microsecond); b.After(a) {
		return b
	}
	return a
}

// Mark is a document that was verified: a later one may have the same version
// and digest, or a higher version.
type Mark struct {
	Version int64  `json:"version"`
	Digest  string `json:"digest"` // SHA-256 of the signed payload, lower-case hex
}

// Accepted is a heartbeat that the server has stored.
type Accepted struct {
	At      time.Time `json:"at"` // on the device's clock
	Counter int64     `json:"counter"`
}

// Refusal is an answer that a person may have to do something about.
type Refusal struct {
	At   time.Time     `json:"at"` // on the device's clock, when this code was first seen
	Code protocol.Code `json:"code"`
}

// Check holds the state to form.
func (s *State) Check() error {
	u, err := url.Parse(s.Server)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return errors.New("server is not an https URL")
	}
	if err := protocol.CheckDeviceID(s.DeviceID); err != nil {
		return err
	}
	if err := protocol.CheckID(s.EnrollmentID); err != nil {
		return fmt.Errorf("enrollment_id: %w", err)
	}
	if len(s.ServerCA) == 0 {
		return errors.New("server_ca is missing")
	}
	if s.WantRoot != "" && !isDigest(s.WantRoot) {
		return errors.New("want_root is not a digest")
	}
	if len(s.PollNonce) > protocol.MaxOpaque {
		return errors.New("poll_nonce is too long")
	}
	if s.Enrolled != nil {
		return s.Enrolled.check()
	}
	return nil
}

func (e *Enrolled) check() error {
	switch {
	case !isDigest(e.FirstRoot):
		return errors.New("first_root is not a digest")
	case e.Root.Version < 1 || !isDigest(e.Root.Digest):
		return errors.New("root is not a version and a digest")
	case e.Policy.Version < 1 || !isDigest(e.Policy.Digest):
		return errors.New("policy is not a version and a digest")
	case e.TimeFloor.IsZero():
		return errors.New("time_floor is missing")
	case e.Counter < 0 || e.Counter > protocol.MaxCounter:
		return errors.New("counter is out of range")
	case protocol.CheckID(e.Epoch) != nil:
		return errors.New("epoch is not an id")
	case len(e.Nonce) > protocol.MaxOpaque || len(e.Receipt) > protocol.MaxOpaque:
		return errors.New("nonce or receipt is too long")
	case e.Interval < 0:
		return errors.New("interval is negative")
	case e.Facts != "" && !isDigest(e.Facts):
		return errors.New("facts is not a digest")
	case e.Accepted != nil && (e.Accepted.Counter < 1 || e.Accepted.Counter > e.Counter):
		return errors.New("a counter was accepted that was never used")
	case !e.Refusal.inForm() || !e.Closed.inForm():
		return errors.New("a refusal's code has not the form")
	case e.Slot != SlotA && e.Slot != SlotB:
		return errors.New("slot is not one of the two")
	case e.Commands < 0:
		return errors.New("commands is negative")
	case len(e.Policies) > MaxPolicies:
		return errors.New("policies are too many")
	}
	for _, m := range e.Policies {
		if m.Version < 1 || !isDigest(m.Digest) {
			return errors.New("policies are not versions and digests")
		}
	}
	return e.Renewal.check()
}

func (r *Refusal) inForm() bool {
	return r == nil || protocol.CheckText("refusal", string(r.Code), 64) == nil
}

func (r *Renewal) check() error {
	switch {
	case r == nil:
		return nil
	case protocol.CheckID(r.RequestID) != nil:
		return errors.New("the renewal's request_id is not an id")
	case len(r.CSR) == 0 != r.Outside || len(r.CSR) > protocol.MaxCSR:
		return errors.New("the renewal's csr is missing or too long")
	case len(r.PollNonce) > protocol.MaxOpaque:
		return errors.New("the renewal's nonce is too long")
	}
	return nil
}

// follows says whether a journal may go from old to s.
func (s *State) follows(old *State) error {
	switch {
	case s.DeviceID != old.DeviceID || s.EnrollmentID != old.EnrollmentID:
		return fmt.Errorf("%w: another device or enrollment", ErrBackwards)
	case old.Enrolled == nil:
		return nil
	case s.Enrolled == nil:
		return fmt.Errorf("%w: the device is enrolled", ErrBackwards)
	}
	a, b := old.Enrolled, s.Enrolled
	switch {
	case b.Counter < a.Counter:
		return fmt.Errorf("%w: the counter", ErrBackwards)
	case b.FirstRoot != a.FirstRoot || a.FirstUse != b.FirstUse:
		return fmt.Errorf("%w: the pinned fleet root", ErrBackwards)
	case !b.Root.follows(a.Root) || !b.Policy.follows(a.Policy):
		return fmt.Errorf("%w: the version of fleet root or policy", ErrBackwards)
	case b.TimeFloor.Before(a.TimeFloor):
		return fmt.Errorf("%w: the time floor", ErrBackwards)
	case b.Commands < a.Commands:
		return fmt.Errorf("%w: the number of commands", ErrBackwards)
	case b.CommandsMade.Before(a.CommandsMade) || b.CommandsAfter.Before(a.CommandsAfter):
		return fmt.Errorf("%w: the time of commands that were begun", ErrBackwards)
	case b.Slot != a.Slot && b.Slot != a.Shown():
		return fmt.Errorf("%w: to a certificate that was never tried", ErrBackwards)
	}
	return nil
}

func (m Mark) follows(old Mark) bool { return m == old || m.Version > old.Version }

// clone is a copy that shares nothing which a caller could change.
func (s *State) clone() State {
	c := *s
	if s.Enrolled != nil {
		e := *s.Enrolled
		if e.Accepted != nil {
			a := *e.Accepted
			e.Accepted = &a
		}
		if e.Refusal != nil {
			r := *e.Refusal
			e.Refusal = &r
		}
		if e.Closed != nil {
			r := *e.Closed
			e.Closed = &r
		}
		if e.Renewal != nil {
			r := *e.Renewal
			e.Renewal = &r
		}
		e.Policies = slices.Clone(e.Policies)
		c.Enrolled = &e
	}
	return c
}

func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && hex.EncodeToString(b) == s
}

// Now is the device's time: its clock, but never before the time floor.
func (e *Enrolled) Now(clock time.Time) time.Time {
	if clock.Before(e.TimeFloor) {
		return e.TimeFloor
	}
	return clock
}
