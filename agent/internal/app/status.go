package app

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/pins"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/renew"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Where a device stands.
const (
	NotEnrolled = "not enrolled"
	Enrolling   = "enrolling"
	Enrolled    = "enrolled"

	// Enrolled, and not let in now.
	Revoked   = "revoked"
	Suspended = "suspended"
	Held      = "held"
	Expired   = "expired"
)

// standings are what refusals say of where the device stands. Others leave it
// enrolled.
var standings = map[protocol.Code]string{
	protocol.CodeDeviceRevoked:      Revoked,
	protocol.CodeDeviceSuspended:    Suspended,
	protocol.CodeDeviceHeld:         Held,
	protocol.CodeCounterStale:       Held,
	protocol.CodeCounterJump:        Held,
	protocol.CodeCertificateExpired: Expired,
	protocol.CodeCertificateLost:    Expired,
	protocol.CodeRecoveryLate:       Expired,
}

// Barred is how a device stands of which the server refuses every request, so that
// nothing is renewed while that lasts: revoked, suspended, held, or "" for none of
// them. A refusal of one heartbeat's counter bars nothing else.
func Barred(e *journal.Enrolled) string {
	if r := e.Refusal; r != nil && (r.Code == protocol.CodeDeviceRevoked || r.Code == protocol.CodeDeviceSuspended || r.Code == protocol.CodeDeviceHeld) {
		return standings[r.Code]
	}
	return ""
}

// Status is how the device stands, as far as it knows itself. Times are on its
// own clock.
type Status struct {
	State        string `json:"state"`
	StateDir     string `json:"state_dir"`
	DeviceID     string `json:"device_id,omitempty"`
	EnrollmentID string `json:"enrollment_id,omitempty"`
	Server       string `json:"server,omitempty"`
	KeyCode      string `json:"key_code,omitempty"`

	EnrolledAt  time.Time    `json:"enrolled_at,omitzero"`
	Certificate *Certificate `json:"certificate,omitempty"`
	FleetRoot   *FleetRoot   `json:"fleet_root,omitempty"`
	Policy      int64        `json:"policy_version,omitempty"`
	PolicyUntil time.Time    `json:"policy_until,omitzero"`
	PolicyState string       `json:"policy_state,omitempty"` // in force, lapsed or void
	Renewal     *Renewal     `json:"renewal,omitempty"`      // under way
	LastCounter int64        `json:"last_counter,omitempty"` // used, accepted or not
	Accepted    *Accepted    `json:"last_accepted,omitempty"`
	Refusal     *Refusal     `json:"refusal,omitempty"`
	Closed      *Refusal     `json:"recovery_closed,omitempty"` // why the way back after expiry is closed

	Commands      []command.Shown `json:"commands,omitempty"`      // the last ones, the newest first
	CommandsAfter time.Time       `json:"commands_after,omitzero"` // those that were made until then are not done: their journal was lost

	Next string `json:"next,omitempty"` // what to do

	outside bool // another authority issues the certificates
}

// Certificate is the device's own.
type Certificate struct {
	Fingerprint string    `json:"fingerprint"`
	NotAfter    time.Time `json:"not_after"`
	Expired     bool      `json:"expired"`
	RenewAt     time.Time `json:"renew_at,omitzero"` // when the agent asks for the next one; never where another authority issues, nor while the device is revoked, suspended or held
}

// Renewal is a request for another certificate.
type Renewal struct {
	Since     time.Time `json:"since"`
	Recovery  bool      `json:"recovery"`            // the one in use has expired
	KeyCode   string    `json:"key_code,omitempty"`  // of a recovery: what the reviewer compares
	Submitted bool      `json:"submitted,omitempty"` // of a recovery: the server has the request
	Tried     bool      `json:"tried"`               // the new certificate is there, and the server has not accepted it yet
}

// FleetRoot is the pin.
type FleetRoot struct {
	FirstDigest string `json:"first_digest"`
	FirstUse    bool   `json:"trusted_on_first_use"`
	Version     int64  `json:"version"`
}

// Accepted is the last heartbeat that the server has stored.
type Accepted struct {
	At      time.Time `json:"at"`
	Counter int64     `json:"counter"`
}

