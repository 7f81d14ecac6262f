package device

import (
	"context"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Revoke ends a device for good. Revoking again is ErrAlready.
func Revoke(ctx context.Context, tx db.Tx, id, by, reason string) (*Device, error) {
	return change(ctx, tx, id, Revoked, by, reason)
}

// Suspend stops a device until Resume.
func Suspend(ctx context.Context, tx db.Tx, id, by, reason string) (*Device, error) {
	return change(ctx, tx, id, Suspended, by, reason)
}

// Resume ends a suspension. A hold stays.
func Resume(ctx context.Context, tx db.Tx, id, by, reason string) (*Device, error) {
	return change(ctx, tx, id, Active, by, reason)
}

func change(ctx context.Context, tx db.Tx, id string, to State, by, reason string) (*Device, error) {
	d, err := Get(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	if d.State == to && to == Revoked {
		return d, ErrAlready
	}
	if err := Change(d.State, to); err != nil {
		return d, err
	}
	return d, setState(ctx, tx, d, to, by, reason)
}

// Hold stops an active device whose counter went back. The first reason stands:
// holding again is ErrAlready.
func Hold(ctx context.Context, tx db.Tx, id, reason string) (*Device, error) {
	d, err := Get(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	if d.HeldReason != "" || d.State.Final() {
		return d, ErrAlready
	}
	return d, setHeld(ctx, tx, d, reason)
}

// Resync ends a hold. The stored counter stays where it is. The device is told of
// it together with a fresh nonce, which only the holder of its key gets, and goes
// on above it: counters still only rise, and what was captured before is worth
// nothing.
func Resync(ctx context.Context, tx db.Tx, id string) (*Device, error) {
	d, err := Get(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	if d.State.Final() {
		return d, ErrFinal
	}
	if d.HeldReason == "" {
		return d, ErrNotHeld
	}
	if err := setHeld(ctx, tx, d, ""); err != nil {
		return d, err
	}
	return d, forgetEpoch(ctx, tx, id)
}
