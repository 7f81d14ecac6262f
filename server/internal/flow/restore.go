package flow

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
)

// Restored is what MarkRestored did.
type Restored struct {
	Epoch   string   `json:"epoch"`
	Revoked []string `json:"revoked"` // devices that the backup had brought back
	Unknown []string `json:"unknown"` // in the journal, but not in this database
}

// MarkRestored says that the database came from a backup: it begins a new epoch,
// which voids everything one-time from before, and revokes again whatever the
// journals of revocations say. Captured heartbeats of the old epoch are worth
// nothing; devices go on by themselves. Sessions end with the epoch.
func MarkRestored(ctx context.Context, d *db.DB, outside *db.Outside, by authz.By, journal []device.Revocation) (Restored, error) {
	remembered, err := outside.Load()
	if err != nil {
		return Restored{}, err
	}
	var in db.Instance
	var done Restored
	err = d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		done = Restored{Revoked: []string{}, Unknown: []string{}}
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		if err := device.EndEpoch(ctx, tx); err != nil {
			return err
		}
		var err error
		if in, err = tx.NewEpoch(ctx, remembered.Mark); err != nil {
			return err
		}
		if remembered.FleetID != "" && remembered.FleetID != in.FleetID {
			return db.ErrOtherFleet
		}
		done.Epoch = in.Epoch
		if err := enroll.VoidAll(ctx, tx, by.ID); err != nil {
			return err
		}
		if err := approval.VoidAll(ctx, tx); err != nil {
			return err
		}
		if err := command.EndAll(ctx, tx, by.ID); err != nil {
			return err
		}
		if err := voidIdentities(ctx, tx); err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, r := range journal {
			if seen[r.DeviceID] {
				continue
			}
			seen[r.DeviceID] = true
			switch err := revoke(ctx, tx, by.Actor, r.DeviceID, r.Reason); {
			case err == nil:
				done.Revoked = append(done.Revoked, r.DeviceID)
			case errors.Is(err, device.ErrUnknown):
				done.Unknown = append(done.Unknown, r.DeviceID)
			case !errors.Is(err, device.ErrAlready):
				return fmt.Errorf("revoke %s again: %w", r.DeviceID, err)
			}
		}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.Restore, ObjectKind: "database", ObjectID: in.FleetID,
			Details: map[string]string{"epoch": in.Epoch, "revoked_again": strconv.Itoa(len(done.Revoked))}})
	})
	if err != nil {
		return done, err
	}
	return done, outside.Remember(in)
}
