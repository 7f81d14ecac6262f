package simtest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Person does what an operator may do. Whether a person may is tested elsewhere:
// here everyone of People may do everything.
type Person struct {
	n  *Node
	by authz.By
}

// Person is one of People at this node.
func (n *Node) Person(name string) Person {
	who := audit.Actor{Kind: audit.Person, ID: name, Source: "192.0.2.1"}
	return Person{n, authz.NewBy(who, name, name, func(context.Context, db.Tx) error { return nil })}
}

// EnrollToken makes an enrollment token for so many devices, and returns its id and its secret.
func (p Person) EnrollToken(ctx context.Context, uses int64, life time.Duration) (id, secret string, err error) {
	t, secret, err := p.n.core.Enroll.CreateToken(ctx, p.by, enroll.NewToken{Uses: uses, Life: life})
	if err != nil {
		return "", "", err
	}
	return t.ID, secret, nil
}

// RevokeToken ends an enrollment token.
func (p Person) RevokeToken(ctx context.Context, id string) error {
	return p.n.core.Enroll.RevokeToken(ctx, p.by, id, "simulated")
}

// OpenWindow lets devices in without a review.
func (p Person) OpenWindow(ctx context.Context, d time.Duration) error {
	_, err := p.n.core.Enroll.OpenWindow(ctx, p.by, d, "simulated")
	return err
}

// CloseWindow ends that.
func (p Person) CloseWindow(ctx context.Context) error {
	return p.n.core.Enroll.CloseWindow(ctx, p.by, "simulated")
}

// Review decides about an enrollment, as it is shown.
func (p Person) Review(ctx context.Context, enrollmentID string, approve bool) error {
	list, _, err := view.Reviews(ctx, p.n.core.DB.Read(), "", 500, "")
	if err != nil {
		return err
	}
	for _, r := range list {
		if r.EnrollmentID == enrollmentID {
			_, err := p.n.core.Flow.Review(ctx, p.by, enrollmentID, flow.Decision{Approve: approve, Digest: r.Digest, Reason: "simulated"})
			return err
		}
	}
	return errors.New("nothing is shown")
}

// ReviewIdentity decides about the key that a device asks a certificate for, as it
// is shown. What was approved and not fetched is taken back by a decision against it.
func (p Person) ReviewIdentity(ctx context.Context, deviceID string, approve bool) error {
	for _, state := range []identity.State{identity.Pending, identity.Approved} {
		list, _, err := view.IdentityRequests(ctx, p.n.core.DB.Read(), string(state), 500, "", p.n.core.DB.Now())
		if err != nil {
			return err
		}
		for _, r := range list {
			if r.DeviceID == deviceID {
				_, err := p.n.core.Flow.IdentityReview(ctx, p.by, deviceID, flow.Decision{Approve: approve, Digest: r.Digest, Reason: "simulated"})
				return err
			}
		}
	}
	return errors.New("nothing is shown")
}

// Revoke ends a device for good.
func (p Person) Revoke(ctx context.Context, deviceID string) error {
	return p.n.core.Flow.Revoke(ctx, p.by, deviceID, "simulated")
}

// Suspend stops a device.
func (p Person) Suspend(ctx context.Context, deviceID string) error {
	return p.n.core.Flow.Suspend(ctx, p.by, deviceID, "simulated")
}

// Resume asks that a suspension ends, and has another of People agree.
func (p Person) Resume(ctx context.Context, deviceID string) error {
	return p.agreed(ctx)(p.n.core.Flow.Resume(ctx, p.by, deviceID, "simulated"))
}

// Resync asks that a hold ends, and has another of People agree.
func (p Person) Resync(ctx context.Context, deviceID string) error {
	return p.agreed(ctx)(p.n.core.Flow.Resync(ctx, p.by, deviceID, "simulated"))
}

// agreed has the first of People who did not ask agree to what was asked.
func (p Person) agreed(ctx context.Context) func(r *approval.Request, err error) error {
	return func(r *approval.Request, err error) error {
		if err != nil {
			return err
		}
		other := slices.IndexFunc(People, func(name string) bool { return name != r.Requester })
		_, err = p.n.core.Flow.Decide(ctx, p.n.Person(People[other]).by, r.ID, flow.Decision{Approve: true, Digest: r.Digest, Reason: "simulated"})
		return err
	}
}

// SendCommand asks for a command for devices, and returns its id.
func (p Person) SendCommand(ctx context.Context, kind string, parameters map[string]signing.Parameter, life time.Duration, devices ...string) (string, error) {
	plan, err := p.n.core.Flow.SendCommand(ctx, p.by, flow.CommandAsk{Kind: kind, Parameters: parameters, DeviceIDs: devices, Life: life, Reason: "simulated"}, false)
	if err != nil {
		return "", err
	}
	return plan.Command.ID, nil
}

// ReviewCommand decides about a command, as it is shown.
func (p Person) ReviewCommand(ctx context.Context, id, digest string, approve bool) error {
	_, err := p.n.core.Flow.ReviewCommand(ctx, p.by, id, flow.Decision{Approve: approve, Digest: digest, Reason: "simulated"})
	return err
}

// CancelCommand takes a command back.
func (p Person) CancelCommand(ctx context.Context, id string) error {
	_, err := p.n.core.Flow.CancelCommand(ctx, p.by, id, "simulated")
	return err
}

// Publish installs a policy bundle.
func (p Person) Publish(ctx context.Context, envelope []byte) error {
	_, err := p.n.core.Flow.PublishBundle(ctx, p.by, envelope)
	return err
}
