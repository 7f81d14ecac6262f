package revocation

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/status"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

var (
	// ErrRevoked says that a certificate, or one above it, is revoked or on hold.
	ErrRevoked = errors.New("the certificate was revoked by its authority")
	// ErrUnknown says that it is not known, or was known too long ago.
	ErrUnknown = errors.New("it is not known whether the certificate was revoked by its authority")
)

// FromCertificate is the responder of the settings that stands for the one that each
// certificate names (RFC 5280 section 4.2.2.1).
const FromCertificate = "aia"

// Settings are what an operator chose.
type Settings struct {
	Lists     []string      // files, or http and https URLs
	Responder string        // URL, FromCertificate, or "" for none
	NeedNonce bool          // answers without our nonce are refused
	Every     time.Duration // how often everything is fetched anew
	Grace     time.Duration // how much longer than it holds what is known is relied on
}

// On reports whether anything is checked.
func (s Settings) On() bool { return len(s.Lists) > 0 || s.Responder != "" }

// Request is what is fetched.
type Request struct {
	URL    string
	Body   []byte // nil asks for a list, otherwise it is a question
	Limit  int64  // octets of the answer
	Chosen bool   // the operator named the URL: it may be at a private address
}

// Fetch fetches. Its time is limited by whoever makes it.
type Fetch func(ctx context.Context, r Request) ([]byte, error)

const (
	// maxTracked bounds how many certificates are asked about.
	maxTracked = 200_000
	// forgetAfter is how long a certificate that nobody presents is asked about.
	forgetAfter = 24 * time.Hour
	// askAtOnce is how many questions are on their way at a time.
	askAtOnce = 8
	// overdueAfter is how many rounds may fail before readiness fails.
	overdueAfter = 3
	// askAgain is how soon what could not be answered is asked again.
	askAgain = 15 * time.Second
	// giveUpAfter is how many questions in a row may find nobody before a round asks no
	// more: each of them waits as long as one may.
	giveUpAfter = 2 * askAtOnce
)

// Checker knows which certificates are revoked. It is safe for concurrent use.
type Checker struct {
	settings Settings
	issuers  []*x509.Certificate // whose certificates are devices'
	all      []*x509.Certificate // and those above
	fetch    Fetch
	now      func() time.Time
	wake     chan struct{}

	// One round each at a time. A responder that hangs does not hold the lists up.
	reading, asking sync.Mutex

	mu       sync.RWMutex
	sources  []*source // as in Settings.Lists
	tracked  map[string]*tracked
	gone     map[string]int // reasons, by fingerprint: what is revoked stays so
	fallen   map[string]int // reasons, by certificate: authorities
	found    map[string]string
	answered time.Time // when a responder answered last
	troubled error     // why it did not since
}

// source is where a list comes from, with the last one that was good.
type source struct {
	id     string // digest of where it is: an address may hold a password
	list   *List
	at     time.Time       // when that was read
	err    error           // why it could not be read since
	newest map[string]mark // by authorityID: a list of another one does not make room for an older list
}

// tracked is a certificate that is asked about.
type tracked struct {
	leaf, issuer *x509.Certificate
	seen, asked  time.Time
	answer       *Answer
}

// New makes a checker for the certificates of these authorities, with those above them.
// It knows nothing before Round.
func New(s Settings, issuers, above []*x509.Certificate, fetch Fetch, now func() time.Time) *Checker {
	c := &Checker{settings: s, issuers: issuers, all: append(slices.Clone(issuers), above...), fetch: fetch, now: now, wake: make(chan struct{}, 1),
		tracked: map[string]*tracked{}, gone: map[string]int{}, fallen: map[string]int{}, found: map[string]string{}}
	for _, from := range s.Lists {
		c.sources = append(c.sources, &source{id: digest(from), newest: map[string]mark{}})
	}
	return c
}

