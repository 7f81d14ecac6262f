package db

import (
	"context"
	"errors"
	"fmt"

	"github.com/uptrace/bun"
)

// Instance is what is true of the database as a whole.
type Instance struct {
	bun.BaseModel `bun:"table:instance"`

	ID           int    `bun:"id,pk" json:"-"`
	FleetID      string `bun:"fleet_id" json:"fleet_id"`
	Profile      string `bun:"profile" json:"profile"`
	Epoch        string `bun:"epoch" json:"epoch"`
	Mark         int64  `bun:"mark" json:"mark"`
	BehindSince  Micros `bun:"behind_since" json:"behind_since,omitzero"`
	BehindReason string `bun:"behind_reason" json:"behind_reason,omitempty"`
	CreatedAt    Micros `bun:"created_at" json:"created_at"`
}

// ErrProfile says that a database made for a strict profile was opened in a
// looser one.
var ErrProfile = errors.New("the database was made for a stricter profile")

// profiles from loose to strict.
var profiles = map[string]int{"trial": 0, "staging": 1, "production": 2}

// MayBegin is ErrProfile where Begin would refuse the profile. It changes nothing and
// needs no schema, so that a looser server does not even migrate what it may not open.
func (d *DB) MayBegin(ctx context.Context, profile string) error {
	v, err := d.schemaVersion(ctx)
	if err != nil || v == 0 {
		return err
	}
	var stored string
	err = d.Read().NewSelect().Table("instance").Column("profile").Where("id = 1").Scan(ctx, &stored)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil && profiles[profile] < profiles[stored] {
		return looser(stored, profile)
	}
	return err
}

func looser(stored, profile string) error {
	return fmt.Errorf("%w: %s; set SENTINEL_PROFILE=%s, or use another database for %s", ErrProfile, stored, stored, profile)
}

// Begin reads the instance row, making it at the first start. A stricter
// profile than the stored one is recorded, a looser one refused: a database never
// loosens silently.
func (d *DB) Begin(ctx context.Context, profile string) (Instance, error) {
	rank, known := profiles[profile]
	if !known {
		return Instance{}, fmt.Errorf("no profile %q", profile)
	}
	var in Instance
	err := d.Write(ctx, func(ctx context.Context, tx Tx) error {
		fresh := Instance{ID: 1, FleetID: tx.NewID(), Profile: profile, Epoch: tx.NewID(), CreatedAt: tx.At()}
		if _, err := tx.NewInsert().Model(&fresh).On("CONFLICT (id) DO NOTHING").Exec(ctx); err != nil {
			return err
		}
		var err error
		if in, err = instance(ctx, tx); err != nil {
			return err
		}
		switch stored := profiles[in.Profile]; {
		case rank < stored:
			return looser(in.Profile, profile)
		case rank > stored:
			in.Profile = profile
			return One(tx.NewUpdate().Model(&in).Column("profile").WherePK().Exec(ctx))
		}
		return nil
	})
	return in, err
}

// Instance reads the instance row.
func (d *DB) Instance(ctx context.Context) (Instance, error) { return instance(ctx, d.Read()) }

func instance(ctx context.Context, q bun.IDB) (Instance, error) {
	var in Instance
	err := q.NewSelect().Model(&in).Where("id = 1").Scan(ctx)
	return in, err
}

// Instance reads the instance row inside a transaction.
func (tx Tx) Instance(ctx context.Context) (Instance, error) { return instance(ctx, tx) }

// Epoch is the restore epoch inside a transaction. One-time things of another
// epoch are void.
func (tx Tx) Epoch(ctx context.Context) (string, error) {
	var epoch string
	err := tx.NewSelect().Table("instance").Column("epoch").Where("id = 1").Scan(ctx, &epoch)
	return epoch, err
}

// SetBehind records proof that the database is older than what it once
// acknowledged. Readiness stays off until MarkRestored. The first proof stands.
func (tx Tx) SetBehind(ctx context.Context, reason string) error {
	_, err := tx.NewUpdate().Table("instance").Set("behind_since = ?", tx.At()).Set("behind_reason = ?", reason).
		Where("id = 1 AND behind_since = 0").Exec(ctx)
	return err
}

// NewEpoch voids everything one-time from before, after a restore. The mark rises
// above atLeast, so that files of before are not ahead.
func (tx Tx) NewEpoch(ctx context.Context, atLeast int64) (Instance, error) {
	in, err := instance(ctx, tx)
	if err != nil {
		return in, err
	}
	in.Epoch, in.Mark = tx.NewID(), max(in.Mark, atLeast)+1
	in.BehindSince, in.BehindReason = 0, ""
	return in, One(tx.NewUpdate().Model(&in).Column("epoch", "mark", "behind_since", "behind_reason").WherePK().Exec(ctx))
}
