package revocation_test

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/extca/extcatest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/revocation"
)

// world is an authority with a device's certificate, and what a checker can fetch.
type world struct {
	*revocation.Checker

	t     *testing.T
	ca    *extcatest.CA
	leaf  *x509.Certificate
	chain []*x509.Certificate
	dir   string

	mu      sync.Mutex
	now     time.Time
	fetched []revocation.Request
	answer  func(revocation.Request) ([]byte, error)
}

func newWorld(t *testing.T, s revocation.Settings) *world {
	t.Helper()
	w := &world{t: t, ca: extcatest.NewRoot(t, "Other", now, nil), now: now, dir: t.TempDir()}
	w.leaf = w.ca.Issue(t, "edge-1", extcatest.Key(t).Public(), now, nil)
	w.chain = []*x509.Certificate{w.leaf, w.ca.Certificate}
	for i := range s.Lists {
		if !revocation.IsURL(s.Lists[i]) {
			s.Lists[i] = filepath.Join(w.dir, s.Lists[i])
		}
	}
	if s.Every == 0 {
		s.Every = time.Minute
	}
	w.Checker = revocation.New(s, []*x509.Certificate{w.ca.Certificate}, nil, w.fetch, w.clock)
	return w
}

func (w *world) clock() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now }

func (w *world) later(d time.Duration) { w.mu.Lock(); defer w.mu.Unlock(); w.now = w.now.Add(d) }

func (w *world) fetch(_ context.Context, r revocation.Request) ([]byte, error) {
	w.mu.Lock()
	w.fetched = append(w.fetched, r)
	answer := w.answer
	w.mu.Unlock()
	if answer == nil {
		return nil, errors.New("no route to it")
	}
	return answer(r)
}

// put puts a list into the file.
func (w *world) put(data []byte) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, "list.crl"), data, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// stands asks what is known, and wants this.
func (w *world) stands(what string, want error) {
	w.t.Helper()
	if err := w.Standing(w.chain); !errors.Is(err, want) || want == nil && err != nil {
		w.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// ready asks readiness; words "" wants it good.
func (w *world) ready(what, words string) {
	w.t.Helper()
	if _, failed := w.Overdue(); failed == nil != (words == "") || failed != nil && !strings.Contains(failed.Error(), words) {
		w.t.Errorf("%s: readiness says %v", what, failed)
	}
}

func TestNothingIsCheckedWhereNothingIsAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, revocation.Settings{})
	w.stands("unchecked", nil)
	w.ready("unchecked", "")
}

// A9, REV-02: fail closed, at the start and while running, and readiness says so.
func TestAListIsKnownOnlyWhileItHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, revocation.Settings{Lists: []string{"list.crl"}})
	w.stands("before anything was read", revocation.ErrUnknown)
	w.ready("before anything was read", "could not be read yet")
	if err := w.Round(t.Context()); err == nil {
		t.Error("a missing file is no error")
	}
	w.stands("without a file", revocation.ErrUnknown)

	w.put(w.ca.CRL(t, 1, now, now.Add(time.Hour)))
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.stands("with a list", nil)
	w.ready("with a list", "")

	w.put([]byte("broken"))
	if err := w.Round(t.Context()); err == nil {
		t.Error("a broken list is no error")
	}
	w.stands("with a list of before", nil)
	if warning, failed := w.Overdue(); failed != nil || warning == "" {
		t.Errorf("%v %q", failed, warning)
	}
	w.later(4 * time.Minute)
	w.ready("three rounds without one", "overdue")
	w.later(56*time.Minute - time.Second)
	w.stands("in its last second", nil)
	w.later(time.Second)
	w.stands("at its end", revocation.ErrUnknown)
	w.ready("at its end", "run out")
}

func TestAGraceIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, revocation.Settings{Lists: []string{"list.crl"}, Grace: 10 * time.Minute})
	w.put(w.ca.CRL(t, 1, now, now.Add(time.Hour)))
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.later(70*time.Minute - time.Second)
	w.stands("in the grace's last second", nil)
	w.ready("in the grace", "run out")
	w.later(time.Second)
	w.stands("at the grace's end", revocation.ErrUnknown)
}

// A9, REV-07: what is revoked stays so, whatever is said of it later.
func TestARevokedCertificateStaysRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, revocation.Settings{Lists: []string{"list.crl"}})
	w.put(w.ca.CRL(t, 1, now, now.Add(time.Hour), w.leaf))
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.stands("revoked", revocation.ErrRevoked)
	if found := w.Found(); len(found) != 1 || len(w.Found()) != 0 {
		t.Errorf("found %v", found)
	}
	w.later(time.Minute)
	w.put(w.ca.CRL(t, 2, now.Add(time.Minute), now.Add(time.Hour)))
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.stands("not listed any more", revocation.ErrRevoked)
	w.later(24 * time.Hour)
	w.stands("a day after", revocation.ErrRevoked)
}

func TestAHoldCanBeTakenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, revocation.Settings{Lists: []string{"list.crl"}})
	w.put(w.ca.CRLWith(t, func(l *x509.RevocationList) {
		l.ThisUpdate, l.NextUpdate = now, now.Add(time.Hour)
		l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: w.leaf.SerialNumber, RevocationTime: now, ReasonCode: 6}}
	}))
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.stands("on hold", revocation.ErrRevoked)
	if found := w.Found(); len(found) != 0 {
		t.Errorf("a hold was written down: %v", found)
	}
	w.put(w.ca.CRL(t, 2, now, now.Add(time.Hour)))
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.stands("not on hold any more", nil)
}

