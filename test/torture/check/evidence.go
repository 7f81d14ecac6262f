package check

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/record"
)

// Evidence is all that a run left behind.
type Evidence struct {
	Ops       []record.Op
	Snapshots []record.Snapshot
	Agents    map[string]record.Snapshot // the journal of each real agent in the end

	Instance     Instance
	Nodes        []Node
	Devices      map[string]Device
	Tokens       map[string]Token // by note
	Enrollments  []Enrollment
	Certificates []Certificate
	Requests     []Request
	Identities   map[string]Identity // on the disk of each real agent
	Audit        []Entry
	Commands     map[string]bool // by id
	Targets      []Target
	Journals     map[string]map[string]Ran // of commands, by agent and action id
}

// Target is a row of command_targets.
type Target struct {
	Command, Device, State string
	Result                 bool // there is one
}

// Ran is what an agent's journal of commands says of an id.
type Ran struct{ Begun, Ended, Reported int }

// Instance is the database's own row.
type Instance struct {
	Fleet, Epoch string
	Mark, Behind int64
}

// Node is what a node keeps outside the database.
type Node struct {
	Name         string
	Fleet, Epoch string
	Mark         int64
	Revoked      []string // device ids, line by line
	Torn         bool     // the journal of revocations holds a whole line that is none
}

// Device is a row of devices with its counter.
type Device struct {
	ID, Enrollment, State, Held string
	Counter                     int64
	Fingerprint                 string
	Next                        string // fingerprint of the certificate that waits for its first use
	Gate                        int
}

// Token is a row of enroll_tokens.
type Token struct {
	ID            string
	Uses, MaxUses int
}

// Enrollment is a row of enrollments.
type Enrollment struct{ ID, Token, Device, State, Fingerprint string }

// Certificate is a row of certificates of devices. Times are since the epoch of
// Unix; End is 0 while it is in force.
type Certificate struct {
	Fingerprint, Device, Enrollment string
	End                             time.Duration
}

// Request is a row of identity_requests. Given is when it led to its certificate,
// if it did, End when it was used or came to nothing, or 0.
type Request struct {
	ID, Device, State, Approval, Fingerprint string
	SignedBy                                 string // fingerprint of the certificate by whose key it was asked for
	Created, Given, End                      time.Duration
}

// Open says whether the request may still lead to a certificate in use.
func (r *Request) Open() bool {
	return r.State == "pending" || r.State == "approved" || r.State == "issued"
}

// Identity is what lies in an agent's two slots: the fingerprint of the certificate
// in each, "" when it or its key is missing or they do not belong together.
type Identity struct {
	InUse, Other string
	Tried        bool // the other one is shown
}

// Entry is a row of audit_entries.
type Entry struct{ Action, Object, Result, Reason, Details string }

// Load reads what lies in the run's directory, the nodes' data directories and
// the database, and the agents' journals by name.
func Load(dir string, nodes []string, d *sql.DB, agents map[string]string) (*Evidence, error) {
	e := &Evidence{Agents: map[string]record.Snapshot{}, Devices: map[string]Device{}, Tokens: map[string]Token{}, Commands: map[string]bool{}, Journals: map[string]map[string]Ran{}, Identities: map[string]Identity{}}
	var err error
	if e.Ops, err = record.Read[record.Op](filepath.Join(dir, "operations.jsonl")); err != nil {
		return nil, err
	}
	if e.Snapshots, err = record.Read[record.Snapshot](filepath.Join(dir, "journals.jsonl")); err != nil {
		return nil, err
	}
	for name, state := range agents {
		if e.Agents[name], err = ReadJournal(state); err != nil {
			return nil, err
		}
		if e.Journals[name], err = readCommands(state); err != nil {
			return nil, err
		}
		e.Identities[name] = readIdentity(state, e.Agents[name])
	}
	for _, n := range nodes {
		node, err := readNode(n)
		if err != nil {
			return nil, err
		}
		e.Nodes = append(e.Nodes, node)
	}
	return e, e.readRows(d)
}

