package flow

import (
	"context"
	"strconv"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// documents puts into an answer what is newer than the device says it has. A device
// that says nothing is sent nothing. The newest bundle supersedes those before it,
// and is sent once the device has, with this answer, every root that it may need.
func documents(fleet *policy.Fleet, h *protocol.Heartbeat, answer *protocol.HeartbeatAnswer) {
	newest := fleet.Root.Root.Version
	has := h.RootVersion
	if has > 0 && has < newest {
		to := min(has+protocol.MaxDocuments, newest)
		answer.FleetRoots = fleet.RootEnvelopes[has:to] // version n stands at n-1
		has = to
	}
	if h.PolicyVersion > 0 && h.PolicyVersion < fleet.Bundle.Version && has >= newest {
		answer.PolicyBundles = append(answer.PolicyBundles, fleet.BundleBytes)
	}
}

// PublishBundle installs what the fleet's owner signed. It is in force for this
// node when it returns, and for the others within two seconds.
func (f *Flow) PublishBundle(ctx context.Context, by authz.By, envelope []byte) (*policy.Document, error) {
	var doc *policy.Document
	err := f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		var err error
		if doc, err = policy.Publish(ctx, tx, envelope); err != nil {
			return err
		}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.PolicyPublish, ObjectKind: "policy-bundle", ObjectID: strconv.FormatInt(doc.Version, 10),
			Details: map[string]string{"digest": doc.Digest}})
	})
	if err != nil {
		return nil, err
	}
	f.wakeCommands() // what could not be signed may be now
	return doc, f.policy.Load(ctx)
}
