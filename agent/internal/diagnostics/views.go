package diagnostics

import (
	"os"
	"runtime"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/version"
)

// journalView is what of the journal may be shown. Nonces and receipts may not:
// with them and a copied key somebody could speak for the device.
type journalView struct {
	Server       string        `json:"server"`
	DeviceID     string        `json:"device_id"`
	EnrollmentID string        `json:"enrollment_id"`
	StartedAt    time.Time     `json:"started_at"`
	ServerCA     string        `json:"server_ca"` // fingerprint
	WantRoot     string        `json:"want_root,omitempty"`
	Submitted    bool          `json:"submitted"`
	HasPollNonce bool          `json:"has_poll_nonce"`
	Enrolled     *enrolledView `json:"enrolled,omitempty"`
}

type enrolledView struct {
	At         time.Time         `json:"at"`
	FirstRoot  string            `json:"first_root"`
	FirstUse   bool              `json:"first_use"`
	Root       journal.Mark      `json:"root"`
	Policy     journal.Mark      `json:"policy"`
	TimeFloor  time.Time         `json:"time_floor"`
	Counter    int64             `json:"counter"`
	Epoch      string            `json:"epoch"`
	HasNonce   bool              `json:"has_nonce"`
	HasReceipt bool              `json:"has_receipt"`
	Interval   int               `json:"interval"`
	Facts      string            `json:"facts,omitempty"` // digest
	Accepted   *journal.Accepted `json:"accepted,omitempty"`
	Refusal    *journal.Refusal  `json:"refusal,omitempty"`
	Closed     *journal.Refusal  `json:"closed,omitempty"`
	Slot       journal.Slot      `json:"slot,omitempty"`
	Lost       bool              `json:"lost,omitempty"`

	Commands      int64     `json:"commands"`
	CommandsMade  time.Time `json:"commands_made,omitzero"`
	CommandsAfter time.Time `json:"commands_after,omitzero"`
}

func viewJournal(s *journal.State) any {
	v := journalView{
		Server: s.Server, DeviceID: s.DeviceID, EnrollmentID: s.EnrollmentID, StartedAt: s.StartedAt, ServerCA: certs.Fingerprint(s.ServerCA),
		WantRoot: s.WantRoot, Submitted: s.Submitted, HasPollNonce: s.PollNonce != "",
	}
	if e := s.Enrolled; e != nil {
		v.Enrolled = &enrolledView{
			At: e.At, FirstRoot: e.FirstRoot, FirstUse: e.FirstUse, Root: e.Root, Policy: e.Policy, TimeFloor: e.TimeFloor,
			Counter: e.Counter, Epoch: e.Epoch, HasNonce: e.Nonce != "", HasReceipt: e.Receipt != "", Interval: e.Interval,
			Facts: e.Facts, Accepted: e.Accepted, Refusal: e.Refusal, Closed: e.Closed, Slot: e.Slot, Lost: e.Lost,
			Commands: e.Commands, CommandsMade: e.CommandsMade, CommandsAfter: e.CommandsAfter,
		}
	}
	return v
}

// settingsView is what of the settings may be shown.
type settingsView struct {
	File          string `json:"file,omitempty"`
	Problem       string `json:"problem,omitempty"` // never holds a value
	StateDir      string `json:"state_dir"`
	Server        string `json:"server,omitempty"`
	LogLevel      string `json:"log_level"`
	LogFormat     string `json:"log_format"`
	Proxy         string `json:"proxy,omitempty"`
	ProxySignIn   bool   `json:"proxy_sign_in"`
	MinInterval   string `json:"min_interval"`
	DeviceID      string `json:"device_id,omitempty"`
	CAFingerprint string `json:"ca_fingerprint,omitempty"`
	FleetRoot     string `json:"fleet_root,omitempty"`
	HasToken      bool   `json:"has_token"`
}

func viewSettings(c *config.Config, file string, problem error) any {
	v := settingsView{
		File: file, StateDir: c.StateDir, Server: c.Server, LogLevel: c.LogLevel.String(), LogFormat: c.LogFormat,
		MinInterval: c.MinInterval.String(), DeviceID: c.DeviceID, CAFingerprint: c.CAFingerprint, FleetRoot: c.FleetRoot,
		HasToken: c.Token != "",
	}
	if c.Proxy != nil {
		v.Proxy, v.ProxySignIn = c.Proxy.Scheme+"://"+c.Proxy.Host, c.Proxy.User != nil
	}
	if problem != nil {
		v.Problem = problem.Error()
	}
	return v
}

// systemView is what the device is.
type systemView struct {
	AgentVersion string         `json:"agent_version"`
	Go           string         `json:"go"`
	CPUs         int            `json:"cpus"`
	UID          int            `json:"uid"` // of who gathered this, -1 on Windows
	Clock        time.Time      `json:"clock"`
	Facts        protocol.Facts `json:"facts"` // as the server is told
}

func viewSystem(now time.Time) any {
	return systemView{
		AgentVersion: version.String(), Go: runtime.Version(), CPUs: runtime.NumCPU(), UID: os.Geteuid(), Clock: now, Facts: app.Facts(),
	}
}