// REV-02: a list of before cannot take the place of a newer one.
func TestAnOlderListTakesNoPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, revocation.Settings{Lists: []string{"list.crl"}})
	w.put(w.ca.CRL(t, 5, now, now.Add(time.Hour)))
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"a lower number": w.ca.CRL(t, 4, now.Add(time.Minute), now.Add(2*time.Hour)),
		"an earlier day": w.ca.CRL(t, 6, now.Add(-time.Minute), now.Add(2*time.Hour)),
	} {
		w.put(data)
		if err := w.Round(t.Context()); err == nil {
			t.Errorf("%s took the place", name)
		}
	}
	w.put(w.ca.CRL(t, 5, now, now.Add(time.Hour))) // the same
	if err := w.Round(t.Context()); err != nil {
		t.Error(err)
	}
}

// A9: a list that is about other certificates says nothing of this one.
func TestAListIsAboutWhatItSays(t *testing.T) {
	t.Parallel()
	uri := "http://other.test/a.crl"
	point := append([]byte{0xa0, byte(len(uri) + 4), 0xa0, byte(len(uri) + 2), 0x86, byte(len(uri))}, uri...)
	for name, c := range map[string]struct {
		scope  pkix.Extension
		points []string
		want   error
	}{
		"users only":             {scope(0x81, 1, 0xff), nil, nil},
		"authorities only":       {scope(0x82, 1, 0xff), nil, revocation.ErrUnknown},
		"its distribution point": {scope(point...), []string{uri}, nil},
		"another point":          {scope(point...), []string{"http://other.test/b.crl"}, revocation.ErrUnknown},
		"a point, and it none":   {scope(point...), nil, revocation.ErrUnknown},
	} {
		w := newWorld(t, revocation.Settings{Lists: []string{"list.crl"}})
		w.leaf = w.ca.Issue(t, "edge-1", extcatest.Key(t).Public(), now, func(x *x509.Certificate) { x.CRLDistributionPoints = c.points })
		w.chain[0] = w.leaf
		w.put(w.ca.CRLWith(t, func(l *x509.RevocationList) {
			l.ThisUpdate, l.NextUpdate, l.ExtraExtensions = now, now.Add(time.Hour), []pkix.Extension{c.scope}
		}))
		if err := w.Round(t.Context()); err != nil {
			t.Fatal(name, err)
		}
		w.stands(name, c.want)
	}
}

// A9: the authority that issues can be revoked by the one above it.
func TestTheWholeChainIsChecked(t *testing.T) {
	t.Parallel()
	root := extcatest.NewRoot(t, "Root", now, nil)
	issuing := root.Sub(t, "Issuing", now, nil)
	leaf := issuing.Issue(t, "edge-1", extcatest.Key(t).Public(), now, nil)
	chain := []*x509.Certificate{leaf, issuing.Certificate, root.Certificate}
	dir := t.TempDir()
	files := []string{filepath.Join(dir, "issuing.crl"), filepath.Join(dir, "root.crl")}
	c := revocation.New(revocation.Settings{Lists: files, Every: time.Minute}, []*x509.Certificate{issuing.Certificate}, []*x509.Certificate{root.Certificate},
		nil, func() time.Time { return now })
	put := func(i int, data []byte) {
		t.Helper()
		if err := os.WriteFile(files[i], data, 0o600); err != nil {
			t.Fatal(err)
		}
		_ = c.Round(t.Context())
	}
	put(0, issuing.CRL(t, 1, now, now.Add(time.Hour)))
	if err := c.Standing(chain); !errors.Is(err, revocation.ErrUnknown) {
		t.Errorf("without the root's list: %v", err)
	}
	put(1, root.CRL(t, 1, now, now.Add(time.Hour)))
	if err := c.Standing(chain); err != nil {
		t.Errorf("with both lists: %v", err)
	}
	put(1, root.CRL(t, 2, now, now.Add(time.Hour), issuing.Certificate))
	if err := c.Standing(chain); !errors.Is(err, revocation.ErrRevoked) {
		t.Errorf("with a revoked authority: %v", err)
	}
	if len(c.Found()) != 0 {
		t.Error("the device's certificate was written down as revoked")
	}
}

// REV-09: a long list holds nothing up.
func TestALongListIsAnsweredFromMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, revocation.Settings{Lists: []string{"list.crl"}})
	var revoked []*x509.Certificate
	for i := range 20_000 {
		revoked = append(revoked, &x509.Certificate{SerialNumber: big.NewInt(int64(1_000_000 + i))})
	}
	w.put(w.ca.CRL(t, 1, now, now.Add(time.Hour), revoked...))
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.stands("beside 20,000 others", nil)
	begin := time.Now()
	for range 10_000 {
		_ = w.Standing(w.chain)
	}
	each := time.Since(begin) / 10_000
	t.Logf("an answer takes %v", each)
	if each > time.Millisecond {
		t.Errorf("an answer takes %v", each)
	}
}
