package adminapi

import (
	"context"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/attestation"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// empty is a fleet in which nothing is found: enough to see who gets as far as
// asking.
type empty struct{}

func (empty) Devices(context.Context, view.DeviceFilter) ([]view.DeviceRow, string, error) {
	return nil, "", nil
}
func (empty) Device(context.Context, string) (*view.Device, error) { return nil, admin.ErrNotFound }
func (empty) Revoke(context.Context, authz.By, string, string) error {
	return admin.ErrNotFound
}
func (empty) Suspend(context.Context, authz.By, string, string) error { return admin.ErrNotFound }
func (empty) Resume(context.Context, authz.By, string, string) (*approval.Request, error) {
	return nil, admin.ErrNotFound
}
func (empty) Resync(context.Context, authz.By, string, string) (*approval.Request, error) {
	return nil, admin.ErrNotFound
}
func (empty) ResetFactors(context.Context, authz.By, string, string) (*approval.Request, error) {
	return nil, admin.ErrNotFound
}

func (empty) Reviews(context.Context, string, int, string) ([]view.Review, string, error) {
	return nil, "", nil
}
func (empty) ReviewOf(context.Context, string) (*view.Review, error) { return nil, admin.ErrNotFound }
func (empty) Review(context.Context, authz.By, string, flow.Decision) (protocol.EnrollState, error) {
	return "", admin.ErrNotFound
}

func (empty) IdentityRequests(context.Context, string, int, string) ([]view.IdentityRequest, string, error) {
	return nil, "", nil
}
func (empty) IdentityReview(context.Context, authz.By, string, flow.Decision) (identity.State, error) {
	return "", admin.ErrNotFound
}

func (empty) Tokens(context.Context, int) ([]enroll.Token, error) { return nil, nil }
func (empty) CreateToken(context.Context, authz.By, enroll.NewToken) (*enroll.Token, string, error) {
	return nil, "", admin.ErrNotFound
}
func (empty) RevokeToken(context.Context, authz.By, string, string) error { return admin.ErrNotFound }
func (empty) Window(context.Context) (*enroll.Window, error)              { return nil, nil }
func (empty) OpenWindow(context.Context, authz.By, time.Duration, string) (*enroll.Window, error) {
	return nil, admin.ErrNotFound
}
func (empty) CloseWindow(context.Context, authz.By, string) error { return admin.ErrNotFound }

func (empty) Commands(context.Context, view.CommandFilter) ([]view.CommandRow, string, error) {
	return nil, "", nil
}
func (empty) Command(context.Context, string) (*view.Command, error) { return nil, admin.ErrNotFound }
func (empty) CommandTargets(context.Context, string, string, int, string) ([]view.CommandTarget, string, error) {
	return nil, "", nil
}
func (empty) SendCommand(context.Context, authz.By, flow.CommandAsk, bool) (*flow.CommandPlan, error) {
	return nil, admin.ErrNotFound
}
func (empty) CancelCommand(context.Context, authz.By, string, string) (flow.Withdrawal, error) {
	return flow.Withdrawal{}, admin.ErrNotFound
}
func (empty) ReviewCommand(context.Context, authz.By, string, flow.Decision) (command.State, error) {
	return "", admin.ErrNotFound
}

func (empty) Approvals(context.Context, view.ApprovalFilter) ([]view.Approval, string, error) {
	return nil, "", nil
}
func (empty) Approval(context.Context, string, approval.Voter) (*view.Approval, error) {
	return nil, admin.ErrNotFound
}
func (empty) Decide(context.Context, authz.By, string, flow.Decision) (approval.State, error) {
	return "", admin.ErrNotFound
}

func (empty) PublishBundle(context.Context, authz.By, []byte) (*policy.Document, error) {
	return nil, admin.ErrNotFound
}
func (empty) Bundles(context.Context, int64, int) ([]policy.Document, int64, error) {
	return nil, 0, nil
}
func (empty) Bundle(context.Context, int64) (*policy.Document, error) {
	return nil, admin.ErrNotFound
}

func (empty) Attestation(context.Context, string) (*view.Attestation, error) {
	return nil, admin.ErrNotFound
}
func (empty) Baselines(context.Context, int) ([]view.Baseline, error) { return nil, nil }
func (empty) ProposeBaseline(context.Context, authz.By, attestation.Proposal) (*flow.ProposedBaseline, error) {
	return nil, admin.ErrNotFound
}
func (empty) RetireBaseline(context.Context, authz.By, string, string) error {
	return admin.ErrNotFound
}
func (empty) ForgetTPM(context.Context, authz.By, string, string) (*approval.Request, error) {
	return nil, admin.ErrNotFound
}

func (empty) Issuing(context.Context) (*flow.Issuing, error) { return &flow.Issuing{}, nil }
func (empty) RevocationLists(context.Context) ([]RevocationList, error) {
	return []RevocationList{}, nil
}
func (empty) StopIssuing(context.Context, authz.By, string) error { return admin.ErrNotFound }
func (empty) AskToStart(context.Context, authz.By, string) (*flow.StartRequest, error) {
	return nil, admin.ErrNotFound
}
