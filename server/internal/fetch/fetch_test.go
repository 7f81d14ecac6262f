package fetch

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/revocation"
)

// away serves what is not to be reached, and counts who reaches it.
func away(t *testing.T) (url string, reached func() bool) {
	t.Helper()
	hit := make(chan struct{}, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { hit <- struct{}{}; _, _ = w.Write([]byte("secret")) }))
	t.Cleanup(s.Close)
	return s.URL, func() bool { return len(hit) > 0 }
}

func get(c *Client, url string, chosen bool) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return c.Fetch(ctx, revocation.Request{URL: url, Limit: 100, Chosen: chosen})
}

// A9: nobody but the operator says that this server connects to its own network.
func TestOnlyWhatTheOperatorNamedMayBePrivate(t *testing.T) {
	t.Parallel()
	inside, reached := away(t)
	if _, err := get(New(false), inside, false); !errors.Is(err, ErrPrivate) || reached() {
		t.Errorf("what a certificate names: %v", err)
	}
	if _, err := get(New(false), strings.Replace(inside, "127.0.0.1", "localhost", 1), false); !errors.Is(err, ErrPrivate) || reached() {
		t.Errorf("by a name: %v", err)
	}
	hop := httptest.NewServer(http.RedirectHandler(inside, http.StatusFound))
	t.Cleanup(hop.Close)
	if _, err := get(New(false), hop.URL, true); !errors.Is(err, ErrPrivate) || reached() {
		t.Errorf("by a redirect of what the operator named: %v", err)
	}
	if data, err := get(New(false), inside, true); err != nil || string(data) != "secret" {
		t.Errorf("what the operator named: %q %v", data, err)
	}
	if data, err := get(New(true), hop.URL, false); err != nil || string(data) != "secret" {
		t.Errorf("with the operator's leave: %q %v", data, err)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	long := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 101)) }))
	t.Cleanup(long.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(gone.Close)
	var loop *httptest.Server
	loop = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, loop.URL, http.StatusFound) }))
	t.Cleanup(loop.Close)
	for name, url := range map[string]string{
		"longer than its limit": long.URL, "not found": gone.URL, "in a circle": loop.URL,
		"of another scheme": "ftp://127.0.0.1/x", "of a file": "file:///etc/passwd", "with a password": "http://a:b@127.0.0.1/", "of nowhere": "http:///x",
	} {
		if data, err := get(New(true), url, true); !errors.Is(err, ErrFetch) || data != nil {
			t.Errorf("%s: %d octets, %v", name, len(data), err)
		}
		if _, err := get(New(true), url, true); err != nil && strings.Contains(err.Error(), strings.TrimPrefix(url, "http://")) {
			t.Errorf("%s: the error repeats the address: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New(true).Fetch(ctx, revocation.Request{URL: long.URL, Limit: 1000, Chosen: true}); err == nil {
		t.Error("a context that has ended ends nothing")
	}
}

// A9: whoever answers a little at a time, or not at all, is waited for as long as anybody.
func TestFetchingTakesALongestTime(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	drip := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for r.URL.Path == "/drip" {
			if _, err := w.Write([]byte{0}); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			<-tick.C
		}
		<-over
	}))
	t.Cleanup(drip.Close)
	t.Cleanup(func() { close(over) })
	c := New(true)
	if c.http.Timeout != wholeTime {
		t.Fatalf("the longest time is %v", c.http.Timeout)
	}
	c.http.Timeout = 200 * time.Millisecond
	for _, path := range []string{"/drip", "/nothing"} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		data, err := c.Fetch(ctx, revocation.Request{URL: drip.URL + path, Limit: 1 << 20, Chosen: true})
		if !errors.Is(err, ErrFetch) || data != nil || ctx.Err() != nil {
			t.Errorf("%s: %d octets, %v, %v", path, len(data), err, ctx.Err())
		}
		cancel()
	}
}

func TestAQuestionIsPostedAndNotRedirected(t *testing.T) {
	t.Parallel()
	var method, kind string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method, kind = r.Method, r.Header.Get("Content-Type")
		_, _ = w.Write([]byte("answer"))
	}))
	t.Cleanup(s.Close)
	data, err := New(false).Fetch(t.Context(), revocation.Request{URL: s.URL, Body: []byte("question"), Limit: 100, Chosen: true})
	if err != nil || string(data) != "answer" || method != http.MethodPost || kind != "application/ocsp-request" {
		t.Errorf("%q %v %s %s", data, err, method, kind)
	}
	hop := httptest.NewServer(http.RedirectHandler(s.URL, http.StatusTemporaryRedirect))
	t.Cleanup(hop.Close)
	if _, err := New(true).Fetch(t.Context(), revocation.Request{URL: hop.URL, Body: []byte("question"), Limit: 100, Chosen: true}); err == nil {
		t.Error("a question was redirected")
	}
}

func TestWhichAddressesArePublic(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"9.9.9.9": true, "2620:fe::fe": true, "::ffff:9.9.9.9": true,
		"127.0.0.1": false, "::1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false,
		"0.0.0.0": false, "::": false, "fe80::1": false, "fd00::1": false, "::ffff:10.0.0.1": false, "224.0.0.1": false, "ff02::1": false,
		"255.255.255.255": false, "240.0.0.1": false, "192.0.2.1": false, "198.18.0.1": false, "64:ff9b::a00:1": false, "2002:a00:1::": false, "2001:db8::1": false,
		"168.63.129.16": false, "::127.0.0.1": false, "::ffff:0:7f00:1": false, "fec0::1": false, "5f00::1": false, "3fff::1": false, "64:ff9b:2::1": false, "fd00:ec2::254": false,
	} {
		if got := public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: public %v", text, got)
		}
	}
}
