package app

import (
	"context"
	"strconv"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Reseal seals everything in the database anew that stands under another secret key
// than SENTINEL_SECRET_KEY, and says how many things those were. After it
// SENTINEL_SECRET_KEY_PREVIOUS is not needed any more. Every node must know the new
// key by then.
func (c *Core) Reseal(ctx context.Context, by authz.By) (int, error) {
	n := 0
	err := c.DB.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		keys, err := c.PKI.Reseal(ctx, tx)
		if err != nil {
			return err
		}
		secrets, err := c.Admin.Reseal(ctx, tx)
		if n = keys + secrets; err != nil || n == 0 {
			return err
		}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.SecretKeyReseal, ObjectKind: "secret-key", ObjectID: c.Ring.KeyID(),
			Details: map[string]string{"authorities": strconv.Itoa(keys), "code generators": strconv.Itoa(secrets)}})
	})
	return n, err
}

// resealAlone does it at the start where no other node can be in need of the key of
// before: on SQLite.
func (c *Core) resealAlone(ctx context.Context) error {
	if c.DB.Dialect() != db.SQLite || c.Config.SecretKeyPrevious == "" {
		return nil
	}
	n, err := c.Reseal(ctx, authz.System("start"))
	if n > 0 {
		c.Log.InfoContext(ctx, "what stood under the secret key of before is sealed anew; SENTINEL_SECRET_KEY_PREVIOUS can be removed", "things", n)
	}
	return err
}
