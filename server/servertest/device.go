package servertest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Device is a device's side of the protocol, with its own key and connection.
// It is not safe for concurrent use.
type Device struct {
	ID           string
	EnrollmentID string
	Key          *ecdsa.PrivateKey
	Chain        [][]byte // DER; nil presents no certificate
	Counter      int64
	Epoch        string
	BootID       string
	Nonce        string
	Receipt      string
	Obedience
	Roots []json.RawMessage // the whole chain, as Trust got it

	s         *Server
	servers   []*x509.Certificate // as Trust found them
	pollNonce string
	transport *http.Transport
}

// NewDevice makes a device that nobody knows yet.
func (s *Server) NewDevice(id string) *Device {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	d := &Device{ID: id, Key: key, EnrollmentID: db.NewID(time.Now()), BootID: db.NewID(time.Now())}
	return d.At(s)
}

// At is the same device with a new connection to a node.
func (d *Device) At(s *Server) *Device {
	s.t.Helper()
	c := *d
	c.s, c.servers = s, nil
	ca, err := s.app.PKI.Active(certs.KindServer)
	if err != nil {
		s.t.Fatal(err)
	}
	c.connect([]*x509.Certificate{ca})
	return &c
}

// connect makes the device's connection anew, believing these authorities.
func (d *Device) connect(servers []*x509.Certificate) {
	config := certs.ClientTLS(servers, "localhost", func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if d.Chain == nil {
			return &tls.Certificate{}, nil
		}
		return &tls.Certificate{Certificate: d.Chain, PrivateKey: d.Key}, nil
	})
	config.Time = d.s.options.Now // nil is the machine's clock
	d.transport = &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: 1}
	d.s.t.Cleanup(d.transport.CloseIdleConnections)
}

// Hangup closes the device's connection: the next request opens a new one.
func (d *Device) Hangup() { d.transport.CloseIdleConnections() }

// Transport is the device's connection, for requests that are not honest.
func (d *Device) Transport() *http.Transport { return d.transport }

// Post sends a body to a device route.
func (d *Device) Post(path string, in, out any) (*protocol.Problem, error) {
	data, ok := in.([]byte)
	if !ok {
		var err error
		if data, err = json.Marshal(in); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.s.MachineURL+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	_, problem, err := read(d.transport, req, out)
	return problem, err
}

// Request is the device's request to join.
func (d *Device) Request(token string) *protocol.EnrollRequest {
	d.s.t.Helper()
	csr, err := certs.NewRequest(d.ID, d.Key)
	if err != nil {
		d.s.t.Fatal(err)
	}
	return &protocol.EnrollRequest{Protocol: protocol.Version, EnrollmentID: d.EnrollmentID, DeviceID: d.ID, Token: token, CSR: csr,
		Facts: protocol.Facts{"os": "linux"}}
}

// Ask asks to join.
func (d *Device) Ask(token string) (*protocol.Problem, error) {
	var answer protocol.EnrollAnswer
	problem, err := d.Post(protocol.PathEnroll, d.Request(token), &answer)
	if problem == nil && err == nil {
		d.pollNonce = answer.Nonce
	}
	return problem, err
}

// Poll asks after the enrollment, and takes the certificate when there is one.
func (d *Device) Poll() (*protocol.EnrollResult, *protocol.Problem, error) {
	payload, err := json.Marshal(protocol.EnrollPoll{EnrollmentID: d.EnrollmentID, Nonce: d.pollNonce, CAFingerprint: d.s.CAFingerprint})
	if err != nil {
		return nil, nil, err
	}
	signer, err := signing.NewSigner(signing.PurposeEnrollPoll, d.Key)
	if err != nil {
		return nil, nil, err
	}
	env, err := signing.Seal(context.Background(), signing.PurposeEnrollPoll, payload, signer)
	if err != nil {
		return nil, nil, err
	}
	body, err := env.Marshal()
	if err != nil {
		return nil, nil, err
	}
	var result protocol.EnrollResult
	problem, err := d.Post(protocol.EnrollPollPath(d.EnrollmentID), body, &result)
	if err == nil && problem == nil && result.State == protocol.EnrollIssued {
		d.Chain, d.Epoch = result.Certificates, result.Epoch
		if err := d.pin(&result); err != nil {
			return &result, nil, err
		}
		d.Hangup() // the connection of before presented nothing
	}
	return &result, problem, err
}

// Enroll lets a new device in, the whole way.
func (s *Server) Enroll(id, token string, reviewer *Person) *Device {
	s.t.Helper()
	d := s.NewDevice(id)
	if problem, err := d.Ask(token); problem != nil || err != nil {
		s.t.Fatalf("%s asks: %v %v", id, problem, err)
	}
	reviewer.Approve(d.EnrollmentID)
	if r, problem, err := d.Poll(); problem != nil || err != nil || r.State != protocol.EnrollIssued {
		s.t.Fatalf("%s polls: %+v %v %v", id, r, problem, err)
	}
	return d
}

// Heartbeat is the device's next heartbeat; its counter is used from now on.
func (d *Device) Heartbeat() *protocol.Heartbeat {
	d.Counter++
	h := &protocol.Heartbeat{Protocol: protocol.Version, DeviceID: d.ID, EnrollmentID: d.EnrollmentID, Counter: d.Counter, Epoch: d.Epoch,
		BootID: d.BootID, AgentVersion: "1.0.0", Nonce: d.Nonce, Receipt: d.Receipt, Acks: d.Acks, Results: d.Results[:min(len(d.Results), protocol.MaxResults)]}
	if d.Bundle != nil {
		h.RootVersion, h.PolicyVersion = d.Root.Root.Version, d.Bundle.Version
	}
	return h
}

// Send sends a heartbeat, and remembers what an answer gives. A new epoch is
// taken over, as the agent does; the next heartbeat is in it.
func (d *Device) Send(h *protocol.Heartbeat) (*protocol.Problem, error) {
	var answer protocol.HeartbeatAnswer
	problem, err := d.Post(protocol.PathHeartbeat, h, &answer)
	switch {
	case err != nil:
	case problem == nil:
		d.Nonce, d.Receipt, d.Answer = answer.Nonce, answer.Receipt, answer
	case problem.Code == protocol.CodeEpochChanged:
		d.Epoch, d.Nonce, d.Receipt, d.Counter = problem.Epoch, problem.Nonce, "", max(d.Counter, problem.Counter)
	}
	return problem, err
}

// Beat sends the next heartbeat.
func (d *Device) Beat() (*protocol.Problem, error) { return d.Send(d.Heartbeat()) }

// MustBeat sends the next heartbeat, which must be accepted.
func (d *Device) MustBeat() {
	d.s.t.Helper()
	if problem, err := d.Beat(); problem != nil || err != nil {
		d.s.t.Fatalf("%s: a heartbeat was refused: %v %v", d.ID, problem, err)
	}
}

// Direct is the host:port of the machine listener itself, also where MachineURL is that
// of a proxy before it.
func (s *Server) Direct() string { return s.app.Machine.Addr().String() }

// Host is the machine listener's host:port.
func (s *Server) Host() string {
	u, err := url.Parse(s.MachineURL)
	if err != nil {
		s.t.Fatal(err)
	}
	return u.Host
}
