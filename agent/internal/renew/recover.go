package renew

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// maxStale is how many nonces in a row may be stale.
const maxStale = 3

// recover asks to be let in again, and after the decision. After each start it
// sends the request anew: that is how it learns which CA the server has now, and
// the server takes it for the one that it has.
func (r *Renewer) recover(ctx context.Context, s *journal.State, id *identity.Identity) (time.Duration, error) {
	next, body, err := r.signed(ctx, s, id)
	if err != nil || body == nil {
		return 0, err
	}
	r.mu.Lock()
	submitted := r.submitted
	r.mu.Unlock()
	if !submitted {
		return r.submit(ctx, s, id, next, body)
	}
	result, err := r.poll(ctx, s, next)
	if err != nil {
		return r.refused(ctx, err)
	}
	switch result.State {
	case protocol.EnrollIssued:
		var bundles []json.RawMessage
		if len(result.PolicyBundle) > 0 {
			bundles = append(bundles, result.PolicyBundle)
		}
		return r.accept(ctx, s, next, result.Certificates, result.FleetRoots, bundles)
	case protocol.EnrollPending, protocol.EnrollApproved:
		r.well()
		return r.hold(bounded(result.PollAfterSeconds, pollLeast)), nil
	case protocol.EnrollRejected, protocol.EnrollExpired:
		return r.startAfresh(ctx, string(result.State), result.Reason, afreshRecovery)
	}
	return 0, fmt.Errorf("%w: a state of enrollment that is not known here", link.ErrBadAnswer)
}

func (r *Renewer) submit(ctx context.Context, s *journal.State, id *identity.Identity, key crypto.Signer, envelope []byte) (time.Duration, error) {
	asked := s.Enrolled.Renewal
	keyCode, err := certs.KeyCode(key.Public())
	if err != nil {
		return 0, err
	}
	body, err := json.Marshal(protocol.EnrollRequest{
		Protocol: protocol.Version, EnrollmentID: asked.RequestID, DeviceID: s.DeviceID, Facts: link.Tidy(r.Facts()),
		Recovery: envelope, Certificate: id.Leaf.Raw,
	})
	if err != nil {
		return 0, fmt.Errorf("write the request: %w", err)
	}
	var answer protocol.EnrollAnswer
	if err := r.post(ctx, protocol.PathEnroll, body, &answer); err != nil {
		return r.refused(ctx, err)
	}
	switch {
	case answer.EnrollmentID != asked.RequestID || answer.Nonce == "" || len(answer.Nonce) > protocol.MaxOpaque:
		return 0, fmt.Errorf("%w: it is about another request", link.ErrBadAnswer)
	case answer.KeyCode != keyCode:
		return 0, fmt.Errorf("%w: the server holds another key for this request", link.ErrBadAnswer)
	}
	if err := r.remember(answer.Nonce); err != nil {
		return 0, err
	}
	r.mu.Lock()
	r.submitted = true
	r.mu.Unlock()
	r.well()
	r.Log.WarnContext(ctx, "waiting for a reviewer to let this device in again; the key code is compared with the one in `sentinel-server device identity-requests`", "key_code", keyCode)
	return r.hold(bounded(answer.PollAfterSeconds, pendingLeast)), nil
}

// poll asks once, a few times more when its nonce had gone stale.
func (r *Renewer) poll(ctx context.Context, s *journal.State, key crypto.Signer) (*protocol.EnrollResult, error) {
	asked := *s.Enrolled.Renewal
	for range maxStale {
		body, err := r.signedPoll(ctx, &asked, key)
		if err != nil {
			return nil, err
		}
		var result protocol.EnrollResult
		err = r.post(ctx, protocol.EnrollPollPath(asked.RequestID), body, &result)
		fresh := result.Nonce
		refusal, _ := errors.AsType[*link.RefusalError](err)
		stale := refusal != nil && refusal.Problem.Code == protocol.CodeNonceStale
		switch {
		case stale:
			fresh = refusal.Problem.Nonce
		case err != nil:
			return nil, err
		case result.EnrollmentID != asked.RequestID:
			return nil, fmt.Errorf("%w: it is about another request", link.ErrBadAnswer)
		}
		if fresh != "" && len(fresh) <= protocol.MaxOpaque {
			asked.PollNonce = fresh
			if err := r.remember(fresh); err != nil {
				return nil, err
			}
		}
		if !stale {
			return &result, nil
		}
	}
	return nil, fmt.Errorf("%w: it calls every nonce stale, its own too", link.ErrBadAnswer)
}

func (r *Renewer) remember(nonce string) error {
	return r.Disk.Update(func(s *journal.State) {
		if asked := s.Enrolled.Renewal; asked != nil {
			asked.Submitted, asked.PollNonce = true, nonce
		}
	})
}

// signedPoll proves the new key, and tells the server which CA this device sees.
func (r *Renewer) signedPoll(ctx context.Context, asked *journal.Renewal, key crypto.Signer) ([]byte, error) {
	signer, err := signing.NewSigner(signing.PurposeEnrollPoll, key)
	if err != nil {
		return nil, err
	}
	payload, err := json.Marshal(protocol.EnrollPoll{
		EnrollmentID: asked.RequestID, Nonce: asked.PollNonce, CAFingerprint: r.Server.Issuer(),
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

// Waiting is how a request that waits for a person is shown: the key code that the
// reviewer compares. "" while none waits.
func Waiting(dir string, e *journal.Enrolled) (string, error) {
	if e.Renewal == nil || !e.Renewal.Recovery || e.Renewal.Tried {
		return "", nil
	}
	key, err := identity.LoadKeyIn(dir, e.Slot.Other())
	if err != nil {
		return "", err
	}
	return certs.KeyCode(key.Public())
}
