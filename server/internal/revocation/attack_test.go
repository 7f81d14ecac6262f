package revocation_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/extca/extcatest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/revocation"
)

// REV-02: whoever stands before a source cannot bring an older list back by way of
// another authority's.
func TestAnOlderListTakesNoPlaceByAnotherAuthoritys(t *testing.T) {
	t.Parallel()
	first, second := extcatest.NewRoot(t, "First", now, nil), extcatest.NewRoot(t, "Second", now, nil)
	leaf := first.Issue(t, "edge-1", extcatest.Key(t).Public(), now, nil)
	path := filepath.Join(t.TempDir(), "list.crl")
	c := revocation.New(revocation.Settings{Lists: []string{path}, Every: time.Minute}, []*x509.Certificate{first.Certificate, second.Certificate}, nil,
		nil, func() time.Time { return now })
	put := func(data []byte) error {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return c.Round(t.Context())
	}
	before := first.CRL(t, 4, now.Add(-time.Minute), now.Add(time.Hour))
	for _, list := range [][]byte{first.CRL(t, 5, now, now.Add(time.Hour), leaf), second.CRL(t, 1, now, now.Add(time.Hour))} {
		if err := put(list); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(before); !errors.Is(err, revocation.ErrList) {
		t.Errorf("an older list took the place: %v", err)
	}
	if err := c.Standing([]*x509.Certificate{leaf, first.Certificate}); err == nil {
		t.Error("what was revoked is good again")
	}
	if err := put(first.CRL(t, 6, now, now.Add(time.Hour), leaf)); err != nil {
		t.Errorf("a newer one does not: %v", err)
	}
}

// PKI-11, REV-02: an authority that was certified anew for its key is the same one, and
// its lists go on when its former certificate ends.
func TestAnAuthorityCertifiedAnewIsTheSame(t *testing.T) {
	t.Parallel()
	root := extcatest.NewRoot(t, "Root", now, nil)
	key := extcatest.Key(t)
	was := root.SubWith(t, "Issuing", now.AddDate(-5, 0, 1), key) // ends in a day
	is := root.SubWith(t, "Issuing", now, key)
	leaf := is.Issue(t, "edge-1", extcatest.Key(t).Public(), now, func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, 9) })
	dir := t.TempDir()
	files := []string{filepath.Join(dir, "issuing.crl"), filepath.Join(dir, "root.crl")}
	at := now
	c := revocation.New(revocation.Settings{Lists: files, Every: time.Minute}, []*x509.Certificate{was.Certificate, is.Certificate}, []*x509.Certificate{root.Certificate},
		nil, func() time.Time { return at })
	for _, day := range []int{0, 2} {
		at = now.AddDate(0, 0, day)
		for i, data := range [][]byte{is.CRL(t, int64(day+1), at, at.Add(time.Hour)), root.CRL(t, int64(day+1), at, at.Add(time.Hour))} {
			if err := os.WriteFile(files[i], data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Round(t.Context()); err != nil {
			t.Errorf("day %d: %v", day, err)
		}
		for name, issuer := range map[string]*x509.Certificate{"former": was.Certificate, "newer": is.Certificate} {
			if err := c.Standing([]*x509.Certificate{leaf, issuer, root.Certificate}); err != nil {
				t.Errorf("day %d, by the %s certificate: %v", day, name, err)
			}
		}
		if _, err := c.Overdue(); err != nil {
			t.Errorf("day %d: %v", day, err)
		}
	}
}

// REV-07: an authority that was revoked stays so too, and those below it with it.
func TestARevokedAuthorityStaysRevoked(t *testing.T) {
	t.Parallel()
	root := extcatest.NewRoot(t, "Root", now, nil)
	issuing := root.Sub(t, "Issuing", now, nil)
	chain := []*x509.Certificate{issuing.Issue(t, "edge-1", extcatest.Key(t).Public(), now, nil), issuing.Certificate, root.Certificate}
	dir := t.TempDir()
	files := []string{filepath.Join(dir, "issuing.crl"), filepath.Join(dir, "root.crl")}
	c := revocation.New(revocation.Settings{Lists: files, Every: time.Minute}, chain[1:2], chain[2:], nil, func() time.Time { return now })
	for i, revoked := range [][]*x509.Certificate{{issuing.Certificate}, nil} {
		for j, data := range [][]byte{issuing.CRL(t, 1, now, now.Add(time.Hour)), root.CRL(t, int64(i+1), now, now.Add(time.Hour), revoked...)} {
			if err := os.WriteFile(files[j], data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.Standing(chain); !errors.Is(err, revocation.ErrRevoked) {
			t.Errorf("list %d: %v", i+1, err)
		}
	}
	if len(c.Found()) != 0 {
		t.Error("a certificate was written down as revoked that is not")
	}
}

// REV-02: readiness fails while no device can be let in for want of a list of an
// authority above, or of one about devices.
func TestReadinessAsksForEveryListThatIsNeeded(t *testing.T) {
	t.Parallel()
	root := extcatest.NewRoot(t, "Root", now, nil)
	issuing := root.Sub(t, "Issuing", now, nil)
	chain := []*x509.Certificate{issuing.Issue(t, "edge-1", extcatest.Key(t).Public(), now, nil), issuing.Certificate, root.Certificate}
	narrow := func(ca *extcatest.CA, tag byte) []byte {
		return ca.CRLWith(t, func(l *x509.RevocationList) {
			l.ThisUpdate, l.NextUpdate = now, now.Add(time.Hour)
			l.ExtraExtensions = append(l.ExtraExtensions, scope(tag, 1, 0xff))
		})
	}
	whole := func(ca *extcatest.CA) []byte { return ca.CRL(t, 1, now, now.Add(time.Hour)) }
	for name, c := range map[string]struct {
		lists [][]byte
		ok    bool
	}{
		"both":                         {[][]byte{whole(issuing), whole(root)}, true},
		"both, as narrow as they may":  {[][]byte{narrow(issuing, 0x81), narrow(root, 0x82)}, true},
		"none of the root":             {[][]byte{whole(issuing)}, false},
		"none of the issuer":           {[][]byte{whole(root)}, false},
		"the root's is of users only":  {[][]byte{whole(issuing), narrow(root, 0x81)}, false},
		"the issuer's is of CAs only":  {[][]byte{narrow(issuing, 0x82), whole(root)}, false},
		"the issuer's in two, by kind": {[][]byte{narrow(issuing, 0x82), narrow(issuing, 0x81), whole(root)}, true},
	} {
		s := revocation.Settings{Every: time.Minute}
		for _, data := range c.lists {
			s.Lists = append(s.Lists, extcatest.File(t, "list.crl", data))
		}
		checker := revocation.New(s, chain[1:2], chain[2:], nil, func() time.Time { return now })
		if err := checker.Round(t.Context()); err != nil {
			t.Fatal(name, err)
		}
		standing := checker.Standing(chain)
		if _, failed := checker.Overdue(); (failed == nil) != c.ok || (standing == nil) != c.ok {
			t.Errorf("%s: readiness %v, a device %v", name, failed, standing)
		}
	}
}

// REV-02, at the start and while running: each fault of a list leaves what is known as it
// was, and readiness or a warning tells of it.
func TestEveryFaultOfAListFailsClosed(t *testing.T) {
	t.Parallel()
	ca := extcatest.NewRoot(t, "Other", now, nil)
	twin := extcatest.NewRoot(t, "Other", now, nil)
	leaf := ca.Issue(t, "edge-1", extcatest.Key(t).Public(), now, nil)
	good := ca.CRL(t, 7, now, now.Add(time.Hour))
	unsigned := append([]byte(nil), good...)
	unsigned[len(unsigned)-4] ^= 1
	for name, fault := range map[string]func(revocation.Request) ([]byte, error){
		"missing":                func(revocation.Request) ([]byte, error) { return nil, os.ErrNotExist },
		"not to be read":         func(revocation.Request) ([]byte, error) { return nil, os.ErrPermission },
		"empty":                  func(revocation.Request) ([]byte, error) { return nil, nil },
		"corrupt":                func(revocation.Request) ([]byte, error) { return good[:len(good)/2], nil },
		"unsigned":               func(revocation.Request) ([]byte, error) { return unsigned, nil },
		"of a twin":              func(revocation.Request) ([]byte, error) { return twin.CRL(t, 8, now, now.Add(time.Hour)), nil },
		"too long":               func(revocation.Request) ([]byte, error) { return make([]byte, revocation.MaxList+1), nil },
		"expired":                func(revocation.Request) ([]byte, error) { return ca.CRL(t, 6, now.Add(-time.Hour), now), nil },
		"never coming to an end": func(revocation.Request) ([]byte, error) { return nil, context.DeadlineExceeded },
	} {
		at, answer := now, fault
		c := revocation.New(revocation.Settings{Lists: []string{"http://other.test/list.crl"}, Every: time.Minute}, []*x509.Certificate{ca.Certificate}, nil,
			func(_ context.Context, r revocation.Request) ([]byte, error) { return answer(r) }, func() time.Time { return at })
		chain := []*x509.Certificate{leaf, ca.Certificate}
		_ = c.Round(t.Context())
		if err := c.Standing(chain); !errors.Is(err, revocation.ErrUnknown) {
			t.Errorf("%s, at the start: %v", name, err)
		}
		if _, failed := c.Overdue(); failed == nil {
			t.Errorf("%s, at the start: ready", name)
		}
		answer = func(revocation.Request) ([]byte, error) { return good, nil }
		if err := c.Round(t.Context()); err != nil || c.Standing(chain) != nil {
			t.Fatalf("%s, mended: %v %v", name, err, c.Standing(chain))
		}
		answer = fault
		if err := c.Round(t.Context()); err == nil {
			t.Errorf("%s, while running: no error", name)
		}
		warning, failed := c.Overdue()
		if err := c.Standing(chain); err != nil || failed != nil || warning == "" || strings.Contains(warning, "other.test") {
			t.Errorf("%s, while running: %v, %v, %q", name, err, failed, warning)
		}
		at = now.Add(time.Hour)
		if err := c.Standing(chain); !errors.Is(err, revocation.ErrUnknown) {
			t.Errorf("%s, at the end of the one before: %v", name, err)
		}
	}
}

// A certificate that a list names twice is revoked for the reason that lasts.
func TestTheReasonThatLastsCounts(t *testing.T) {
	t.Parallel()
	for _, reasons := range [][]int{{1, 6}, {6, 1}} {
		w := newWorld(t, revocation.Settings{Lists: []string{"list.crl"}})
		w.put(w.ca.CRLWith(t, func(l *x509.RevocationList) {
			l.ThisUpdate, l.NextUpdate = now, now.Add(time.Hour)
			for _, reason := range reasons {
				l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: w.leaf.SerialNumber, RevocationTime: now, ReasonCode: reason})
			}
		}))
		if err := w.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.stands("named twice", revocation.ErrRevoked)
		w.put(w.ca.CRL(t, 2, now, now.Add(time.Hour)))
		if err := w.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.stands("not listed any more", revocation.ErrRevoked)
	}
}

// REV-03: an answer of before takes no newer one's place: a responder that needs no nonce
// may be replayed.
func TestAnOlderAnswerTakesNoPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, revocation.Settings{Responder: "http://ocsp.test/"})
	by, key := responder(t, w.ca, nil)
	answer := func(status int, from time.Time) {
		w.answer = func(revocation.Request) ([]byte, error) {
			return said(t, w.ca.Certificate, by, key, w.leaf.SerialNumber, func(r *ocsp.Response) {
				r.Status, r.ThisUpdate = status, from
				if status == ocsp.Revoked {
					r.RevokedAt, r.RevocationReason = from, ocsp.CertificateHold
				}
			}), nil
		}
	}
	w.stands("new", revocation.ErrUnknown)
	answer(ocsp.Revoked, now)
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.stands("on hold", revocation.ErrRevoked)
	answer(ocsp.Good, now.Add(-time.Second))
	if err := w.Round(t.Context()); !errors.Is(err, revocation.ErrAnswer) {
		t.Errorf("an older answer took the place: %v", err)
	}
	w.stands("on hold, and good before", revocation.ErrRevoked)
	answer(ocsp.Good, now.Add(time.Second))
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.stands("not on hold any more", nil)
}