// Refusal is why the server does not accept heartbeats now.
type Refusal struct {
	Code  protocol.Code `json:"code"`
	Since time.Time     `json:"since"`
}

// ReadStatus reads what is on the disk, beside a running agent too. A device that
// is not enrolled is no error.
func ReadStatus(dir string, now time.Time) (*Status, error) {
	s, err := journal.Read(dir)
	if errors.Is(err, journal.ErrNotEnrolled) {
		return &Status{State: NotEnrolled, StateDir: dir, Next: "enroll the device: sentinel-agent enroll --help"}, nil
	}
	if err != nil {
		return nil, err
	}
	st := &Status{State: Enrolling, StateDir: dir, DeviceID: s.DeviceID, EnrollmentID: s.EnrollmentID, Server: s.Server, outside: s.Outside}
	key, err := identity.LoadKey(dir)
	if err != nil && (s.Submitted || !errors.Is(err, identity.ErrNoKey)) {
		return nil, err
	}
	if key != nil {
		if st.KeyCode, err = certs.KeyCode(key.Public()); err != nil {
			return nil, err
		}
	}
	if s.Enrolled == nil {
		st.Next = Here(dir, "let a reviewer approve the key code, and go on with: sentinel-agent enroll")
		return st, nil
	}
	return st, st.enrolled(s.Enrolled, now)
}

// recentCommands are shown.
const recentCommands = 5

func (st *Status) enrolled(e *journal.Enrolled, now time.Time) error {
	leaf, err := identity.LoadCertificate(st.StateDir)
	if err != nil {
		return err
	}
	st.State, st.EnrolledAt, st.LastCounter, st.Policy = Enrolled, e.At, e.Counter, e.Policy.Version
	st.Certificate = &Certificate{
		Fingerprint: certs.Fingerprint(leaf.Raw), NotAfter: leaf.NotAfter, Expired: e.Now(now).After(leaf.NotAfter), RenewAt: renew.Due(leaf),
	}
	if st.outside || Barred(e) != "" {
		st.Certificate.RenewAt = time.Time{}
	}
	st.FleetRoot = &FleetRoot{FirstDigest: e.FirstRoot, FirstUse: e.FirstUse, Version: e.Root.Version}
	if e.Accepted != nil {
		st.Accepted = &Accepted{At: e.Accepted.At, Counter: e.Accepted.Counter}
	}
	if e.Closed != nil {
		st.Closed = &Refusal{Code: e.Closed.Code, Since: e.Closed.At}
	}
	if r := e.Renewal; r != nil {
		st.Renewal = &Renewal{Since: r.At, Recovery: r.Recovery, Submitted: r.Submitted, Tried: r.Tried}
		if st.Renewal.KeyCode, err = renew.Waiting(st.StateDir, e); err != nil {
			return err
		}
		if st.Renewal.KeyCode != "" { // the one that a reviewer asks for now
			st.KeyCode = st.Renewal.KeyCode
		}
	}
	if st.Commands, err = command.Recent(st.StateDir, recentCommands); err != nil {
		return err
	}
	if e.Now(now).Before(e.CommandsAfter.Add(signing.MaxCommandLife)) { // later none of them is valid any more
		st.CommandsAfter = e.CommandsAfter
	}
	if err := st.policy(e, now); err != nil {
		return err
	}
	st.next(e)
	return nil
}

// policy says what the bundle in force leaves.
func (st *Status) policy(e *journal.Enrolled, now time.Time) error {
	p, err := pins.Load(st.StateDir, e, now)
	if err != nil {
		return err
	}
	st.PolicyUntil = p.Bundle.ExpiresAt
	switch {
	case p.Void:
		st.PolicyState = "void"
	case p.LapsedAt(e.Now(now)):
		st.PolicyState = "lapsed"
	default:
		st.PolicyState = "in force"
	}
	return nil
}

