package attest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/tpm"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

const (
	requestTimeout = 45 * time.Second
	startWithin    = 10 * time.Second // devices that start together do not ask together
	failFirst      = time.Minute
	longest        = time.Hour // between two tries
	againLeast     = 30 * time.Second
	againMost      = 24 * time.Hour
)

// errChanged ends a round: evidence about one certificate, brought under another, would
// look like a forgery.
var errChanged = errors.New("the device shows another certificate now")

// Server is who is asked.
type Server interface {
	Post(ctx context.Context, path string, body []byte, answer any) error
}

// Options are what an Attester works with. All are needed.
type Options struct {
	TPM    *tpm.TPM
	State  func() (journal.State, error)
	Server Server
	Shown  func() *identity.Identity // what the connection shows
	Random func() float64            // in [0, 1), for jitter
	Log    *slog.Logger
}

// Attester brings evidence, again and again.
type Attester struct {
	Options
	kick chan struct{}

	failures int    // in a row; of Run's goroutine
	told     string // what was logged last

	mu       sync.Mutex
	attested string // fingerprint of the certificate that evidence was brought under last
}

// New makes an attester. Run must run.
func New(o Options) *Attester { return &Attester{Options: o, kick: make(chan struct{}, 1)} }

// Run brings evidence until ctx is done, and returns nil then.
func (a *Attester) Run(ctx context.Context) error {
	wait := time.Duration(a.Random() * float64(startWithin))
	for {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-a.kick:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		wait = a.Round(ctx)
	}
}

// Round brings evidence once. It returns how long to wait for the next time.
func (a *Attester) Round(ctx context.Context) time.Duration {
	result, err := a.Once(ctx)
	if ctx.Err() != nil {
		return 0
	}
	if err != nil {
		return a.failed(ctx, err)
	}
	a.failures = 0
	again := min(max(time.Duration(result.AgainSeconds)*time.Second, againLeast), againMost)
	said := words(result.Reasons)
	a.Log.Log(ctx, a.news(slog.LevelInfo, fmt.Sprint(result.Verdict, result.HardwareBound, said)), "the TPM's evidence was judged",
		"verdict", string(result.Verdict), "hardware_bound", result.HardwareBound, "reasons", said)
	return again - time.Duration(a.Random()*float64(again/10)) // earlier, so that it does not run out
}

// Once brings evidence, and returns what the server thinks of it.
func (a *Attester) Once(ctx context.Context) (*protocol.AttestationResult, error) {
	s, err := a.State()
	if err != nil {
		return nil, err
	}
	id := a.Shown()
	claim := &protocol.AttestationClaim{Protocol: protocol.Version, DeviceID: s.DeviceID, EnrollmentID: s.EnrollmentID}
	if claim.Endorsement, claim.Key, err = a.TPM.Claim(); err != nil {
		return nil, err
	}
	var challenge protocol.AttestationChallenge
	if err := a.post(ctx, protocol.PathAttestationChallenge, claim, &challenge); err != nil {
		return nil, err
	}
	if err := challenge.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", link.ErrBadAnswer, err)
	}
	about := tpm.About{DeviceID: s.DeviceID, PublicKey: id.Leaf.RawSubjectPublicKeyInfo}
	if own, ok := id.Key.(*tpm.Key); ok && own.On(a.TPM) {
		about.Key = own
	}
	evidence, err := a.TPM.Evidence(&challenge, about)
	if err != nil {
		return nil, err
	}
	if a.Shown() != id { // the challenge may be for the one before
		return nil, errChanged
	}
	evidence.Protocol, evidence.DeviceID, evidence.EnrollmentID = protocol.Version, s.DeviceID, s.EnrollmentID
	var result protocol.AttestationResult
	if err := a.post(ctx, protocol.PathAttestationEvidence, evidence, &result); err != nil {
		return nil, err
	}
	if err := result.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", link.ErrBadAnswer, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.attested = certs.Fingerprint(id.Leaf.Raw)
	return &result, nil
}

func (a *Attester) post(ctx context.Context, path string, message, answer any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, fmt.Errorf("%w within %s", link.ErrNoAnswer, requestTimeout))
	defer cancel()
	return a.Server.Post(ctx, path, body, answer)
}

// soon are the refusals that another challenge mends.
var soon = map[protocol.Code]bool{
	protocol.CodeChallengeUnknown: true, protocol.CodeChallengeUsed: true, protocol.CodeChallengeExpired: true, protocol.CodeChallengeForeign: true,
}

// failed is how long to wait after a round that came to nothing. A server that takes no
// evidence is asked now and then: it may take some tomorrow.
func (a *Attester) failed(ctx context.Context, err error) time.Duration {
	a.failures++
	wait := min(failFirst<<min(a.failures-1, 10), longest)
	level := slog.LevelWarn
	var retryAfter time.Duration
	if refusal, ok := errors.AsType[*link.RefusalError](err); ok {
		retryAfter = refusal.RetryAfter
		switch code := refusal.Problem.Code; {
		case code == protocol.CodeAttestationOff:
			wait, level = longest, slog.LevelInfo
		case !soon[code] && link.React(err) != link.BackOff:
			wait = longest
		}
	}
	if errors.Is(err, tpm.ErrNone) || errors.Is(err, tpm.ErrNoCertificate) {
		wait = longest
	}
	a.Log.Log(ctx, a.news(level, err.Error()), "no evidence of the TPM was brought", "error", err.Error())
	return max(wait-time.Duration(a.Random()*float64(wait/5)), retryAfter)
}

// news is the level at which something is logged: what is the same as before is none.
func (a *Attester) news(level slog.Level, text string) slog.Level {
	if text == a.told {
		return slog.LevelDebug
	}
	a.told = text
	return level
}

func words(reasons []protocol.AttestationReason) string {
	texts := make([]string, len(reasons))
	for i, r := range reasons {
		texts[i] = r.Text
	}
	return strings.Join(texts, "; ")
}

// Before adds nothing to a heartbeat. It is part of link.Party.
func (a *Attester) Before(context.Context, *protocol.Heartbeat) error { return nil }

// After asks for a round when another certificate was accepted than the one that
// evidence was brought under. It is part of link.Party.
func (a *Attester) After(context.Context, *protocol.HeartbeatAnswer) error {
	shown := certs.Fingerprint(a.Shown().Leaf.Raw)
	a.mu.Lock()
	other := a.attested != "" && a.attested != shown
	if other {
		a.attested = "" // asked for once
	}
	a.mu.Unlock()
	if other {
		select {
		case a.kick <- struct{}{}:
		default: // it is asked for already
		}
	}
	return nil
}

// Refused is part of link.Party.
func (a *Attester) Refused(context.Context, protocol.Code) {}