// Standing says what is known of a verified chain, itself first: nil when it is good,
// ErrRevoked or ErrUnknown otherwise. It waits for nothing; a certificate that is not
// known yet is asked about soon.
func (c *Checker) Standing(chain []*x509.Certificate) error {
	if !c.settings.On() {
		return nil
	}
	if len(chain) < 2 {
		return ErrUnknown
	}
	now := c.now()
	fingerprint := certs.Fingerprint(chain[0].Raw)
	err := c.standing(chain, fingerprint, now)
	c.mu.RLock()
	t := c.tracked[fingerprint]
	lately := t != nil && now.Sub(t.seen) < forgetAfter/4 && t.issuer.Equal(chain[1])
	_, noted := c.gone[fingerprint]
	for _, above := range chain[1:] {
		_, fallen := c.fallen[string(above.Raw)]
		noted = noted || fallen
	}
	c.mu.RUnlock()
	if !lately {
		c.track(fingerprint, chain, now)
	}
	if revoked, ok := errors.AsType[*revokedError](err); ok && !noted {
		c.note(fingerprint, revoked)
	}
	return err
}

// revokedError is ErrRevoked with what its authority says.
type revokedError struct {
	reason int
	leaf   bool // it is about the certificate itself, not one above it
	cert   *x509.Certificate
}

func (*revokedError) Error() string        { return ErrRevoked.Error() }
func (*revokedError) Is(target error) bool { return target == ErrRevoked }

func (c *Checker) standing(chain []*x509.Certificate, fingerprint string, now time.Time) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if reason, ok := c.gone[fingerprint]; ok {
		return &revokedError{reason, true, chain[0]}
	}
	for _, above := range chain[1:] {
		if reason, ok := c.fallen[string(above.Raw)]; ok {
			return &revokedError{reason, false, above}
		}
	}
	known := error(nil)
	if len(c.settings.Lists) > 0 {
		for i := range len(chain) - 1 {
			if err := c.listed(chain[i], chain[i+1], i == 0, now); errors.Is(err, ErrRevoked) {
				return err
			} else if err != nil {
				known = err
			}
		}
	}
	if c.settings.Responder != "" {
		if err := c.told(chain[0], fingerprint, now); errors.Is(err, ErrRevoked) {
			return err
		} else if err != nil {
			known = err
		}
	}
	return known
}

// listed is what the lists of an issuer say of a certificate. It is revoked by one that
// has run out, too; it is good only by one that holds and is about it.
func (c *Checker) listed(cert, issuer *x509.Certificate, leaf bool, now time.Time) error {
	known := ErrUnknown
	for _, s := range c.sources {
		l := s.list
		if l == nil || !sameAuthority(l.Issuer, issuer) || !l.covers(cert) {
			continue
		}
		if reason, revoked := l.reason(cert); revoked {
			return &revokedError{reason, leaf, cert}
		}
		if now.Before(l.NextUpdate.Add(c.settings.Grace)) {
			known = nil
		}
	}
	return known
}

// told is what a responder said of a certificate.
func (c *Checker) told(leaf *x509.Certificate, fingerprint string, now time.Time) error {
	t := c.tracked[fingerprint]
	switch {
	case t == nil || t.answer == nil:
		return ErrUnknown
	case t.answer.Standing == status.Gone:
		return &revokedError{t.answer.Reason, true, leaf}
	case t.answer.Standing != status.Good || !now.Before(t.answer.NextUpdate.Add(c.settings.Grace)):
		return ErrUnknown
	}
	return nil
}

// track has a certificate asked about from now on.
func (c *Checker) track(fingerprint string, chain []*x509.Certificate, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.tracked[fingerprint]; t != nil {
		t.issuer, t.seen = chain[1], now
		return
	}
	if len(c.tracked) >= maxTracked { // what is not asked about stays unknown
		return
	}
	c.tracked[fingerprint] = &tracked{leaf: chain[0], issuer: chain[1], seen: now}
	c.poke()
}

func (c *Checker) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// note remembers that a certificate is revoked, for good unless it is on hold.
func (c *Checker) note(fingerprint string, r *revokedError) {
	if r.reason == onHold {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !r.leaf {
		c.fallen[string(r.cert.Raw)] = r.reason
		return
	}
	if _, known := c.gone[fingerprint]; known || len(c.gone) >= maxTracked {
		return
	}
	c.gone[fingerprint] = r.reason
	c.found[fingerprint] = why(r.reason)
	c.poke()
}

func why(reason int) string {
	return fmt.Sprintf("its authority revoked the certificate (reason %d)", reason)
}

// Gone says why a certificate is revoked for good; false when nothing says that it is.
func (c *Checker) Gone(fingerprint string) (string, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	reason, gone := c.gone[fingerprint]
	return why(reason), gone
}

// Found hands over the certificates that were found to be revoked since it was asked
// last, by fingerprint, with why. Those that could not be written down are given back.
func (c *Checker) Found() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.found
	c.found = map[string]string{}
	return found
}

