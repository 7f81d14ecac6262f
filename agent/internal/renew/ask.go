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
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/failpoint"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// ask sends the request over the connection that the certificate in use proves.
func (r *Renewer) ask(ctx context.Context, s *journal.State, id *identity.Identity) (time.Duration, error) {
	next, body, err := r.signed(ctx, s, id)
	if err != nil || body == nil {
		return 0, err
	}
	var answer protocol.RenewAnswer
	if err := r.post(ctx, protocol.PathRenew, body, &answer); err != nil {
		return r.refused(ctx, err)
	}
	asked := s.Enrolled.Renewal
	if answer.RequestID != asked.RequestID {
		return 0, fmt.Errorf("%w: it is about another request", link.ErrBadAnswer)
	}
	switch answer.State {
	case protocol.EnrollIssued:
		return r.accept(ctx, s, next, answer.Certificates, answer.FleetRoots, nil)
	case protocol.EnrollPending, protocol.EnrollApproved:
		r.well()
		return r.hold(bounded(answer.RetryAfterSeconds, pendingLeast)), nil
	case protocol.EnrollRejected, protocol.EnrollExpired:
		return r.startAfresh(ctx, string(answer.State), answer.Reason, afresh)
	}
	return 0, fmt.Errorf("%w: a state of renewal that is not known here", link.ErrBadAnswer)
}

// signed is the request under both keys. Without the new key the request cannot go
// on: it is dropped, and nothing comes back.
func (r *Renewer) signed(ctx context.Context, s *journal.State, id *identity.Identity) (next crypto.Signer, body []byte, err error) {
	asked := s.Enrolled.Renewal
	next, err = r.Disk.LoadKey(s.Enrolled.Slot.Other())
	if errors.Is(err, identity.ErrNoKey) || errors.Is(err, identity.ErrBadKey) {
		return nil, nil, r.drop()
	}
	if err != nil {
		return nil, nil, err
	}
	env, err := signing.SignRenewal(ctx, signing.Renewal{
		RequestID: asked.RequestID, DeviceID: s.DeviceID, EnrollmentID: s.EnrollmentID,
		Current: certs.Fingerprint(id.Leaf.Raw), CSR: asked.CSR, Recovery: asked.Recovery,
	}, id.Key, next)
	if err != nil {
		return nil, nil, err
	}
	body, err = env.Marshal()
	return next, body, err
}

// accept verifies what was issued and shows it to the server from now on.
func (r *Renewer) accept(ctx context.Context, s *journal.State, key crypto.Signer, chain [][]byte, roots, bundles []json.RawMessage) (time.Duration, error) {
	if err := r.Keeper.Take(ctx, roots, bundles); err != nil {
		return 0, err
	}
	p := r.Keeper.Pins()
	issuers, err := p.DeviceCAs()
	if err != nil {
		return 0, err
	}
	leaf, err := identity.Judge(chain, identity.Expected{
		DeviceID: s.DeviceID, Key: key, Issuers: issuers, TrustDomain: p.Root.Root.TrustDomain, Now: r.Now(),
	})
	switch {
	case errors.Is(err, identity.ErrForeign):
		return r.startAfresh(ctx, "certificate-foreign", err.Error(), afresh)
	case err != nil: // a clock may be put right
		return 0, err
	}
	if err := r.Disk.StoreChain(s.Enrolled.Slot.Other(), chain); err != nil {
		return 0, err
	}
	failpoint.Here("renew.chain-stored")
	if err := r.Disk.Update(func(s *journal.State) { s.Enrolled.Renewal.Tried = true }); err != nil {
		return 0, err
	}
	failpoint.Here("renew.tried")
	r.Log.InfoContext(ctx, "a new certificate was issued; trying it", "valid_until", leaf.NotAfter.UTC())
	r.well()
	r.tell("")
	r.Changed()
	return longest, nil
}