// next says what to do, if anything.
func (st *Status) next(e *journal.Enrolled) {
	if e.Refusal != nil {
		st.Refusal = &Refusal{Code: e.Refusal.Code, Since: e.Refusal.At}
	}
	st.stand()
	switch {
	case st.Closed != nil:
		st.Next = adviseCode(st.Closed.Code)
	case st.Renewal != nil && st.Renewal.KeyCode != "":
		st.Next = "let a reviewer compare the renewal's key code and approve it; the agent goes on by itself then"
	case st.Refusal != nil:
		st.Next = adviseCode(st.Refusal.Code)
	case st.Certificate.Expired:
		st.Next = adviseCode(protocol.CodeCertificateExpired)
	case e.Accepted == nil:
		st.Next = "start the agent: " + Start(st.StateDir)
	}
	st.Next = Here(st.StateDir, st.Next)
}

// stand is where the device stands by what it was told last.
func (st *Status) stand() {
	if st.Certificate.Expired {
		st.State = Expired
	}
	for _, r := range []*Refusal{st.Refusal, st.Closed} { // what closed the way back counts more
		if r != nil && standings[r.Code] != "" {
			st.State = standings[r.Code]
		}
	}
}

// ExitCode is that of the command `status`.
func (st *Status) ExitCode() int {
	switch {
	case st.Certificate == nil:
		return ExitNotEnrolled
	case st.Refusal != nil || st.Closed != nil || st.Certificate.Expired:
		return ExitRefused
	}
	return ExitOK
}

// Print writes the status for a person.
func (st *Status) Print(w io.Writer, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { _, _ = fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	row("State", "%s", st.State)
	if st.DeviceID != "" {
		row("Device", "%s", st.DeviceID)
		row("Enrollment", "%s", st.EnrollmentID)
		row("Server", "%s", st.Server)
	}
	if st.KeyCode != "" {
		row("Key code", "%s", st.KeyCode)
	}
	if c := st.Certificate; c != nil {
		word := "valid until"
		switch {
		case st.State == Revoked:
			word = "REVOKED, would have ended"
		case c.Expired:
			word = "EXPIRED at"
		}
		row("Certificate", "%s %s", word, stamp(c.NotAfter))
		if st.Renewal == nil && !c.Expired && !c.RenewAt.IsZero() {
			row("Next renewal", "%s", stamp(c.RenewAt))
		}
	}
	if r := st.Renewal; r != nil {
		row("Renewal", "%s", r)
	}
	if c := st.Closed; c != nil {
		row("Way back", "closed: %s since %s", c.Code, stamp(c.Since))
	}
	if r := st.FleetRoot; r != nil {
		how := "given when it enrolled"
		if r.FirstUse {
			how = "trusted on first use"
		}
		row("Fleet root", "version %d, first one %s (%s)", r.Version, r.FirstDigest, how)
		row("Policy", "version %d, %s", st.Policy, st.policyText())
	}
	switch a := st.Accepted; {
	case a != nil:
		row("Last heartbeat", "accepted %s (%s ago), counter %d", stamp(a.At), max(now.Sub(a.At), 0).Round(time.Second), a.Counter)
	case st.Certificate != nil:
		row("Last heartbeat", "none was accepted yet")
	}
	if r := st.Refusal; r != nil {
		row("Refused", "%s since %s", r.Code, stamp(r.Since))
	}
	for i, c := range st.Commands {
		name := ""
		if i == 0 {
			name = "Commands"
		}
		row(name, "%s %s: %s", c.ActionID, c.Kind, strings.TrimSpace(c.Status+" "+c.Reason))
	}
	if !st.CommandsAfter.IsZero() {
		row("Not done", "commands made until %s: the journal of them was lost", stamp(st.CommandsAfter))
	}
	if st.Next != "" {
		row("To do", "%s", st.Next)
	}
	return t.Flush()
}

func (st *Status) policyText() string {
	switch st.PolicyState {
	case "void":
		return "void: the fleet root took its signers away; no command is done until a new one arrives"
	case "lapsed":
		return "EXPIRED at " + stamp(st.PolicyUntil) + ": only harmless commands are left"
	}
	return "valid until " + stamp(st.PolicyUntil)
}

func (r *Renewal) String() string {
	switch {
	case r.Tried:
		return "the new certificate is being tried"
	case r.Recovery && r.Submitted:
		return "the certificate has expired; waiting for a review since " + stamp(r.Since) + ", key code " + r.KeyCode
	case r.Recovery:
		return "the certificate has expired; the server does not have the request for another yet, key code " + r.KeyCode
	}
	return "asked for since " + stamp(r.Since)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