// Again gives back what Found handed over.
func (c *Checker) Again(fingerprint, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found[fingerprint] = why
}

// Run fetches everything at once and then again in time, until ctx ends. after is
// called after every round, once at a time.
func (c *Checker) Run(ctx context.Context, after func(ctx context.Context, err error)) error {
	if !c.settings.On() {
		<-ctx.Done()
		return nil
	}
	var one sync.Mutex
	tell := func(err error) {
		one.Lock()
		defer one.Unlock()
		if ctx.Err() == nil {
			after(ctx, err)
		}
	}
	first := c.readLists(ctx) // before anything is asked: a responder may be on one
	var both sync.WaitGroup
	both.Go(func() { c.again(ctx, tell, nil, c.readLists, c.mendLists) })
	both.Go(func() {
		tell(errors.Join(first, c.askAll(ctx)))
		c.again(ctx, tell, c.wake, c.askAll, c.mendAnswers)
	})
	both.Wait()
	return nil
}

// again calls all in time, mend between, and Ask when something woke it, until ctx ends.
func (c *Checker) again(ctx context.Context, tell func(error), wake <-chan struct{}, all, mend func(context.Context) error) {
	every := time.NewTicker(c.settings.Every)
	defer every.Stop()
	soon := time.NewTicker(askAgain)
	defer soon.Stop()
	for {
		var round func(context.Context) error
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			round = all
		case <-wake:
			round = c.Ask
		case <-soon.C:
			round = mend
		}
		tell(round(ctx))
	}
}

// Round fetches every list and asks about every certificate anew.
func (c *Checker) Round(ctx context.Context) error {
	return errors.Join(c.readLists(ctx), c.askAll(ctx))
}

func (c *Checker) readLists(ctx context.Context) error {
	c.reading.Lock()
	defer c.reading.Unlock()
	var failed []error
	for i := range c.settings.Lists {
		failed = append(failed, c.readSource(ctx, i))
	}
	return errors.Join(failed...)
}

func (c *Checker) askAll(ctx context.Context) error {
	c.asking.Lock()
	defer c.asking.Unlock()
	c.forget()
	return c.ask(ctx, func(*tracked, time.Time) bool { return true })
}

// Ask asks about certificates that were never asked about.
func (c *Checker) Ask(ctx context.Context) error {
	c.asking.Lock()
	defer c.asking.Unlock()
	return c.ask(ctx, func(t *tracked, _ time.Time) bool { return t.asked.IsZero() })
}

// mendLists tries again what failed in the last round.
func (c *Checker) mendLists(ctx context.Context) error {
	c.reading.Lock()
	defer c.reading.Unlock()
	var failed []error
	for i, s := range c.sources {
		c.mu.RLock()
		again := s.err != nil || s.list == nil
		c.mu.RUnlock()
		if again {
			failed = append(failed, c.readSource(ctx, i))
		}
	}
	return errors.Join(failed...)
}

// mendAnswers asks again about what was not answered in the last round.
func (c *Checker) mendAnswers(ctx context.Context) error {
	c.asking.Lock()
	defer c.asking.Unlock()
	return c.ask(ctx, func(t *tracked, now time.Time) bool {
		return (t.answer == nil || !now.Before(t.answer.NextUpdate)) && now.Sub(t.asked) >= askAgain
	})
}

// readSource reads the list of a source and puts it in place.
func (c *Checker) readSource(ctx context.Context, i int) error {
	now, s := c.now(), c.sources[i]
	list, err := c.readList(ctx, c.settings.Lists[i], now)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && !list.follows(s.newest[authorityID(list.Issuer)]) {
		err = fmt.Errorf("%w: it is older than the one in place", ErrList)
	}
	if s.err = err; err != nil {
		return fmt.Errorf("revocation list %d: %w", i+1, err)
	}
	s.list, s.at, s.newest[authorityID(list.Issuer)] = list, now, mark{list.Number, list.ThisUpdate}
	return nil
}

