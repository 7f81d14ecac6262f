package enroll

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

const (
	requestTimeout = 2 * time.Minute // retries within it included
	leastPoll      = time.Second
	mostPoll       = 5 * time.Minute
	backOffFirst   = time.Second
	backOffCap     = 2 * time.Minute
	maxStale       = 3 // nonces in a row that are refused as stale
)

// submit sends the request until the server has it. Sent again it is the same
// request, since ids and key are.
func (e *enrollment) submit(ctx context.Context) error {
	if e.state.Submitted {
		e.askForReview()
		return nil
	}
	if e.state.Outside {
		return e.introduce(ctx)
	}
	csr, err := certs.NewRequest(e.state.DeviceID, e.key)
	if err != nil {
		return err
	}
	body, err := json.Marshal(protocol.EnrollRequest{
		Protocol: protocol.Version, EnrollmentID: e.state.EnrollmentID, DeviceID: e.state.DeviceID,
		Token: e.Token, CSR: csr, Facts: e.Facts,
	})
	if err != nil {
		return fmt.Errorf("write the request: %w", err)
	}
	var answer protocol.EnrollAnswer
	if err := e.insist(ctx, func(ctx context.Context) error {
		return e.client.Post(ctx, protocol.PathEnroll, body, &answer)
	}); err != nil {
		return err
	}
	switch {
	case answer.EnrollmentID != e.state.EnrollmentID || answer.Nonce == "" || len(answer.Nonce) > protocol.MaxOpaque:
		return fmt.Errorf("%w: it is about another enrollment", link.ErrBadAnswer)
	case answer.KeyCode != e.code:
		return fmt.Errorf("%w: the server holds another key for this enrollment", ErrNotOurs)
	}
	if err := e.remember(func(s *journal.State) { s.Submitted, s.PollNonce = true, answer.Nonce }); err != nil {
		return err
	}
	e.askForReview()
	return e.pause(ctx, pollWait(answer.PollAfterSeconds, e.Random()))
}

func (e *enrollment) askForReview() {
	e.tellf("Key code: %s", e.code)
	e.tellf("Read this code to the reviewer, who needs it to let this device in.")
	e.tellf("Waiting for the decision (until %s). You may stop this and run it again later.", e.until.UTC().Format("2006-01-02 15:04 UTC"))
}

// await polls until the enrollment is issued or over.
func (e *enrollment) await(ctx context.Context) (*protocol.EnrollResult, error) {
	for {
		result, err := e.poll(ctx)
		if err != nil {
			return nil, err
		}
		switch result.State {
		case protocol.EnrollIssued:
			return result, nil
		case protocol.EnrollPending, protocol.EnrollApproved:
		case protocol.EnrollRejected:
			return nil, &RefusedError{Reason: "rejected by the reviewer" + reason(result.Reason)}
		case protocol.EnrollExpired:
			return nil, &RefusedError{Reason: "nobody approved it in time" + reason(result.Reason)}
		default:
			return nil, fmt.Errorf("%w: a state of enrollment that is not known here", link.ErrBadAnswer)
		}
		if err := e.pause(ctx, pollWait(result.PollAfterSeconds, e.Random())); err != nil {
			return nil, err
		}
	}
}

func reason(text string) string {
	if text == "" || protocol.CheckText("reason", text, 512) != nil {
		return ""
	}
	return ": " + text
}

// poll asks once, a few times more when its nonce had gone stale.
func (e *enrollment) poll(ctx context.Context) (*protocol.EnrollResult, error) {
	for range maxStale {
		var result protocol.EnrollResult
		err := e.insist(ctx, func(ctx context.Context) error {
			body, err := e.signedPoll(ctx)
			if err != nil {
				return err
			}
			return e.client.Post(ctx, protocol.EnrollPollPath(e.state.EnrollmentID), body, &result)
		})
		fresh := result.Nonce
		var refusal *link.RefusalError
		stale := errors.As(err, &refusal) && refusal.Problem.Code == protocol.CodeNonceStale
		if stale {
			fresh = refusal.Problem.Nonce
		} else if err != nil {
			return nil, err
		}
		if len(fresh) > protocol.MaxOpaque || !stale && result.EnrollmentID != e.state.EnrollmentID {
			return nil, fmt.Errorf("%w: it is about another enrollment", link.ErrBadAnswer)
		}
		if fresh != "" {
			if err := e.remember(func(s *journal.State) { s.PollNonce = fresh }); err != nil {
				return nil, err
			}
		}
		if !stale {
			return &result, nil
		}
	}
	return nil, fmt.Errorf("%w: it calls every nonce stale, its own too", link.ErrBadAnswer)
}

// signedPoll proves possession of the key, and tells the server which CA this
// device sees.
func (e *enrollment) signedPoll(ctx context.Context) ([]byte, error) {
	signer, err := signing.NewSigner(signing.PurposeEnrollPoll, e.key)
	if err != nil {
		return nil, err
	}
	payload, err := json.Marshal(protocol.EnrollPoll{
		EnrollmentID: e.state.EnrollmentID, Nonce: e.state.PollNonce, CAFingerprint: certs.Fingerprint(e.state.ServerCA),
	})
	if err != nil {
		return nil, fmt.Errorf("write a poll: %w", err)
	}
	env, err := signing.Seal(ctx, signing.PurposeEnrollPoll, payload, signer)
	if err != nil {
		return nil, err
	}
	return env.Marshal()
}

// insist repeats a request that got no answer, or was asked to come later, with
// growing waits until the time is up.
func (e *enrollment) insist(ctx context.Context, request func(context.Context) error) error {
	told := false
	for failures := 0; ; failures++ {
		attempt, cancel := context.WithTimeoutCause(ctx, requestTimeout, fmt.Errorf("%w within %s", link.ErrNoAnswer, requestTimeout))
		err := request(attempt)
		cancel()
		var refusal *link.RefusalError
		isRefusal := errors.As(err, &refusal)
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case isRefusal && refusal.Problem.Code != "" && !later[refusal.Problem.Code]:
			return err
		case !isRefusal && !errors.Is(err, link.ErrNoAnswer):
			return err
		}
		if !told {
			e.tellf("No luck yet (%v); trying on.", err)
			told = true
		}
		wait := time.Duration(e.Random() * float64(min(backOffFirst<<min(failures, 16), backOffCap)))
		if isRefusal {
			wait += refusal.RetryAfter
		}
		if paused := e.pause(ctx, wait); paused != nil {
			return errors.Join(paused, err)
		}
	}
}

// pause waits, unless the decision would not be waited for that long.
func (e *enrollment) pause(ctx context.Context, d time.Duration) error {
	if e.Now().Add(d).After(e.until) {
		if !e.state.Submitted {
			return fmt.Errorf("%w within %s", ErrUnsent, e.Wait)
		}
		return fmt.Errorf("%w within %s", ErrPending, e.Wait)
	}
	return e.Sleep(ctx, d)
}

// pollWait is what the server asked for, within bounds and up to a fifth longer,
// so that devices which were approved together do not come back together.
func pollWait(seconds int, random float64) time.Duration {
	d := time.Duration(min(max(seconds, 0), int(mostPoll/time.Second))) * time.Second
	d = max(d, leastPoll)
	return d + time.Duration(random*float64(d/5))
}

func (e *enrollment) remember(change func(*journal.State)) error {
	if err := e.journal.Update(change); err != nil {
		return err
	}
	change(&e.state)
	return nil
}