// startAfresh gives up this request. The next one is another, and comes slowly.
func (r *Renewer) startAfresh(ctx context.Context, reason, text string, after time.Duration) (time.Duration, error) {
	if protocol.CheckText("reason", text, 512) != nil {
		text = ""
	}
	r.Log.WarnContext(ctx, "no certificate came of the request; another one is made later", "reason", reason, "text", text)
	if err := r.drop(); err != nil {
		return 0, err
	}
	r.tell("renewal-" + reason)
	return r.hold(after), nil
}

// final are the codes after which this request cannot succeed any more.
var final = map[protocol.Code]bool{
	protocol.CodeRenewalInvalid: true, protocol.CodeEnrollUnknown: true, protocol.CodeEnrollConflict: true,
	protocol.CodeCSRMalformed: true, protocol.CodeCSRSignature: true, protocol.CodeWeakKey: true,
	protocol.CodeWrongName: true, protocol.CodeExtraNames: true,
}

// closed are the codes that end every way back.
var closed = map[protocol.Code]bool{
	protocol.CodeRecoveryLate: true, protocol.CodeDeviceRevoked: true, protocol.CodeDeviceGone: true, protocol.CodeDeviceUnknown: true,
}

// refused is what follows a request that brought no answer of its own.
func (r *Renewer) refused(ctx context.Context, err error) (time.Duration, error) {
	refusal, ok := errors.AsType[*link.RefusalError](err)
	if !ok || link.React(err) == link.BackOff {
		return 0, err
	}
	s, stateErr := r.Disk.State()
	if stateErr != nil {
		return 0, stateErr
	}
	c := refusal.Problem.Code
	recovery := s.Enrolled.Renewal != nil && s.Enrolled.Renewal.Recovery
	switch {
	case recovery && closed[c]:
		return longest, r.close(ctx, c)
	case final[c] && recovery:
		return r.startAfresh(ctx, code(c), refusal.Problem.Error(), afreshRecovery)
	case final[c]:
		return r.startAfresh(ctx, code(c), refusal.Problem.Error(), afresh)
	case c == protocol.CodeRenewalConflict && s.Enrolled.Renewal != nil && r.Now().Sub(s.Enrolled.Renewal.At).Abs() > onItsWay:
		// Its id or key belongs to a request of before, as on a disk that was put back:
		// the same one is refused for ever, and nothing stands against another.
		return r.startAfresh(ctx, code(c), refusal.Problem.Error(), failFirst)
	}
	r.Log.WarnContext(ctx, "the request for a certificate is refused for now", "code", string(c))
	r.tell(code(c))
	return r.retry(longest/2, refusal.RetryAfter), nil
}

// close writes down that there is no way back.
func (r *Renewer) close(ctx context.Context, c protocol.Code) error {
	r.Log.ErrorContext(ctx, "this device is not let in again", "code", string(c))
	now := r.Now().UTC().Truncate(time.Second)
	if err := r.Disk.Update(func(s *journal.State) { s.Enrolled.Closed = &journal.Refusal{At: now, Code: c} }); err != nil {
		return err
	}
	r.tell(code(c))
	return r.drop()
}

func (r *Renewer) post(ctx context.Context, path string, body []byte, answer any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, fmt.Errorf("%w within %s", link.ErrNoAnswer, requestTimeout))
	defer cancel()
	return r.Server.Post(ctx, path, body, answer)
}

// well forgets failures.
func (r *Renewer) well() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = 0
}

// bounded is what the server asked to wait, within bounds.
func bounded(seconds int, least time.Duration) time.Duration {
	return max(time.Duration(min(max(seconds, 0), int(longest/time.Second)))*time.Second, least)
}

// code is a refusal's as a result may carry it.
func code(c protocol.Code) string {
	for i, b := range []byte(c) {
		inner := b == '-' && i > 0 && i < len(c)-1
		if !inner && (b < 'a' || b > 'z') {
			return "refused"
		}
	}
	if c == "" || len(c) > 48 {
		return "refused"
	}
	return string(c)
}