func (c *Checker) readList(ctx context.Context, from string, now time.Time) (*List, error) {
	data, err := c.load(ctx, from)
	if err != nil {
		return nil, err
	}
	list, err := ReadList(data, c.all, now)
	if err == nil && !now.Before(list.NextUpdate) {
		err = fmt.Errorf("%w: it does not hold any more", ErrList)
	}
	return list, err
}

func (c *Checker) load(ctx context.Context, from string) ([]byte, error) {
	if IsURL(from) {
		return c.fetch(ctx, Request{URL: from, Limit: MaxList, Chosen: true})
	}
	f, err := os.Open(from)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, MaxList+1))
	if err == nil && len(data) > MaxList {
		err = fmt.Errorf("%w: it is longer than %d octets", ErrList, MaxList)
	}
	return data, err
}

// IsURL reports whether a source is fetched, not read from a file.
func IsURL(from string) bool {
	return strings.HasPrefix(from, "http://") || strings.HasPrefix(from, "https://")
}

// forget drops certificates that nobody presents any more.
func (c *Checker) forget() {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for fingerprint, t := range c.tracked {
		if now.Sub(t.seen) > forgetAfter || now.After(t.leaf.NotAfter) {
			delete(c.tracked, fingerprint)
		}
	}
}

// Overdue says why what is known of revocation is not what it should be: an error when
// it cannot be relied on, and a warning while it can. The texts name no address.
func (c *Checker) Overdue() (warning string, failed error) {
	if !c.settings.On() {
		return "", nil
	}
	now := c.now()
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, s := range c.sources {
		switch {
		case s.list == nil:
			return "", errors.New("a revocation list of another authority could not be read yet; see the log")
		case !now.Before(s.list.NextUpdate):
			return "", errors.New("a revocation list of another authority has run out; see the log")
		case now.Sub(s.at) > overdueAfter*c.settings.Every:
			return "", errors.New("a revocation list of another authority is overdue; see the log")
		case s.err != nil:
			warning = "a revocation list of another authority could not be fetched anew, and holds until " + s.list.NextUpdate.UTC().Format(time.RFC3339) + "; see the log"
		}
	}
	for _, issuer := range c.issuers {
		switch {
		case len(c.settings.Lists) == 0:
		case !c.lists(issuer, func(l *List) bool { return !l.scope.authoritiesOnly }):
			return "", errors.New("there is no revocation list of an authority that issues to devices; add it to SENTINEL_REVOCATION_LISTS")
		case !c.listsAbove(issuer, len(c.all)):
			return "", errors.New("there is no revocation list of an authority above one that issues to devices; add it to SENTINEL_REVOCATION_LISTS")
		}
	}
	if c.settings.Responder != "" && c.troubled != nil {
		if now.Sub(c.answered) > overdueAfter*c.settings.Every {
			return "", errors.New("the OCSP responder of another authority does not answer; see the log")
		}
		warning = "the OCSP responder of another authority did not answer; see the log"
	}
	return warning, nil
}

// lists reports whether there is a list of an authority that is about something.
func (c *Checker) lists(issuer *x509.Certificate, about func(*List) bool) bool {
	return slices.ContainsFunc(c.sources, func(s *source) bool {
		return s.list != nil && sameAuthority(s.list.Issuer, issuer) && about(s.list)
	})
}

// listsAbove reports whether there are lists about an authority and those above it, up
// to what is believed itself, in so many steps at most.
func (c *Checker) listsAbove(below *x509.Certificate, steps int) bool {
	above := c.all[len(c.issuers):]
	if len(above) == 0 || bytes.Equal(below.RawIssuer, below.RawSubject) {
		return true
	}
	return steps > 0 && slices.ContainsFunc(above, func(a *x509.Certificate) bool {
		return bytes.Equal(a.RawSubject, below.RawIssuer) && c.lists(a, func(l *List) bool { return l.covers(below) }) && c.listsAbove(a, steps-1)
	})
}
