package servertest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Wish is a device's request for a certificate of another key, which it may send
// more than once.
type Wish struct {
	ID   string
	Key  *ecdsa.PrivateKey
	Body []byte // envelope of a signing.Renewal
}

// Wish makes a request, signed by the device's key and a new one.
func (d *Device) Wish(recovery bool) *Wish {
	d.s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		d.s.t.Fatal(err)
	}
	return d.WishWith(key, recovery)
}

// WishWith is Wish for a key that is given.
func (d *Device) WishWith(key *ecdsa.PrivateKey, recovery bool) *Wish {
	d.s.t.Helper()
	w := &Wish{ID: db.NewID(time.Now()), Key: key}
	csr, err := certs.NewRequest(d.ID, key)
	if err != nil {
		d.s.t.Fatal(err)
	}
	env, err := signing.SignRenewal(context.Background(), signing.Renewal{RequestID: w.ID, DeviceID: d.ID, EnrollmentID: d.EnrollmentID,
		Current: certs.Fingerprint(d.Chain[0]), CSR: csr, Recovery: recovery}, crypto.Signer(d.Key), key)
	if err != nil {
		d.s.t.Fatal(err)
	}
	if w.Body, err = env.Marshal(); err != nil {
		d.s.t.Fatal(err)
	}
	return w
}

// SendWish asks for the certificate, and takes nothing over.
func (d *Device) SendWish(w *Wish) (*protocol.RenewAnswer, *protocol.Problem, error) {
	var answer protocol.RenewAnswer
	problem, err := d.Post(protocol.PathRenew, w.Body, &answer)
	return &answer, problem, err
}

// Renew asks for a certificate of another key, and goes on with it when it is
// given: the next heartbeat is its first use.
func (d *Device) Renew() (*protocol.RenewAnswer, *protocol.Problem, error) {
	w := d.Wish(false)
	answer, problem, err := d.SendWish(w)
	if err == nil && problem == nil && answer.State == protocol.EnrollIssued {
		d.Use(w, answer.Certificates)
		d.Trust(answer.FleetRoots)
	}
	return answer, problem, err
}

// Use goes on with a certificate that was given, over a new connection.
func (d *Device) Use(w *Wish, chain [][]byte) {
	d.Key, d.Chain = w.Key, chain
	d.Hangup()
}

// Trust believes the server authorities of the newest of the fleet roots, which
// must lead there from the fleet's first.
func (d *Device) Trust(envelopes []json.RawMessage) {
	d.s.t.Helper()
	chain := make([][]byte, len(envelopes))
	for i, e := range envelopes {
		chain[i] = e
	}
	d.Hangup()
	if d.servers != nil && slices.EqualFunc(envelopes, d.Roots, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
		return
	}
	root, err := signing.VerifyRootChain(chain, d.s.RootDigest)
	if err != nil {
		d.s.t.Fatalf("%s: the fleet roots: %v", d.ID, err)
	}
	d.Root, d.Roots = root, envelopes
	cas, err := certs.ParseCAs(root.Root.ServerCAs)
	if err != nil {
		d.s.t.Fatal(err)
	}
	if !slices.EqualFunc(cas, d.servers, (*x509.Certificate).Equal) {
		d.servers = cas
		d.connect(cas)
	}
}

// Lost is a recovery on its way.
type Lost struct {
	Wish  *Wish
	nonce string
}

// Recover asks for the way back after the certificate expired.
func (d *Device) Recover() (*Lost, *protocol.Problem, error) {
	w := d.Wish(true)
	answer, problem, err := d.SendRecovery(w)
	return &Lost{w, answer.Nonce}, problem, err
}

// SendRecovery sends a request for the way back.
func (d *Device) SendRecovery(w *Wish) (*protocol.EnrollAnswer, *protocol.Problem, error) {
	var answer protocol.EnrollAnswer
	problem, err := d.Post(protocol.PathEnroll, &protocol.EnrollRequest{Protocol: protocol.Version, EnrollmentID: w.ID, DeviceID: d.ID, Recovery: w.Body}, &answer)
	return &answer, problem, err
}

// PollLost asks after a recovery, and goes on with the certificate when it is
// given.
func (d *Device) PollLost(l *Lost) (*protocol.EnrollResult, *protocol.Problem, error) {
	asks := *d
	asks.EnrollmentID, asks.Key, asks.pollNonce, asks.Chain = l.Wish.ID, l.Wish.Key, l.nonce, nil
	result, problem, err := asks.Poll()
	if err == nil && problem == nil && result.State == protocol.EnrollIssued {
		d.Use(l.Wish, result.Certificates)
		d.Trust(result.FleetRoots)
	}
	return result, problem, err
}

// Agree lets a device go by the key that it asks for, as shown.
func (p *Person) Agree(deviceID string) {
	p.s.t.Helper()
	var shown struct {
		Identity struct {
			Digest string `json:"digest"`
		} `json:"identity_request"`
	}
	p.Must("GET", "/api/devices/"+deviceID, nil, &shown)
	p.Must("POST", "/api/devices/"+deviceID+"/identity-review", map[string]string{"decision": "approve", "digest": shown.Identity.Digest, "reason": "test"}, nil)
}

// Publish has the trial's own keys sign authorities that are to follow, and
// installs the fleet root that names them.
func (s *Server) Publish(drop []string, kinds ...certs.Kind) error {
	s.t.Helper()
	_, err := s.app.PublishTrial(s.t.Context(), authz.Host("test"), drop, false, kinds...)
	return err
}

// Activate lets a published authority issue.
func (s *Server) Activate(kind certs.Kind, force bool) error {
	return s.app.Activate(s.t.Context(), authz.Host("test"), kind, force)
}

// Retired lists the fingerprints of the authorities that issue no more and are
// believed.
func (s *Server) Retired() (fingerprints []string) {
	s.t.Helper()
	list, err := s.app.PKI.Authorities(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, a := range list {
		if a.State == "retired" {
			fingerprints = append(fingerprints, a.Fingerprint)
		}
	}
	return fingerprints
}
