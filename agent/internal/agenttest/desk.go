package agenttest

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Token is the one that a Desk takes.
const Token = "the-enrollment-token"

// Desk is the server's side of the wire for one device: strict about what the
// device sends, and as wrong as a test wants in what it answers. Its fields may
// be changed while no request is on its way.
type Desk struct {
	Fleet   *Fleet
	Address string // host:port on 127.0.0.1

	Pending   int                                                 // polls before the decision
	PollAfter int                                                 // seconds that it asks to wait
	Issue     func(*protocol.EnrollResult)                        // changes what is issued
	OnRequest func(w http.ResponseWriter, nth int) (handled bool) // after it was stored
	OnPoll    func(w http.ResponseWriter, nth int) (handled bool) // after it was verified
	OnBeat    func(w http.ResponseWriter, hb protocol.Heartbeat) (handled bool)
	OnAnswer  func(hb protocol.Heartbeat, a *protocol.HeartbeatAnswer) // changes what an accepted heartbeat is answered

	Requests []protocol.EnrollRequest
	Beats    []protocol.Heartbeat
	Renewals []signing.Renewal
	Results  map[string]*signing.CommandResult // the first of each action id, verified
	Polls    int
	Nonce    string // the one that is good now

	t       testing.TB
	now     func() time.Time
	mu      sync.Mutex
	current *x509.Certificate               // on record
	waiting *x509.Certificate               // issued, and not shown yet
	renewed map[string]protocol.RenewAnswer // by request id
}

// NewDesk opens a desk until the test ends. Its clock is now.
func NewDesk(t testing.TB, now func() time.Time) *Desk {
	t.Helper()
	d := &Desk{t: t, now: now, Fleet: NewFleet(t, now()), Nonce: "nonce-0", PollAfter: 5}
	d.Results, d.renewed = map[string]*signing.CommandResult{}, map[string]protocol.RenewAnswer{}
	d.Address = Serve(t, d.Fleet.ServerCertificate(t, "127.0.0.1"), d)
	return d
}

// ServeHTTP is one request at a time.
func (d *Desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	body, _ := io.ReadAll(io.LimitReader(r.Body, protocol.MaxHeartbeatBody))
	switch {
	case r.URL.Path == protocol.PathEnroll:
		d.request(w, body)
	case r.URL.Path == protocol.PathHeartbeat:
		d.beat(w, r, body)
	case r.URL.Path == protocol.PathRenew:
		d.renew(w, r, body)
	case len(d.Requests) > 0 && r.URL.Path == protocol.EnrollPollPath(d.Requests[0].EnrollmentID):
		d.poll(w, body)
	default:
		Refuse(w, http.StatusNotFound, protocol.Problem{Code: protocol.CodeEnrollUnknown})
	}
}

func (d *Desk) beat(w http.ResponseWriter, r *http.Request, body []byte) {
	var hb protocol.Heartbeat
	if err := protocol.Decode(body, &hb); err != nil || hb.Check() != nil {
		d.t.Errorf("the desk cannot take %s", body)
	}
	id, err := certs.VerifyDevice(r.TLS.PeerCertificates, []*x509.Certificate{d.Fleet.DeviceCA.Certificate}, TrustDomain, d.now())
	if err != nil || id.DeviceID != hb.DeviceID {
		d.t.Errorf("%s speaks for %s: %v", id.DeviceID, hb.DeviceID, err)
	}
	d.Beats = append(d.Beats, hb)
	if d.OnBeat != nil && d.OnBeat(w, hb) {
		return
	}
	if !d.known(r.TLS.PeerCertificates[0]) {
		Refuse(w, http.StatusUnauthorized, protocol.Problem{Code: protocol.CodeCertificateUnknown})
		return
	}
	answer := protocol.HeartbeatAnswer{
		Counter: hb.Counter, Epoch: hb.Epoch, ServerTime: d.now(), IntervalSeconds: 60, Nonce: "n", Receipt: "r", PolicyVersion: 1, RootVersion: 1,
		ResultsStored: d.store(hb.Results),
	}
	if d.OnAnswer != nil {
		d.OnAnswer(hb, &answer)
	}
	Answer(w, http.StatusOK, answer)
}

// known says whether the certificate is the one on record. One that was issued
// since takes its place when it is first shown.
func (d *Desk) known(shown *x509.Certificate) bool {
	switch {
	case d.current == nil: // another test's own
		return true
	case d.waiting != nil && shown.Equal(d.waiting):
		d.current, d.waiting = d.waiting, nil
	}
	return shown.Equal(d.current)
}

// store keeps results by the key of the certificate on record.
func (d *Desk) store(results []json.RawMessage) (stored []string) {
	for _, data := range results {
		env, err := signing.ParseEnvelope(data)
		if err != nil {
			d.t.Errorf("a result is no envelope: %v", err)
			continue
		}
		r, err := signing.VerifyResult(env, d.current.PublicKey)
		if err != nil {
			d.t.Errorf("a result is not by the key on record: %v", err)
			continue
		}
		if d.Results[r.ActionID] == nil {
			d.Results[r.ActionID] = r
		}
		stored = append(stored, r.ActionID)
	}
	return stored
}

