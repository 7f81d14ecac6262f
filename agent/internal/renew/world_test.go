package renew

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/pins"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

var day = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

const (
	life  = 9 * 24 * time.Hour
	early = time.Minute // agenttest lets certificates begin that much before; here their life is counted
)

// office is the server's side: strict about what comes, one certificate on record
// and at most one that was issued and not shown yet.
type office struct {
	t      *testing.T
	fleet  *agenttest.Fleet
	device *device
	life   time.Duration // of certificates

	current  *x509.Certificate
	waiting  *x509.Certificate
	answered map[string]protocol.RenewAnswer // by request id
	asked    []string                        // request ids as they came
	polls    int

	lose    int                          // answers that get lost, once stored
	refuse  *link.RefusalError           // in place of any answer
	pending int                          // answers before it is issued
	change  func(*protocol.RenewAnswer)  // of what is answered
	result  func(*protocol.EnrollResult) // of what is answered to a poll
	nonce   string
	forgot  bool // the certificate on record, by a restore
}

// device is a device's disk, and what runs on it.
type device struct {
	t       *testing.T
	office  *office
	journal *journal.Journal
	now     time.Time
	random  float64
	renewer *Renewer
	disk    Disk // in front of the real one, for faults
	shown   journal.Slot
	changes int
}

func newDevice(t *testing.T) *device { t.Helper(); return newDeviceFor(t, life) }

// newDeviceFor is a device whose certificates have another life.
func newDeviceFor(t *testing.T, life time.Duration) *device {
	t.Helper()
	fleet := agenttest.NewFleet(t, day)
	d := &device{t: t, now: day.Add(time.Minute)}
	d.office = &office{t: t, fleet: fleet, device: d, life: life, answered: map[string]protocol.RenewAnswer{}, nonce: "nonce-0"}
	dir := filepath.Join(t.TempDir(), "state")
	if err := journal.MakeDir(dir); err != nil {
		t.Fatal(err)
	}
	key, err := identity.CreateKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	chain := fleet.IssueDevice(t, "edge-1", key.Public(), day.Add(early), life)
	if err := identity.StoreChain(dir, chain); err != nil {
		t.Fatal(err)
	}
	d.office.current = parsed(t, chain)
	root, digest := fleet.Root(t)
	bundle, _ := fleet.BundleWith(t, digest, 3, nil)
	p, err := pins.Verify([][]byte{root}, bundle, digest, day, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Store(dir); err != nil {
		t.Fatal(err)
	}
	if d.journal, err = journal.Open(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.journal.Close() })
	if err := d.journal.Begin(journal.State{
		Server: "https://s.test:8443", DeviceID: "edge-1", EnrollmentID: journal.NewID(day), StartedAt: day, ServerCA: []byte{1},
		Enrolled: &journal.Enrolled{
			At: day, FirstRoot: digest, Root: p.RootMark(), Policy: p.PolicyMark(), TimeFloor: day, Epoch: agenttest.Epoch, Counter: 41,
		},
	}); err != nil {
		t.Fatal(err)
	}
	d.disk = OnDisk(d.journal, identity.Place{})
	d.start()
	return d
}

