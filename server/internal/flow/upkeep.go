package flow

import (
	"context"
	"errors"
	"fmt"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/trust"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// upkeepBatch bounds one round, so that a long list does not hold the others up.
const upkeepBatch = 500

var upkeep = audit.Actor{Kind: audit.System, ID: "upkeep"}

// Reevaluate decides anew about devices whose verdict has run out. Several nodes
// may do it at once: the same facts give the same verdict.
func (f *Flow) Reevaluate(ctx context.Context) error {
	ids, err := trust.Lapsed(ctx, f.d.Read(), db.At(f.d.Now()), upkeepBatch)
	if err != nil {
		return err
	}
	var failed []error // one row that errs does not hold the others up
	for _, id := range ids {
		if err := f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error { return retrust(ctx, tx, id) }); err != nil {
			failed = append(failed, fmt.Errorf("device %s: %w", id, err))
		}
	}
	return errors.Join(failed...)
}

// ExpireEnrollments writes down that the time of enrollments is over. They are
// refused from that time on, whether it is written or not.
func (f *Flow) ExpireEnrollments(ctx context.Context) error {
	overdue, err := enroll.Overdue(ctx, f.d.Read(), db.At(f.d.Now()), upkeepBatch)
	if err != nil {
		return err
	}
	for _, e := range overdue {
		err := f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
			if err := enroll.Move(ctx, tx, e.ID, e.State, protocol.EnrollExpired, "nobody decided in time, or the device did not come back"); err != nil {
				return err
			}
			if e.State == protocol.EnrollPending && e.ApprovalID != "" {
				if err := approval.Close(ctx, tx, e.ApprovalID, approval.Expired); err != nil {
					return err
				}
			}
			return audit.Write(ctx, tx, upkeep, audit.Entry{Action: audit.EnrollExpire, ObjectKind: "device", ObjectID: e.DeviceID,
				Details: map[string]string{"enrollment": e.ID}})
		})
		if err != nil && !errors.Is(err, db.ErrConflict) { // a conflict: another node was faster
			return err
		}
	}
	return nil
}

// RaiseMark lets this node remember how far the database has come.
func (f *Flow) RaiseMark(ctx context.Context) error { return f.outside.Raise(ctx, f.d) }
