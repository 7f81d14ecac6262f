package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/version"
)

const (
	dialTimeout    = 15 * time.Second
	requestTimeout = 45 * time.Second // of one request, connecting included
	// idleTimeout outlasts the longest interval: a new connection costs both
	// sides more than everything else in a heartbeat.
	idleTimeout     = MaxInterval + 5*time.Minute
	maxHeaderBytes  = 16 << 10
	jsonType        = "application/json"
	problemJSONType = "application/problem+json"
)

var (
	// ErrNoAnswer means that no answer came. Whether the server got the request is unknown.
	ErrNoAnswer = errors.New("the server does not answer")
	// ErrNotServer means that who answers cannot prove to be the server: another CA, another
	// name, or a certificate out of date. Nothing was sent.
	ErrNotServer = errors.New("what answers at this address is not the server")
	// ErrBadAnswer means that the server answered something that the protocol has not.
	ErrBadAnswer = errors.New("the server's answer cannot be understood")
)

// Target is which server to speak to, and as whom.
type Target struct {
	Server  string // https://host:port
	CAs     []*x509.Certificate
	Present func(*tls.CertificateRequestInfo) (*tls.Certificate, error) // nil before enrollment
	Proxy   *url.URL                                                    // nil for none
	Now     func() time.Time                                            // judges the dates of the server's certificate
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// Host is the exact name that the server's certificate must have.
func (t Target) Host() (string, error) {
	u, err := url.Parse(t.Server)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return "", errors.New("the server's address is not an https URL")
	}
	return u.Hostname(), nil
}

// NewTransport makes connections to the target: verified, bounded, kept open.
func NewTransport(t Target) (*http.Transport, error) {
	host, err := t.Host()
	if err != nil {
		return nil, err
	}
	conf := certs.ClientTLS(t.CAs, host, t.Present)
	conf.Time = t.Now
	transport := &http.Transport{
		TLSClientConfig:        conf,
		DialContext:            t.Dial,
		TLSHandshakeTimeout:    dialTimeout,
		ResponseHeaderTimeout:  requestTimeout,
		IdleConnTimeout:        idleTimeout,
		MaxIdleConns:           1,
		MaxConnsPerHost:        2, // a renewal that waits for its answer holds up no heartbeat
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true, // what is read is what was counted
	}
	if t.Dial == nil {
		dialer := &net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: time.Minute, Interval: 20 * time.Second, Count: 3,
		}}
		transport.DialContext = dialer.DialContext
	}
	if t.Proxy != nil { // never http.ProxyFromEnvironment
		transport.Proxy = http.ProxyURL(t.Proxy)
	}
	return transport, nil
}

// Client posts messages to one server. Its methods may be called from several
// goroutines.
type Client struct {
	server string
	over   atomic.Pointer[http.RoundTripper]
	issuer atomic.Pointer[string]
}

// NewClient posts to server (https://host:port) over rt.
func NewClient(server string, rt http.RoundTripper) *Client {
	c := &Client{server: server}
	c.over.Store(&rt)
	return c
}

// Swap posts over rt from now on: other CAs are believed, or another certificate
// is shown. Requests on their way end as they began.
func (c *Client) Swap(rt http.RoundTripper) {
	if before, ok := (*c.over.Swap(&rt)).(interface{ CloseIdleConnections() }); ok {
		before.CloseIdleConnections()
	}
}

// Issuer is the fingerprint of the CA that issued to the server whose answer came
// last, "" before any.
func (c *Client) Issuer() string {
	if f := c.issuer.Load(); f != nil {
		return *f
	}
	return ""
}

// see remembers who answered.
func (c *Client) see(state *tls.ConnectionState) {
	if state == nil || len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) < 2 {
		return
	}
	fingerprint := certs.Fingerprint(state.VerifiedChains[0][1].Raw)
	c.issuer.Store(&fingerprint)
}

// Post sends body and decodes the answer into answer. Errors: *RefusalError,
// ErrNoAnswer, ErrNotServer, ErrBadAnswer, or the context's.
func (c *Client) Post(ctx context.Context, path string, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.server+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	req.Header.Set("Content-Type", jsonType)
	req.Header.Set("Accept", jsonType+", "+problemJSONType)
	req.Header.Set("User-Agent", "sentinel-agent/"+version.String())
	res, err := (&http.Client{
		Transport: *c.over.Load(),
		// An answer that sends the device elsewhere is not an answer.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}).Do(req)
	if err != nil {
		return explain(ctx, err)
	}
	defer func() { _ = res.Body.Close() }()
	c.see(res.TLS)
	data, err := io.ReadAll(io.LimitReader(res.Body, protocol.MaxAnswerBody+1))
	switch {
	case err != nil:
		return explain(ctx, err)
	case len(data) > protocol.MaxAnswerBody:
		return fmt.Errorf("%w: longer than %d bytes", ErrBadAnswer, protocol.MaxAnswerBody)
	case res.StatusCode < 200 || res.StatusCode > 299:
		return readRefusal(res.StatusCode, res.Header, data)
	case mediaType(res.Header) != jsonType:
		return fmt.Errorf("%w: not JSON", ErrBadAnswer)
	}
	if err := protocol.DecodeTolerant(data, answer); err != nil {
		return fmt.Errorf("%w: %w", ErrBadAnswer, err)
	}
	return nil
}

func mediaType(h http.Header) string {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// explain tells an impostor, or a wrong clock, from a server that is away.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if unverified, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("%w: %w", ErrNotServer, unverified.Err)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok { // its text repeats the address
		err = wrapped.Err
	}
	return fmt.Errorf("%w: %w", ErrNoAnswer, err)
}

// IsClock says whether a certificate was refused for its dates: either side's
// clock is wrong, or the certificate was not renewed.
func IsClock(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
}