// start starts the agent, as a restart does.
func (d *device) start() {
	d.t.Helper()
	e := d.kept()
	p, err := pins.Load(d.journal.Dir(), e, d.now)
	if err != nil {
		d.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	now := func() time.Time { return d.journal.Now(d.now) }
	d.shown = e.Shown()
	if d.renewer, err = New(Options{
		Disk: d.disk, Server: d.office, Keeper: pins.NewKeeper(d.journal, p, now, log), Facts: func() protocol.Facts { return protocol.Facts{"os": "linux"} },
		Shown: func() journal.Slot { return d.shown }, Changed: func() { d.changes++ }, Now: now,
		Random: func() float64 { return d.random }, Log: log,
	}); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) kept() *journal.Enrolled {
	d.t.Helper()
	s, err := d.journal.State()
	if err != nil {
		d.t.Fatal(err)
	}
	return s.Enrolled
}

// live lets the agent live for some rounds, as long as each wants to wait, and
// speaks to the server in between. It returns what the last heartbeat came to.
func (d *device) live(rounds int) protocol.Code {
	d.t.Helper()
	var code protocol.Code
	for range rounds {
		d.now = d.now.Add(d.renewer.Round(d.t.Context()))
		code = d.beat()
	}
	return code
}

// beat is a heartbeat, "" if it was accepted.
func (d *device) beat() protocol.Code {
	d.t.Helper()
	d.shown = d.kept().Shown() // as the wire does before each
	id, err := identity.LoadIn(d.journal.Dir(), d.shown)
	if err != nil {
		d.t.Fatalf("the device has nothing to show: %v", err)
	}
	code := d.office.judge(id.Leaf)
	if code != "" {
		d.renewer.Refused(d.t.Context(), code)
		return code
	}
	if err := d.renewer.After(d.t.Context(), &protocol.HeartbeatAnswer{}); err != nil {
		d.t.Logf("after: %v", err)
	}
	return ""
}

// works makes sure that the device, as it lies on the disk, is let in.
func (d *device) works() *identity.Identity {
	d.t.Helper()
	d.disk = OnDisk(d.journal, identity.Place{})
	d.start()
	if code := d.beat(); code != "" {
		if code = d.beat(); code != "" { // the second, if a new certificate was not taken
			d.t.Fatalf("the device is locked out: %s", code)
		}
	}
	id, err := identity.Load(d.journal.Dir())
	if err != nil {
		d.t.Fatal(err)
	}
	return id
}

// judge is what the server thinks of a certificate: the one on record, or the one
// that was issued since, which takes its place when it is first shown.
func (o *office) judge(leaf *x509.Certificate) protocol.Code {
	switch {
	case o.device.now.After(leaf.NotAfter) && leaf.Equal(o.current):
		return protocol.CodeCertificateExpired
	case o.device.now.After(leaf.NotAfter):
		return protocol.CodeCertificateUnknown
	case o.waiting != nil && leaf.Equal(o.waiting):
		o.current, o.waiting, o.forgot = o.waiting, nil, false
	case !leaf.Equal(o.current):
		return protocol.CodeCertificateUnknown
	case o.forgot:
		return protocol.CodeCertificateLost
	}
	return ""
}

// Issuer is the server's CA.
func (o *office) Issuer() string { return certs.Fingerprint(o.fleet.ServerCA.Certificate.Raw) }

// Post is a request and its answer.
func (o *office) Post(_ context.Context, path string, body []byte, answer any) error {
	var reply any
	var err error
	switch path {
	case protocol.PathRenew:
		reply, err = o.renew(body)
	case protocol.PathEnroll:
		reply, err = o.recovery(body)
	default:
		reply, err = o.poll(path, body)
	}
	switch {
	case err != nil:
		return err
	case o.refuse != nil:
		return o.refuse
	case o.lose > 0:
		o.lose--
		return link.ErrNoAnswer
	}
	data, err := json.Marshal(reply)
	if err != nil {
		return err
	}
	return protocol.DecodeTolerant(data, answer)
}

// request verifies a renewal as the server does.
func (o *office) request(body []byte, recovery bool) (*signing.Renewal, *certs.Request) {
	o.t.Helper()
	env, err := signing.ParseEnvelope(body)
	if err != nil {
		o.t.Fatal(err)
	}
	r, err := signing.ReadRenewal(env)
	if err != nil {
		o.t.Fatal(err)
	}
	req, err := certs.ParseRequest(r.CSR, "edge-1")
	if err != nil {
		o.t.Fatal(err)
	}
	err = signing.VerifyRenewal(env, o.current.PublicKey, req.PublicKey)
	if err != nil || r.Current != certs.Fingerprint(o.current.Raw) || r.DeviceID != "edge-1" || r.Recovery != recovery {
		o.t.Fatalf("the request is not in order: %+v, %v", r, err)
	}
	o.asked = append(o.asked, r.RequestID)
	return r, req
}

func (o *office) renew(body []byte) (*protocol.RenewAnswer, error) {
	r, req := o.request(body, false)
	if o.refuse != nil {
		return nil, o.refuse
	}
	answer, ok := o.answered[r.RequestID]
	if !ok {
		answer = protocol.RenewAnswer{RequestID: r.RequestID, State: protocol.EnrollPending, RetryAfterSeconds: 30}
		if o.pending--; o.pending < 0 {
			answer.State, answer.Certificates = protocol.EnrollIssued, o.issue(req.PublicKey)
			o.answered[r.RequestID] = answer
		}
	}
	if o.change != nil {
		o.change(&answer)
	}
	return &answer, nil
}

func (o *office) issue(pub crypto.PublicKey) [][]byte {
	chain := o.fleet.IssueDevice(o.t, "edge-1", pub, o.device.now.Add(early), o.life)
	o.waiting = parsed(o.t, chain)
	return chain
}

func (o *office) recovery(body []byte) (*protocol.EnrollAnswer, error) {
	var req protocol.EnrollRequest
	if err := protocol.Decode(body, &req); err != nil || req.Check() != nil || req.DeviceID != "edge-1" {
		o.t.Fatalf("the office cannot take %s: %v", body, err)
	}
	if !bytes.Equal(req.Certificate, o.current.Raw) {
		o.t.Fatal("the certificate of the key does not come with the recovery")
	}
	r, csr := o.request(req.Recovery, true)
	if r.RequestID != req.EnrollmentID {
		o.t.Fatal("two ids")
	}
	if o.refuse != nil {
		return nil, o.refuse
	}
	return &protocol.EnrollAnswer{EnrollmentID: r.RequestID, State: protocol.EnrollPending, KeyCode: csr.KeyCode, Nonce: o.nonce, PollAfterSeconds: 5}, nil
}

func (o *office) poll(path string, body []byte) (*protocol.EnrollResult, error) {
	o.polls++
	s, err := o.device.journal.State()
	if err != nil {
		return nil, err
	}
	asked := s.Enrolled.Renewal
	csr, err := certs.ParseRequest(asked.CSR, "edge-1")
	if err != nil {
		return nil, err
	}
	key, err := signing.NewKey(signing.PurposeEnrollPoll, csr.PublicKey)
	if err != nil {
		return nil, err
	}
	env, err := signing.ParseEnvelope(body)
	if err != nil {
		return nil, err
	}
	payload, _, err := env.Verify(signing.PurposeEnrollPoll, []signing.Key{key}, 1)
	var p protocol.EnrollPoll
	if err != nil || protocol.Decode(payload, &p) != nil || p.Check() != nil || p.CAFingerprint != o.Issuer() || path != protocol.EnrollPollPath(asked.RequestID) {
		o.t.Fatalf("the poll is not in order: %s, %v", payload, err)
	}
	if o.refuse != nil {
		return nil, o.refuse
	}
	if p.Nonce != o.nonce {
		return nil, &link.RefusalError{Status: 409, Problem: protocol.Problem{Code: protocol.CodeNonceStale, Nonce: o.nonce}}
	}
	o.nonce = fmt.Sprintf("nonce-%d", o.polls)
	result := &protocol.EnrollResult{EnrollmentID: asked.RequestID, State: protocol.EnrollPending, Nonce: o.nonce, PollAfterSeconds: 5}
	if o.pending--; o.pending < 0 {
		result.State, result.Certificates, result.Epoch = protocol.EnrollIssued, o.issue(csr.PublicKey), agenttest.NextEpoch
	}
	if o.result != nil {
		o.result(result)
	}
	return result, nil
}

func parsed(t *testing.T, chain [][]byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fault is a disk whose nth write fails: before it was done, or after, so that the
// agent does not know.
type fault struct {
	Disk

	nth   int
	after bool
	step  string // the one that failed
}

var errDisk = errors.New("the disk failed")

func (f *fault) write(step string, do func() error) error {
	f.nth--
	if f.nth != 0 {
		return do()
	}
	f.step = step
	if f.after {
		return errors.Join(errDisk, do())
	}
	return errDisk
}

func (f *fault) Update(change func(*journal.State)) error {
	return f.write("journal", func() error { return f.Disk.Update(change) })
}

func (f *fault) CreateKey(s journal.Slot) (key crypto.Signer, err error) {
	err = f.write("key", func() (err error) { key, err = f.Disk.CreateKey(s); return err })
	return key, err
}

func (f *fault) StoreChain(s journal.Slot, chain [][]byte) error {
	return f.write("chain", func() error { return f.Disk.StoreChain(s, chain) })
}

func (f *fault) Clear(s journal.Slot) error {
	return f.write("clear", func() error { return f.Disk.Clear(s) })
}
