package admin

import (
	"context"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Reseal seals the secret of every code generator anew that stands under another
// secret key than the one in force, and says how many those were. It is idempotent.
func (s *Service) Reseal(ctx context.Context, tx db.Tx) (int, error) {
	rows, err := totpsNotUnder(ctx, tx, s.settings.Ring.KeyID())
	if err != nil {
		return 0, err
	}
	for _, row := range rows {
		secret, err := s.settings.Ring.Open(row.KEKID, totpPurpose, row.AccountID, row.Sealed)
		if err != nil {
			return 0, err
		}
		kek, sealed, err := s.settings.Ring.Seal(totpPurpose, row.AccountID, secret)
		clear(secret)
		if err != nil {
			return 0, err
		}
		if err := resealTOTP(ctx, tx, row.AccountID, row.KEKID, kek, sealed); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}
