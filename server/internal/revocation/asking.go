package revocation

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/status"
)

// ask asks about the certificates that are due.
func (c *Checker) ask(ctx context.Context, due func(*tracked, time.Time) bool) error {
	if c.settings.Responder == "" {
		return nil
	}
	now := c.now()
	type one struct {
		fingerprint  string
		leaf, issuer *x509.Certificate
	}
	var list []one
	c.mu.RLock()
	for fingerprint, t := range c.tracked {
		if _, gone := c.gone[fingerprint]; !gone && due(t, now) {
			list = append(list, one{fingerprint, t.leaf, t.issuer})
		}
	}
	c.mu.RUnlock()
	var mu sync.Mutex
	var failed error
	nobody := 0 // questions in a row that found nobody
	done := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			nobody = 0
			return
		case !errors.Is(err, ErrAnswer):
			nobody++
		}
		if failed == nil {
			failed = fmt.Errorf("ask about a certificate: %w", err)
		}
	}
	giveUp := func() bool { mu.Lock(); defer mu.Unlock(); return nobody >= giveUpAfter }
	gate := make(chan struct{}, askAtOnce)
	var all sync.WaitGroup
	for _, o := range list {
		gate <- struct{}{}
		if giveUp() || ctx.Err() != nil {
			break // the others are due still
		}
		all.Go(func() {
			defer func() { <-gate }()
			answer, err := c.question(ctx, o.leaf, o.issuer)
			done(c.keep(o.fingerprint, o.leaf, answer, err))
		})
	}
	all.Wait()
	return failed
}

// keep stores what came of a question, and says what was wrong with it. An answer of
// before takes no newer one's place, but what it revokes is revoked.
func (c *Checker) keep(fingerprint string, leaf *x509.Certificate, answer *Answer, err error) error {
	now := c.now()
	if err == nil && answer.Standing == status.Gone {
		c.note(fingerprint, &revokedError{answer.Reason, true, leaf})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tracked[fingerprint]
	if t != nil {
		t.asked = now
		if err == nil && t.answer != nil && answer.ThisUpdate.Before(t.answer.ThisUpdate) {
			err = fmt.Errorf("%w: it is older than the one in place", ErrAnswer)
		}
	}
	if err != nil {
		c.troubled = err
		return err
	}
	c.answered, c.troubled = now, nil
	if t != nil {
		t.answer = answer
	}
	return nil
}

// question asks about one certificate.
func (c *Checker) question(ctx context.Context, leaf, issuer *x509.Certificate) (*Answer, error) {
	url, chosen := c.settings.Responder, true
	if url == FromCertificate {
		i := slices.IndexFunc(leaf.OCSPServer, IsURL)
		if i < 0 {
			return nil, fmt.Errorf("%w: the certificate names no responder that can be asked", ErrAnswer)
		}
		url, chosen = leaf.OCSPServer[i], false
	}
	nonce := make([]byte, nonceLength)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	q, err := NewQuestion(leaf, issuer, nonce)
	if err != nil {
		return nil, err
	}
	body, err := q.DER()
	if err != nil {
		return nil, err
	}
	data, err := c.fetch(ctx, Request{URL: url, Body: body, Limit: MaxAnswer, Chosen: chosen})
	if err != nil {
		return nil, err
	}
	answer, err := ReadAnswer(data, q, c.settings.NeedNonce, c.now())
	if err != nil {
		return nil, err
	}
	return answer, c.responderStands(answer, issuer)
}

// responderStands makes sure that a responder is not revoked itself (RFC 6960 section
// 4.2.2.2.1): its issuer said that it need not be checked, or a list says that it is not.
func (c *Checker) responderStands(a *Answer, issuer *x509.Certificate) error {
	if a.Responder == nil {
		return nil
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	err := c.listed(a.Responder, issuer, false, c.now())
	if errors.Is(err, ErrRevoked) || err != nil && !a.NoCheck {
		return fmt.Errorf("%w: its responder is revoked, or that is not known", ErrAnswer)
	}
	return nil
}