// REV-02, REV-11: a responder that hangs keeps no list from being fetched, and is not
// asked about every certificate in turn.
func TestAHungResponderHoldsNoListUp(t *testing.T) {
	t.Parallel()
	ca := extcatest.NewRoot(t, "Other", now, nil)
	asked, listed := make(chan struct{}, 1000), make(chan struct{}, 1000)
	c := revocation.New(revocation.Settings{Lists: []string{"http://other.test/list.crl"}, Responder: "http://ocsp.test/", Every: 20 * time.Millisecond},
		[]*x509.Certificate{ca.Certificate}, nil, func(ctx context.Context, r revocation.Request) ([]byte, error) {
			if r.Body == nil {
				listed <- struct{}{}
				return ca.CRL(t, 1, now, now.Add(time.Hour)), nil
			}
			asked <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}, func() time.Time { return now })
	for i := range 3 {
		leaf := ca.Issue(t, fmt.Sprintf("edge-%d", i), extcatest.Key(t).Public(), now, nil)
		_ = c.Standing([]*x509.Certificate{leaf, ca.Certificate})
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, func(context.Context, error) {}) }()
	await := func(what string, from chan struct{}) {
		t.Helper()
		select {
		case <-from:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: not in time", what)
		}
	}
	await("a question", asked)
	for range 10 {
		await("a list", listed)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A responder that answers nothing costs a round a few questions, whatever the fleet.
func TestAResponderThatAnswersNothingIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, revocation.Settings{Responder: "http://ocsp.test/"})
	for i := range 100 {
		_ = w.Standing([]*x509.Certificate{w.ca.Issue(t, fmt.Sprintf("edge-%d", i), extcatest.Key(t).Public(), now, nil), w.ca.Certificate})
	}
	if err := w.Round(t.Context()); err == nil {
		t.Error("no answer is no error")
	}
	if n := len(w.fetched); n == 0 || n > 40 {
		t.Errorf("%d questions", n)
	}
	w.ready("with a responder that answers nothing", "does not answer")
}

