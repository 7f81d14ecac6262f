package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/record"
)

// device is the device's side of the protocol, that writes down what it is
// answered. Beats may overlap when their caller numbers them.
type device struct {
	s          *site
	id         string
	enrollment string
	boot       string
	pollNonce  string
	renewing

	counter atomic.Int64
	epoch   string
	nonce   string
	receipt string
}

// newID is a random UUID (RFC 9562 section 5.4).
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (s *site) newDevice(id string) (*device, error) {
	used, err := s.newIdentity("")
	if err != nil {
		return nil, err
	}
	return &device{s: s, id: id, enrollment: newID(), boot: newID(), renewing: renewing{used: used}}, nil
}

// identity is a key with its certificate, and the connections that show it.
type identity struct {
	request    string // that it came of, "" for the enrollment
	key        *ecdsa.PrivateKey
	chain      [][]byte          // nil until it is there
	given      time.Duration     // no earlier than that
	transports []*http.Transport // a node each
}

func (s *site) newIdentity(request string) (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	i := &identity{request: request, key: key}
	for range s.nodes {
		i.transports = append(i.transports, &http.Transport{
			MaxIdleConnsPerHost: 2, IdleConnTimeout: 10 * time.Second, TLSHandshakeTimeout: patience,
			TLSClientConfig: certs.ClientTLS(s.authorities, "localhost", func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if i.chain == nil {
					return &tls.Certificate{}, nil
				}
				return &tls.Certificate{Certificate: i.chain, PrivateKey: i.key}, nil
			}),
		})
	}
	return i, nil
}

// close ends its connections.
func (i *identity) close() {
	for _, t := range i.transports {
		t.CloseIdleConnections()
	}
}

// patience is how long a caller waits for an answer.
const patience = 5 * time.Second

// post sends a body to a node, as one of the device's identities. The result is record.OK, the code of a refusal, or
// record.Unknown with what is known of it.
func (d *device) post(as *identity, node int, path string, in, out any) (result, text string, p *protocol.Problem) {
	body, raw := in.([]byte)
	if !raw {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return record.Unknown, err.Error(), nil
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.s.nodes[node].machineURL()+path, bytes.NewReader(body))
	if err != nil {
		return record.Unknown, err.Error(), nil
	}
	req.Header.Set("Content-Type", "application/json")
	return answer(as.transports[node], req, out)
}

// answer makes a request. What a server says is its own trouble, or of something
// in between, says nothing of what was done.
func answer(transport http.RoundTripper, req *http.Request, out any) (result, text string, p *protocol.Problem) {
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return record.Unknown, err.Error(), nil
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return record.Unknown, err.Error(), nil
	}
	if resp.StatusCode < 300 {
		if out != nil && len(data) > 0 {
			if err := json.Unmarshal(data, out); err != nil {
				return record.Unknown, err.Error(), nil
			}
		}
		return record.OK, "", nil
	}
	p = &protocol.Problem{}
	if err := json.Unmarshal(data, p); err != nil || p.Code == "" {
		return record.Unknown, fmt.Sprintf("%s, and not a problem: %.100s", resp.Status, data), nil
	}
	if resp.StatusCode >= 500 || p.Code == protocol.CodeNotReady {
		return record.Unknown, string(p.Code) + ": " + p.Detail, p
	}
	return string(p.Code), "", p
}

// ask asks to join by a token, known by its note.
func (d *device) ask(node int, note, secret string) string {
	csr, err := certs.NewRequest(d.id, d.used.key)
	if err != nil {
		return err.Error()
	}
	op := record.Op{Kind: record.Enroll, Device: d.id, Enrollment: d.enrollment, Token: note, Node: node, Begin: d.s.since()}
	var a protocol.EnrollAnswer
	op.Result, op.Text, _ = d.post(d.used, node, protocol.PathEnroll, &protocol.EnrollRequest{
		Protocol: protocol.Version, EnrollmentID: d.enrollment, DeviceID: d.id, Token: secret, CSR: csr, Facts: protocol.Facts{"os": "linux"},
	}, &a)
	if op.Result == record.OK {
		d.pollNonce = a.Nonce
	}
	d.s.note(op)
	return op.Result
}

// fetch asks for the certificate of an enrollment.
func (d *device) fetch(node int) string {
	op := record.Op{Kind: record.Fetch, Device: d.id, Enrollment: d.enrollment, Node: node, Begin: d.s.since()}
	defer func() { d.s.note(op) }()
	payload, err := json.Marshal(protocol.EnrollPoll{EnrollmentID: d.enrollment, Nonce: d.pollNonce, CAFingerprint: d.s.fingerprint})
	if err != nil {
		return err.Error()
	}
	signer, err := signing.NewSigner(signing.PurposeEnrollPoll, d.used.key)
	if err != nil {
		return err.Error()
	}
	envelope, err := signing.Seal(context.Background(), signing.PurposeEnrollPoll, payload, signer)
	if err != nil {
		return err.Error()
	}
	body, err := envelope.Marshal()
	if err != nil {
		return err.Error()
	}
	var r protocol.EnrollResult
	op.Result, op.Text, _ = d.post(d.used, node, protocol.EnrollPollPath(d.enrollment), body, &r)
	if op.Result == record.OK && r.State != protocol.EnrollIssued {
		op.Result, d.pollNonce = string(r.State), r.Nonce
	}
	if op.Result == record.OK {
		// Asked for again, it may be an older one; devices that renew ask once.
		d.used.chain, d.used.given, d.epoch = r.Certificates, op.Begin, r.Epoch
		d.used.close() // the connections of before presented nothing
	}
	return op.Result
}

// beat sends a heartbeat with a counter, under one of the device's certificates.
// keep stores what the answer gives, which only one beat at a time may.
func (d *device) beat(as *identity, node int, counter int64, keep bool) string {
	op := record.Op{Kind: record.Heartbeat, Device: d.id, Shown: as.request, Epoch: d.epoch, Counter: counter, Node: node, Begin: d.s.since()}
	var a protocol.HeartbeatAnswer
	var p *protocol.Problem
	op.Result, op.Text, p = d.post(as, node, protocol.PathHeartbeat, &protocol.Heartbeat{
		Protocol: protocol.Version, DeviceID: d.id, EnrollmentID: d.enrollment, Counter: counter, Epoch: d.epoch, BootID: d.boot,
		AgentVersion: "1.0.0", Nonce: d.nonce, Receipt: d.receipt,
	}, &a)
	d.s.note(op)
	switch {
	case op.Result == record.OK && keep:
		d.nonce, d.receipt = a.Nonce, a.Receipt
	case op.Result == string(protocol.CodeEpochChanged) && keep:
		d.epoch, d.nonce, d.receipt = p.Epoch, p.Nonce, ""
	}
	return op.Result
}
