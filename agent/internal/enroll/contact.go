package enroll

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

const (
	retries    = 3 // of one request, within it
	retryFirst = time.Second
	retryCap   = 10 * time.Second
)

func (o *Options) learnCA(ctx context.Context) (*x509.Certificate, error) {
	if o.Network != nil {
		return o.Network.LearnCA(ctx, o.Server, o.CAFingerprint)
	}
	return learnCA(ctx, o.Server, o.CAFingerprint, o.Proxy)
}

// learnCA finds the server's CA by its pin. The connection that it makes carries
// nothing of ours and is not used again. It goes the way that later ones go.
func learnCA(ctx context.Context, server, fingerprint string, proxy *url.URL) (*x509.Certificate, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, fmt.Errorf("%w: the server's address", ErrMissing)
	}
	ca, err := certs.LearnCA(ctx, link.DialVia(proxy), u.Host, u.Hostname(), fingerprint)
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	switch {
	case err == nil:
		return ca, nil
	case errors.Is(err, certs.ErrPinMismatch), errors.Is(err, certs.ErrNotCA), ctx.Err() != nil:
	case errors.As(err, &invalid), errors.As(err, &name), errors.As(err, new(x509.UnknownAuthorityError)):
		err = fmt.Errorf("%w: %w", link.ErrNotServer, err)
	default:
		err = fmt.Errorf("%w: %w", link.ErrNoAnswer, err)
	}
	return nil, fmt.Errorf("look for the pinned CA at %s: %w", u.Host, err)
}

// newClient believes the pinned CA only. Short interruptions are tried over
// inside a request: the requests of an enrollment may be repeated, unlike a
// heartbeat.
func newClient(o Options, s *journal.State, present func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) (*link.Client, error) {
	ca, err := certs.ParseCA(s.ServerCA)
	if err != nil {
		return nil, fmt.Errorf("%w: the pinned CA: %w", journal.ErrDamaged, err)
	}
	target := link.Target{Server: s.Server, CAs: []*x509.Certificate{ca}, Present: present, Proxy: o.Proxy, Now: o.Now, Dial: o.Dial}
	if o.Network != nil { // it loses requests by itself; what is tried over is for the loop above
		transport, err := o.Network.Connect(target)
		return link.NewClient(s.Server, transport), err
	}
	transport, err := link.NewTransport(target)
	if err != nil {
		return nil, err
	}
	retry := retryablehttp.NewClient()
	retry.Logger = nil // it would log addresses and errors at its own liking
	retry.RetryMax = retries
	retry.ErrorHandler = retryablehttp.PassthroughErrorHandler
	retry.CheckRetry = worthRetrying
	retry.Backoff = func(_, _ time.Duration, n int, _ *http.Response) time.Duration {
		return time.Duration(o.Random() * float64(min(retryFirst<<n, retryCap)))
	}
	retry.HTTPClient = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return link.NewClient(s.Server, &retryablehttp.RoundTripper{Client: retry}), nil
}

// worthRetrying leaves every answer of the server's to the loop above, which
// reads Retry-After; it repeats what got no answer, unless it was an impostor.
func worthRetrying(ctx context.Context, res *http.Response, err error) (bool, error) {
	if err == nil && res.StatusCode != http.StatusBadGateway && res.StatusCode != http.StatusGatewayTimeout {
		return false, nil
	}
	return retryablehttp.DefaultRetryPolicy(ctx, res, err)
}