// A certificate may name a responder that is no HTTP one first.
func TestTheFirstResponderThatCanBeAskedIsAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, revocation.Settings{Responder: revocation.FromCertificate})
	w.chain[0] = w.ca.Issue(t, "edge-1", extcatest.Key(t).Public(), now, func(c *x509.Certificate) { c.OCSPServer = []string{"ldap://other.test/", "http://ocsp.test/own"} })
	_ = w.Standing(w.chain)
	_ = w.Round(t.Context())
	if len(w.fetched) != 1 || w.fetched[0].URL != "http://ocsp.test/own" || w.fetched[0].Chosen {
		t.Errorf("asked %+v", w.fetched)
	}
}

// REV-02: a restart, or another node, believes no older list that is in date still, and
// no authority that was revoked.
func TestWhatWasKnownOutlivesARestart(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		d, err := db.Open(t.Context(), db.Options{URL: url, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.Close() }()
		root := extcatest.NewRoot(t, "Root", now, nil)
		issuing, other := root.Sub(t, "Issuing", now, nil), root.Sub(t, "Another", now, nil)
		chainOf := func(ca *extcatest.CA) []*x509.Certificate {
			return []*x509.Certificate{ca.Issue(t, "edge-1", extcatest.Key(t).Public(), now, nil), ca.Certificate, root.Certificate}
		}
		chain, fallen := chainOf(issuing), chainOf(other)
		dir := t.TempDir()
		files := []string{filepath.Join(dir, "issuing.crl"), filepath.Join(dir, "other.crl"), filepath.Join(dir, "root.crl")}
		put := func(number int64, at time.Time, revoked ...*x509.Certificate) {
			t.Helper()
			for i, data := range [][]byte{issuing.CRL(t, number, at, now.Add(time.Hour)), other.CRL(t, 1, now, now.Add(time.Hour)), root.CRL(t, number, at, now.Add(time.Hour), revoked...)} {
				if err := os.WriteFile(files[i], data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		// start is a node that comes up and knows what the others wrote down.
		start := func() *revocation.Checker {
			t.Helper()
			c := revocation.New(revocation.Settings{Lists: files, Every: time.Minute}, []*x509.Certificate{issuing.Certificate, other.Certificate}, []*x509.Certificate{root.Certificate}, nil, func() time.Time { return now })
			m, err := revocation.Remembered(t.Context(), d.Read())
			if err != nil {
				t.Fatal(err)
			}
			c.Recall(m)
			return c
		}
		remember := func(c *revocation.Checker) {
			t.Helper()
			if err := d.Write(t.Context(), c.Remember); err != nil {
				t.Fatal(err)
			}
		}
		c := start()
		put(20, now, other.Certificate)
		if err := c.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.Standing(fallen); !errors.Is(err, revocation.ErrRevoked) {
			t.Errorf("the other authority: %v", err)
		}
		remember(c)
		m, err := revocation.Remembered(t.Context(), d.Read())
		if err != nil || len(m.Marks) != 3 || len(m.Fallen) != 1 || !c.News(m).Empty() {
			t.Fatalf("remembered %+v, %v", m, err)
		}

		c = start()
		if err := c.Standing(fallen); !errors.Is(err, revocation.ErrRevoked) {
			t.Errorf("the other authority after a restart: %v", err)
		}
		for name, act := range map[string]func(){
			"a lower number": func() { put(9, now.Add(time.Second)) },
			"an earlier day": func() { put(21, now.Add(-time.Second)) },
		} {
			act()
			if err := c.Round(t.Context()); err == nil {
				t.Errorf("%s was believed after a restart", name)
			}
			if err := c.Standing(chain); !errors.Is(err, revocation.ErrUnknown) {
				t.Errorf("%s: %v", name, err)
			}
		}
		put(21, now)
		if err := c.Round(t.Context()); err != nil {
			t.Error(err)
		}
		if err := c.Standing(chain); err != nil {
			t.Errorf("the next list: %v", err)
		}
		if err := c.Standing(fallen); !errors.Is(err, revocation.ErrRevoked) {
			t.Errorf("the other authority, which the next list has no more: %v", err)
		}

		// A node that is behind puts no mark back.
		late := start()
		remember(c)
		put(20, now)
		if err := late.Round(t.Context()); err != nil { // it has not heard
			t.Error(err)
		}
		remember(late)
		if err := start().Round(t.Context()); err == nil {
			t.Error("a node that was behind made room for an older list")
		}
	})
}
