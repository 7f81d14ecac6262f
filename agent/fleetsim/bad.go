package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/version"
)

// kinds are what bad devices do. Each gets what it sent refused, as the error of
// a link.Client says it; nil means that the server took it.
var kinds = map[string]func(*device, context.Context) error{
	"replay":      (*device).replay,
	"counter":     (*device).staleCounter,
	"certificate": (*device).forge,
	"identity":    (*device).impersonate,
	"slow":        (*device).dawdle,
}

func kindNames() []string { return []string{"replay", "counter", "certificate", "identity", "slow"} }

// badLeast is between two acts of a bad device, so that a handful of them is a
// nuisance and not a flood.
const badLeast = 200 * time.Millisecond

var errNothingSent = errors.New("nothing was sent")

func (d *device) misbehave(ctx context.Context) time.Duration {
	err := kinds[d.bad](d, ctx)
	d.rounds++
	if ctx.Err() == nil && !errors.Is(err, errNothingSent) {
		d.fleet.tally.badAct(d.bad, err)
	}
	return max(d.next(), badLeast)
}

// replay sends a heartbeat, and then its bytes once more.
func (d *device) replay(ctx context.Context) error {
	if err := d.link.Once(ctx); err != nil {
		return d.refusedAlready(err)
	}
	return d.client.Post(ctx, protocol.PathHeartbeat, slices.Clone(d.sent), &protocol.HeartbeatAnswer{})
}

// refusedAlready counts the refusal of a device that is held for what it did; what
// got no answer proves nothing.
func (*device) refusedAlready(err error) error {
	if _, ok := errors.AsType[*link.RefusalError](err); ok {
		return err
	}
	return errNothingSent
}

// staleCounter sends new messages with counters that were used, as a device does
// that was put back to an earlier state. Twice in a row the server holds it.
func (d *device) staleCounter(ctx context.Context) error {
	if d.rounds == 0 {
		if err := d.link.Once(ctx); err != nil {
			return d.refusedAlready(err)
		}
	}
	return d.post(ctx, d.client, func(h *protocol.Heartbeat) { h.Counter = max(1, h.Counter-int64(d.rounds%3)) })
}

// forge presents a certificate for its own name from an authority of its own.
func (d *device) forge(ctx context.Context) error {
	cert, err := d.fleet.forger.issue(d.id, time.Now())
	if err != nil {
		return errNothingSent
	}
	transport := d.transport.Clone()
	defer transport.CloseIdleConnections()
	transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	return d.post(ctx, link.NewClient(d.fleet.server, transport), func(h *protocol.Heartbeat) { h.Counter++ })
}

// impersonate says that it is the first device of the fleet, under its own
// certificate.
func (d *device) impersonate(ctx context.Context) error {
	return d.post(ctx, d.client, func(h *protocol.Heartbeat) { h.DeviceID, h.Counter = deviceID(d.fleet.prefix, 1), h.Counter+1000 })
}

// post sends a heartbeat like the device's own, changed.
func (d *device) post(ctx context.Context, c *link.Client, change func(*protocol.Heartbeat)) error {
	s, err := d.journal.State()
	if err != nil {
		return errNothingSent
	}
	h := &protocol.Heartbeat{
		Protocol: protocol.Version, DeviceID: s.DeviceID, EnrollmentID: s.EnrollmentID, Counter: s.Enrolled.Counter,
		Epoch: s.Enrolled.Epoch, BootID: d.link.BootID, AgentVersion: version.String(), Nonce: s.Enrolled.Nonce,
	}
	change(h)
	body, err := json.Marshal(h)
	if err != nil {
		return errNothingSent
	}
	return c.Post(ctx, protocol.PathHeartbeat, body, &protocol.HeartbeatAnswer{})
}

// errHungUp is the refusal of who is too slow.
var errHungUp = errors.New("hung up")

// dawdle sends its request a byte at a time and reads nothing, to keep the server
// waiting. nil if the server waited for longer than anyone should.
func (d *device) dawdle(ctx context.Context) error {
	u, err := url.Parse(d.fleet.server)
	if err != nil {
		return errNothingSent
	}
	raw, err := d.fleet.line.dial(ctx, "tcp", u.Host)
	if err != nil {
		return errNothingSent
	}
	defer func() { _ = raw.Close() }()
	ctx, stop := context.WithTimeoutCause(ctx, dawdleLimit, errDawdled)
	defer stop()
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	conn := tls.Client(raw, d.transport.TLSClientConfig.Clone())
	if conn.HandshakeContext(ctx) != nil {
		return errNothingSent
	}
	request := []byte("POST " + protocol.PathHeartbeat + " HTTP/1.1\r\nHost: " + u.Host + "\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n")
	for i := 0; ; i++ {
		if _, err := conn.Write([]byte{request[min(i, len(request)-1)]}); err != nil {
			break
		}
		if pause(ctx, dawdlePause, nil) == ended {
			break
		}
	}
	if errors.Is(context.Cause(ctx), errDawdled) {
		return nil
	}
	return errHungUp
}

// The server's limits are 5 s for a request's head and 15 s for all of it.
const (
	dawdlePause = 100 * time.Millisecond
	dawdleLimit = 30 * time.Second
)

var errDawdled = errors.New("the server waited all the time")

// forger is an authority that nobody believes.
type forger struct{ ca certs.CA }

func newForger(now time.Time) (*forger, error) {
	root, err := newCA(func(key *ecdsa.PrivateKey) ([]byte, error) {
		return certs.NewRootCA("Forged root", key, now, 48*time.Hour)
	})
	if err != nil {
		return nil, err
	}
	ca, err := newCA(func(key *ecdsa.PrivateKey) ([]byte, error) {
		return certs.NewIssuingCA(certs.KindDevice, "Forged", "sentinel.internal", *root, key.Public(), now, 24*time.Hour)
	})
	if err != nil {
		return nil, err
	}
	return &forger{*ca}, nil
}

func newCA(sign func(*ecdsa.PrivateKey) ([]byte, error)) (*certs.CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := sign(key)
	if err != nil {
		return nil, err
	}
	c, err := certs.ParseCA(der)
	if err != nil {
		return nil, err
	}
	return &certs.CA{Certificate: c, Signer: key}, nil
}

func (f *forger) issue(deviceID string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	from, until := certs.Validity(now.Add(-time.Minute), time.Hour)
	der, err := certs.IssueDevice(f.ca, certs.DeviceTemplate{
		DeviceID: deviceID, TrustDomain: "sentinel.internal", PublicKey: key.Public(), NotBefore: from, NotAfter: until,
	})
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, f.ca.Certificate.Raw}, PrivateKey: key}, nil
}
