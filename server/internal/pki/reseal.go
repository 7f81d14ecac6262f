package pki

import (
	"context"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Reseal seals every authority's key anew that stands under another secret key than
// the one in force, and says how many those were. It is idempotent; once it found
// none, the key of before opens nothing any more.
func (s *Service) Reseal(ctx context.Context, tx db.Tx) (int, error) {
	rows, err := authorities(ctx, tx)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, row := range rows {
		if row.KEKID == s.ring.KeyID() || row.KEKID == external || row.State == Outside { // of those that are not ours there is no key
			continue
		}
		der, err := s.ring.Open(row.KEKID, sealPurpose, row.ID, row.SealedKey)
		if err != nil {
			return 0, err
		}
		kek, sealed, err := s.ring.Seal(sealPurpose, row.ID, der)
		clear(der)
		if err != nil {
			return 0, err
		}
		if err := resealAuthority(ctx, tx, row.ID, row.KEKID, kek, sealed); err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}