// renew issues at once, and answers the same request the same.
func (d *Desk) renew(w http.ResponseWriter, r *http.Request, body []byte) {
	if !d.known(r.TLS.PeerCertificates[0]) {
		Refuse(w, http.StatusUnauthorized, protocol.Problem{Code: protocol.CodeCertificateUnknown})
		return
	}
	env, err := signing.ParseEnvelope(body)
	if err != nil {
		d.t.Errorf("the renewal is no envelope: %v", err)
		return
	}
	asked, err := signing.ReadRenewal(env)
	if err != nil {
		d.t.Errorf("the renewal: %v", err)
		return
	}
	req, err := certs.ParseRequest(asked.CSR, asked.DeviceID)
	if err != nil {
		d.t.Errorf("the renewal's request: %v", err)
		return
	}
	if err := signing.VerifyRenewal(env, d.current.PublicKey, req.PublicKey); err != nil || asked.Current != certs.Fingerprint(d.current.Raw) {
		d.t.Errorf("the renewal is not by both keys: %v", err)
	}
	d.Renewals = append(d.Renewals, *asked)
	answer, ok := d.renewed[asked.RequestID]
	if !ok {
		chain := d.Fleet.IssueDevice(d.t, asked.DeviceID, req.PublicKey, d.now(), time.Hour)
		d.waiting = parsed(d.t, chain)
		answer = protocol.RenewAnswer{RequestID: asked.RequestID, State: protocol.EnrollIssued, Certificates: chain}
		d.renewed[asked.RequestID] = answer
	}
	Answer(w, http.StatusOK, answer)
}

func parsed(t testing.TB, chain [][]byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(chain[0])
	must(t, err)
	return c
}

// Look reads the desk's fields between requests.
func (d *Desk) Look(look func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	look()
}

func (d *Desk) request(w http.ResponseWriter, body []byte) {
	var req protocol.EnrollRequest
	if err := protocol.Decode(body, &req); err != nil || req.Check() != nil || req.Token != Token {
		d.t.Errorf("the desk cannot take %s", body)
	}
	parsed, err := certs.ParseRequest(req.CSR, req.DeviceID)
	if err != nil {
		d.t.Errorf("the certificate request: %v", err)
		return
	}
	d.Requests = append(d.Requests, req)
	if d.OnRequest != nil && d.OnRequest(w, len(d.Requests)) {
		return
	}
	Answer(w, 202, protocol.EnrollAnswer{
		EnrollmentID: req.EnrollmentID, State: protocol.EnrollPending, KeyCode: parsed.KeyCode, Nonce: d.Nonce, PollAfterSeconds: d.PollAfter,
	})
}

func (d *Desk) poll(w http.ResponseWriter, body []byte) {
	d.Polls++
	req, err := certs.ParseRequest(d.Requests[0].CSR, d.Requests[0].DeviceID)
	if err != nil {
		d.t.Error(err)
		return
	}
	key, err := signing.NewKey(signing.PurposeEnrollPoll, req.PublicKey)
	if err != nil {
		d.t.Error(err)
		return
	}
	env, err := signing.ParseEnvelope(body)
	if err != nil {
		d.t.Errorf("the poll is no envelope: %v", err)
		return
	}
	payload, _, err := env.Verify(signing.PurposeEnrollPoll, []signing.Key{key}, 1)
	var p protocol.EnrollPoll
	if err != nil || protocol.Decode(payload, &p) != nil || p.Check() != nil || p.EnrollmentID != d.Requests[0].EnrollmentID {
		d.t.Errorf("the poll is not in order: %v, %s", err, payload)
	}
	if p.CAFingerprint != certs.Fingerprint(d.Fleet.ServerCA.Certificate.Raw) {
		d.t.Errorf("the device sees the CA %s", p.CAFingerprint)
	}
	if d.OnPoll != nil && d.OnPoll(w, d.Polls) {
		return
	}
	if p.Nonce != d.Nonce {
		Refuse(w, 409, protocol.Problem{Code: protocol.CodeNonceStale, Nonce: d.Nonce})
		return
	}
	d.Nonce = fmt.Sprintf("nonce-%d", d.Polls) // each is good once
	if d.Polls <= d.Pending {
		Answer(w, 200, protocol.EnrollResult{EnrollmentID: p.EnrollmentID, State: protocol.EnrollPending, Nonce: d.Nonce, PollAfterSeconds: d.PollAfter})
		return
	}
	result := d.issued(req)
	if d.Issue != nil {
		d.Issue(result)
	}
	Answer(w, 200, result)
}

func (d *Desk) issued(req *certs.Request) *protocol.EnrollResult {
	root, digest := d.Fleet.Root(d.t)
	id := d.Requests[0]
	chain := d.Fleet.IssueDevice(d.t, id.DeviceID, req.PublicKey, d.now(), time.Hour)
	d.current = parsed(d.t, chain)
	return &protocol.EnrollResult{
		EnrollmentID: id.EnrollmentID, State: protocol.EnrollIssued,
		Certificates: chain,
		FleetRoots:   []json.RawMessage{root},
		PolicyBundle: d.Fleet.Bundle(d.t, digest, 1, d.Fleet.Now, time.Hour),
		Epoch:        Epoch, IntervalSeconds: 60, ServerTime: d.now(),
	}
}

// Key is the public key that the device sent.
func (d *Desk) Key(t testing.TB) crypto.PublicKey {
	t.Helper()
	req, err := certs.ParseRequest(d.Requests[0].CSR, d.Requests[0].DeviceID)
	if err != nil {
		t.Fatal(err)
	}
	return req.PublicKey
}
