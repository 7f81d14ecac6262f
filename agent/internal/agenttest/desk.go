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

	Requests []protocol.EnrollRequest
	Beats    []protocol.Heartbeat
	Polls    int
	Nonce    string // the one that is good now

	t   testing.TB
	now func() time.Time
	mu  sync.Mutex
}

// NewDesk opens a desk until the test ends. Its clock is now.
func NewDesk(t testing.TB, now func() time.Time) *Desk {
	t.Helper()
	d := &Desk{t: t, now: now, Fleet: NewFleet(t, now()), Nonce: "nonce-0", PollAfter: 5}
	d.Address = Serve(t, d.Fleet.ServerCertificate(t, "127.0.0.1"), d)
	return d
}

// ServeHTTP is one request at a time.
func (d *Desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	body, _ := io.ReadAll(io.LimitReader(r.Body, protocol.MaxEnrollBody))
	switch {
	case r.URL.Path == protocol.PathEnroll:
		d.request(w, body)
	case r.URL.Path == protocol.PathHeartbeat:
		d.beat(w, r, body)
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
	Answer(w, http.StatusOK, protocol.HeartbeatAnswer{
		Counter: hb.Counter, Epoch: hb.Epoch, ServerTime: d.now(), IntervalSeconds: 60, Nonce: "n", Receipt: "r", PolicyVersion: 1, RootVersion: 1,
	})
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
	return &protocol.EnrollResult{
		EnrollmentID: id.EnrollmentID, State: protocol.EnrollIssued,
		Certificates: d.Fleet.IssueDevice(d.t, id.DeviceID, req.PublicKey, d.now(), time.Hour),
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
