package enroll

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/version"
)

const (
	// unheard is a nonce that no server gave: it is answered with one that is good.
	unheard = "none"
	// reviewPause is how long to wait where an earlier review of the same key is open.
	reviewPause = 30 * time.Second
)

// introduce shows the server the certificate of another authority, with a heartbeat. The
// first one opens a review; none is accepted before a person has let the certificate in,
// so that its counter is not used up. What it comes to is polled for, as after any other
// request.
func (e *enrollment) introduce(ctx context.Context) error {
	for {
		nonce, err := e.show(ctx)
		if err != nil {
			return err
		}
		if nonce != "" {
			if err := e.remember(func(s *journal.State) { s.Submitted, s.PollNonce = true, nonce }); err != nil {
				return err
			}
			e.askForReview()
			return nil
		}
		if err := e.pause(ctx, reviewPause); err != nil {
			return err
		}
	}
}

// show sends one heartbeat, and returns the nonce to poll with, "" to come again.
func (e *enrollment) show(ctx context.Context) (nonce string, err error) {
	now := e.Now()
	body, err := json.Marshal(protocol.Heartbeat{
		Protocol: protocol.Version, DeviceID: e.state.DeviceID, EnrollmentID: e.state.EnrollmentID, Counter: 1,
		Epoch: journal.NewID(now), BootID: journal.NewID(now), // an epoch of nobody's: never accepted
		AgentVersion: version.String(), FirstUse: e.state.WantRoot == "", Facts: link.Tidy(e.Facts),
	})
	if err != nil {
		return "", fmt.Errorf("write a heartbeat: %w", err)
	}
	var answer protocol.HeartbeatAnswer
	err = e.insist(ctx, func(ctx context.Context) error {
		return e.client.Post(ctx, protocol.PathHeartbeat, body, &answer)
	})
	refusal, ok := errors.AsType[*link.RefusalError](err)
	switch {
	case err == nil:
		return "", fmt.Errorf("%w: it accepts what it cannot", link.ErrBadAnswer)
	case !ok:
		return "", err
	}
	switch refusal.Problem.Code {
	case protocol.CodeReviewPending:
		return refusal.Problem.Nonce, nil
	case protocol.CodeEpochChanged: // it was let in while this was stopped
		return unheard, nil
	}
	return "", err
}
