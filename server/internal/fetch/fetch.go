// Package fetch gets what other authorities publish, over HTTP, without letting them
// say where this server connects to.
//
// What an operator named may be anywhere. What a certificate names, and where an answer
// redirects to, must be at a public address, unless the settings say otherwise: the
// address is judged when it is connected to, after the name was resolved. Answers have
// a longest length, requests a longest time, and no proxy of the environment is used.
package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/revocation"
)

const (
	wholeTime    = 20 * time.Second
	dialTime     = 5 * time.Second
	maxRedirects = 3
	maxHeader    = 16 << 10
)

var (
	// ErrPrivate says that an address is not public.
	ErrPrivate = errors.New("the address is not a public one")
	// ErrFetch says that there was no answer of use.
	ErrFetch = errors.New("it could not be fetched")
)

// Client fetches. It is safe for concurrent use.
type Client struct {
	private bool
	http    *http.Client
}

// New makes a client; with private, every address may be connected to.
func New(private bool) *Client {
	c := &Client{private: private}
	transport := &http.Transport{
		DialContext: c.dial, TLSHandshakeTimeout: dialTime, ResponseHeaderTimeout: wholeTime, MaxResponseHeaderBytes: maxHeader,
		DisableCompression: true, // what is read is what was counted
		DisableKeepAlives:  true, // connections are judged one by one, and rare
	}
	c.http = &http.Client{Transport: transport, Timeout: wholeTime, CheckRedirect: redirect}
	return c
}

type chosenKey struct{}

// Fetch gets what r asks for. Its errors name no address.
func (c *Client) Fetch(ctx context.Context, r revocation.Request) ([]byte, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return nil, fmt.Errorf("%w: it is not an http URL", ErrFetch)
	}
	if r.Chosen {
		ctx = context.WithValue(ctx, chosenKey{}, address(u))
	}
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if r.Body != nil {
		method, body = http.MethodPost, bytes.NewReader(r.Body)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFetch, err)
	}
	req.Header.Set("User-Agent", "sentinel-server")
	if r.Body != nil { // RFC 6960 appendix A.1
		req.Header.Set("Content-Type", "application/ocsp-request")
		req.Header.Set("Accept", "application/ocsp-response")
	}
	res, err := c.http.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok { // its text repeats the address
			err = wrapped.Err
		}
		return nil, fmt.Errorf("%w: %w", ErrFetch, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: status %d", ErrFetch, res.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, r.Limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: it ended early", ErrFetch)
	case int64(len(data)) > r.Limit:
		return nil, fmt.Errorf("%w: it is longer than %d octets", ErrFetch, r.Limit)
	}
	return data, nil
}

// address is the host and port that a URL connects to.
func address(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func redirect(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return errors.New("too many redirects")
	case via[0].Method != http.MethodGet:
		return errors.New("a question is not redirected")
	case req.URL.Scheme != "http" && req.URL.Scheme != "https", req.URL.User != nil:
		return errors.New("a redirect to something that is not an http URL")
	case via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme == "http":
		return errors.New("a redirect away from TLS")
	}
	return nil
}

// dial connects, to a public address unless the operator named this very one.
func (c *Client) dial(ctx context.Context, network, to string) (net.Conn, error) {
	d := &net.Dialer{Timeout: dialTime}
	chosen, _ := ctx.Value(chosenKey{}).(string)
	if !c.private && chosen != to {
		d.Control = func(_, resolved string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(resolved)
			if err != nil || !public(a.Addr()) {
				return ErrPrivate
			}
			return nil
		}
	}
	return d.DialContext(ctx, network, to)
}

// notPublic are ranges that netip has no word for (RFC 6890 and its registries): this
// network, shared, protocol assignments, documentation, benchmarks, reserved, NAT64
// and 6to4, which hold other addresses; and one that clouds answer at themselves, with
// what is the machine's alone, though it looks public (168.63.129.16).
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("168.63.129.16/32"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("3fff::/20"),
}

// globalV6 is all that is given out for the whole network of IPv6 (RFC 4291 section
// 2.4 and its registry). Outside it are addresses that hold one of IPv4 (::7f00:1,
// ::ffff:0:7f00:1), and those of sites (fec0::/10).
var globalV6 = netip.MustParsePrefix("2000::/3")

// public reports whether an address is one of the whole network's.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Is6() && !globalV6.Contains(a) {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
