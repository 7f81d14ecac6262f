package app

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Where a device stands.
const (
	NotEnrolled = "not enrolled"
	Enrolling   = "enrolling"
	Enrolled    = "enrolled"
)

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
	LastCounter int64        `json:"last_counter,omitempty"` // used, accepted or not
	Accepted    *Accepted    `json:"last_accepted,omitempty"`
	Refusal     *Refusal     `json:"refusal,omitempty"`
	Next        string       `json:"next,omitempty"` // what to do
}

// Certificate is the device's own.
type Certificate struct {
	Fingerprint string    `json:"fingerprint"`
	NotAfter    time.Time `json:"not_after"`
	Expired     bool      `json:"expired"`
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
	st := &Status{State: Enrolling, StateDir: dir, DeviceID: s.DeviceID, EnrollmentID: s.EnrollmentID, Server: s.Server}
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
		st.Next = "let a reviewer approve the key code, and go on with: sentinel-agent enroll"
		return st, nil
	}
	return st, st.enrolled(s.Enrolled, now)
}

func (st *Status) enrolled(e *journal.Enrolled, now time.Time) error {
	leaf, err := identity.LoadCertificate(st.StateDir)
	if err != nil {
		return err
	}
	st.State, st.EnrolledAt, st.LastCounter, st.Policy = Enrolled, e.At, e.Counter, e.Policy.Version
	st.Certificate = &Certificate{Fingerprint: certs.Fingerprint(leaf.Raw), NotAfter: leaf.NotAfter, Expired: e.Now(now).After(leaf.NotAfter)}
	st.FleetRoot = &FleetRoot{FirstDigest: e.FirstRoot, FirstUse: e.FirstUse, Version: e.Root.Version}
	if e.Accepted != nil {
		st.Accepted = &Accepted{At: e.Accepted.At, Counter: e.Accepted.Counter}
	}
	switch {
	case e.Refusal != nil:
		st.Refusal = &Refusal{Code: e.Refusal.Code, Since: e.Refusal.At}
		st.Next = adviseCode(e.Refusal.Code)
	case st.Certificate.Expired:
		st.Next = adviseCode(protocol.CodeCertificateExpired)
	case e.Accepted == nil:
		st.Next = "start the agent: sentinel-agent run, or sentinel-agent service install"
	}
	return nil
}

// ExitCode is that of the command `status`.
func (st *Status) ExitCode() int {
	switch {
	case st.State != Enrolled:
		return ExitNotEnrolled
	case st.Refusal != nil || st.Certificate.Expired:
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
		if c.Expired {
			word = "EXPIRED at"
		}
		row("Certificate", "%s %s", word, stamp(c.NotAfter))
	}
	if r := st.FleetRoot; r != nil {
		how := "given when it enrolled"
		if r.FirstUse {
			how = "trusted on first use"
		}
		row("Fleet root", "version %d, first one %s (%s)", r.Version, r.FirstDigest, how)
		row("Policy", "version %d", st.Policy)
	}
	switch a := st.Accepted; {
	case a != nil:
		row("Last heartbeat", "accepted %s (%s ago), counter %d", stamp(a.At), max(now.Sub(a.At), 0).Round(time.Second), a.Counter)
	case st.State == Enrolled:
		row("Last heartbeat", "none was accepted yet")
	}
	if r := st.Refusal; r != nil {
		row("Refused", "%s since %s", r.Code, stamp(r.Since))
	}
	if st.Next != "" {
		row("To do", "%s", st.Next)
	}
	return t.Flush()
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