// ReadJournal reads the journal in an agent's state directory.
func ReadJournal(state string) (s record.Snapshot, err error) {
	data, err := os.ReadFile(filepath.Join(state, "journal.json"))
	if err != nil {
		return s, err
	}
	var file struct {
		State journal `json:"state"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return s, fmt.Errorf("%s: %w", state, err)
	}
	j := file.State
	if j.Enrolled == nil {
		return s, fs.ErrNotExist
	}
	s.Agent, s.Counter, s.Epoch, s.Root, s.Policy = j.DeviceID, j.Enrolled.Counter, j.Enrolled.Epoch, j.Enrolled.Root.Version, j.Enrolled.Policy.Version
	s.Floor, s.Slot = j.Enrolled.Floor, j.Enrolled.Slot
	if r := j.Enrolled.Renewal; r != nil {
		s.Request, s.Tried = r.Request, r.Tried
	}
	if j.Enrolled.Accepted != nil {
		s.Accepted = j.Enrolled.Accepted.Counter
	}
	if j.Enrolled.Refusal != nil {
		s.Refusal = j.Enrolled.Refusal.Code
	}
	return s, nil
}

// readIdentity looks into an agent's two slots.
func readIdentity(state string, s record.Snapshot) Identity {
	other := "b"
	if s.Slot == "b" {
		other = ""
	}
	return Identity{InUse: readSlot(state, s.Slot), Other: readSlot(state, other), Tried: s.Tried}
}

func readSlot(state, slot string) string {
	if slot != "" {
		slot = "-" + slot
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(state, "certificate"+slot+".pem"), filepath.Join(state, "device"+slot+".key"))
	if err != nil {
		return ""
	}
	return certs.Fingerprint(pair.Certificate[0])
}

// readCommands reads an agent's journal of commands; a last line without its end is
// what a kill left.
func readCommands(state string) (map[string]Ran, error) {
	data, err := os.ReadFile(filepath.Join(state, "commands.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ran := map[string]Ran{}
	for text := range bytes.Lines(data[:bytes.LastIndexByte(data, '\n')+1]) {
		_, text, _ = bytes.Cut(text, []byte{' '}) // its sum
		var line struct {
			Begun, Ended struct {
				ActionID string `json:"action_id"`
			}
			Reported string
		}
		if err := json.Unmarshal(text, &line); err != nil {
			return nil, fmt.Errorf("%s: the journal of commands: %w", state, err)
		}
		for id, count := range map[string]func(*Ran){
			line.Begun.ActionID: func(r *Ran) { r.Begun++ }, line.Ended.ActionID: func(r *Ran) { r.Ended++ }, line.Reported: func(r *Ran) { r.Reported++ },
		} {
			if id != "" {
				r := ran[id]
				count(&r)
				ran[id] = r
			}
		}
	}
	return ran, nil
}

type journal struct {
	DeviceID string `json:"device_id"`
	Enrolled *struct {
		Counter int64     `json:"counter"`
		Epoch   string    `json:"epoch"`
		Root    mark      `json:"root"`
		Policy  mark      `json:"policy"`
		Floor   time.Time `json:"time_floor"`
		Slot    string    `json:"slot"`
		Renewal *struct {
			Request string `json:"request_id"`
			Tried   bool   `json:"tried"`
		} `json:"renewal"`
		Accepted *struct {
			Counter int64 `json:"counter"`
		} `json:"accepted"`
		Refusal *struct {
			Code string `json:"code"`
		} `json:"refusal"`
	} `json:"enrolled"`
}

type mark struct {
	Version int64 `json:"version"`
}

func readNode(dir string) (Node, error) {
	n := Node{Name: filepath.Base(dir)}
	data, err := os.ReadFile(filepath.Join(dir, "instance.json"))
	if err != nil {
		return n, err
	}
	var outside struct {
		Fleet string `json:"fleet_id"`
		Epoch string `json:"epoch"`
		Mark  int64  `json:"mark"`
	}
	if err := json.Unmarshal(data, &outside); err != nil {
		return n, fmt.Errorf("%s: instance.json: %w", dir, err)
	}
	n.Fleet, n.Epoch, n.Mark = outside.Fleet, outside.Epoch, outside.Mark
	data, err = os.ReadFile(filepath.Join(dir, "revocations.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err != nil {
		return n, err
	}
	n.Revoked, n.Torn = revocations(data)
	return n, nil
}

// revocations reads the whole lines of the journal; what a crash left of a last
// one was not acknowledged.
func revocations(data []byte) (ids []string, torn bool) {
	whole := data[:bytes.LastIndexByte(data, '\n')+1]
	for lines := bufio.NewScanner(bytes.NewReader(whole)); lines.Scan(); {
		var r struct {
			Device string `json:"device_id"`
		}
		if json.Unmarshal(lines.Bytes(), &r) != nil || r.Device == "" {
			torn = true
			continue
		}
		ids = append(ids, r.Device)
	}
	return ids, torn
}

func (e *Evidence) readRows(d *sql.DB) error {
	return errors.Join(
		d.QueryRow("SELECT fleet_id, epoch, mark, behind_since FROM instance").Scan(&e.Instance.Fleet, &e.Instance.Epoch, &e.Instance.Mark, &e.Instance.Behind),
		each(d, `SELECT d.device_id, d.enrollment_id, d.state, d.held_reason, c.counter, c.fingerprint, c.next_fingerprint, c.gate
			FROM devices d JOIN device_counters c ON c.device_id = d.device_id`, func(scan func(...any) error) error {
			var v Device
			err := scan(&v.ID, &v.Enrollment, &v.State, &v.Held, &v.Counter, &v.Fingerprint, &v.Next, &v.Gate)
			e.Devices[v.ID] = v
			return err
		}),
		each(d, "SELECT note, id, uses, max_uses FROM enroll_tokens", func(scan func(...any) error) error {
			var note string
			var v Token
			err := scan(&note, &v.ID, &v.Uses, &v.MaxUses)
			if _, twice := e.Tokens[note]; twice {
				note += " (again) " + v.ID
			}
			e.Tokens[note] = v
			return err
		}),
		each(d, "SELECT id, token_id, device_id, state, fingerprint FROM enrollments", func(scan func(...any) error) error {
			var v Enrollment
			err := scan(&v.ID, &v.Token, &v.Device, &v.State, &v.Fingerprint)
			e.Enrollments = append(e.Enrollments, v)
			return err
		}),
		each(d, "SELECT fingerprint, device_id, enrollment_id, revoked_at FROM certificates WHERE kind = 'device'", func(scan func(...any) error) error {
			var v Certificate
			var at int64
			err := scan(&v.Fingerprint, &v.Device, &v.Enrollment, &at)
			v.End = time.Duration(at) * time.Microsecond
			e.Certificates = append(e.Certificates, v)
			return err
		}),
		each(d, "SELECT id, device_id, state, approval_id, fingerprint, signed_by, created_at, decided_at FROM identity_requests", func(scan func(...any) error) error {
			var v Request
			var created, decided int64
			err := scan(&v.ID, &v.Device, &v.State, &v.Approval, &v.Fingerprint, &v.SignedBy, &created, &decided)
			v.Created = time.Duration(created) * time.Microsecond
			if !v.Open() {
				v.End = time.Duration(decided) * time.Microsecond
			}
			e.Requests = append(e.Requests, v)
			return err
		}),
		each(d, "SELECT id FROM commands", func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			e.Commands[id] = true
			return err
		}),
		each(d, "SELECT command_id, device_id, state, length(result) FROM command_targets", func(scan func(...any) error) error {
			var v Target
			var size int
			err := scan(&v.Command, &v.Device, &v.State, &size)
			v.Result = size > 0
			e.Targets = append(e.Targets, v)
			return err
		}),
		each(d, "SELECT at, action, object_id, result, reason, details FROM audit_entries", func(scan func(...any) error) error {
			var v Entry
			var at int64
			err := scan(&at, &v.Action, &v.Object, &v.Result, &v.Reason, &v.Details)
			e.Audit = append(e.Audit, v)
			e.given(v, time.Duration(at)*time.Microsecond)
			return err
		}),
	)
}

// given notes when a request led to its certificate: their transaction's entry tells.
func (e *Evidence) given(a Entry, at time.Duration) {
	var details struct{ Request string }
	if a.Action != "certificate.renew" || json.Unmarshal([]byte(a.Details), &details) != nil {
		return
	}
	for i := range e.Requests {
		if e.Requests[i].ID == details.Request {
			e.Requests[i].Given = at
		}
	}
}

func each(d *sql.DB, query string, row func(scan func(...any) error) error) error {
	rows, err := d.Query(query)
	if err != nil {
		return fmt.Errorf("%s: %w", query, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
	}
	return rows.Err()
}
