package flow

import (
	"context"
	"errors"
	"fmt"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/failpoint"
)

// ErrReason says that an act was asked for without a reason.
var ErrReason = errors.New("a reason is needed")

// Revoke ends a device and all its certificates for good. It is in force when the
// transaction commits, for every node and every open connection, and journalled
// outside the database before it is acknowledged. Revoking again journals again.
func (f *Flow) Revoke(ctx context.Context, by authz.By, deviceID, reason string) error {
	if reason == "" {
		return ErrReason
	}
	err := f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		if err := revoke(ctx, tx, by.Actor, deviceID, reason); err != nil {
			return err
		}
		return f.voidDevice(ctx, tx, deviceID)
	})
	if err != nil && !errors.Is(err, device.ErrAlready) {
		return err
	}
	f.pki.Changed()
	failpoint.Here("revoke.before-journal")
	defer failpoint.Here("revoke.after-journal")
	if err := f.journal.Add(device.Revocation{DeviceID: deviceID, At: f.d.Now(), By: by.ID, Reason: reason}); err != nil {
		return fmt.Errorf("the device is revoked, but the journal of revocations could not be written; revoke it again: %w", err)
	}
	return nil
}

func revoke(ctx context.Context, tx db.Tx, who audit.Actor, deviceID, reason string) error {
	d, err := device.Revoke(ctx, tx, deviceID, who.ID, reason)
	if err != nil {
		return err
	}
	if err := pki.Revoke(ctx, tx, deviceID, reason); err != nil {
		return err
	}
	if err := withdrawOpen(ctx, tx, who, deviceID, "", "the device was revoked"); err != nil {
		return err
	}
	if err := command.EndDeviceTargets(ctx, tx, deviceID); err != nil {
		return err
	}
	if err := retrust(ctx, tx, d.DeviceID); err != nil {
		return err
	}
	failpoint.Here("revoke.before-audit")
	return audit.Write(ctx, tx, who, audit.Entry{Action: audit.CertRevoke, ObjectKind: "device", ObjectID: deviceID, Reason: reason})
}

// Suspend stops a device until it is resumed.
func (f *Flow) Suspend(ctx context.Context, by authz.By, deviceID, reason string) error {
	if reason == "" {
		return ErrReason
	}
	defer failpoint.Here("act.after-commit")
	return f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		d, err := device.Suspend(ctx, tx, deviceID, by.ID, reason)
		if err != nil {
			return err
		}
		if err := f.voidDevice(ctx, tx, deviceID); err != nil {
			return err
		}
		if err := retrust(ctx, tx, d.DeviceID); err != nil {
			return err
		}
		failpoint.Here("act.before-audit")
		return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.DeviceSuspend, ObjectKind: "device", ObjectID: deviceID, Reason: reason})
	})
}
