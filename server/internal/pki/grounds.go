package pki

import (
	"context"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Wish is a certificate that a device is to be given for a key.
type Wish struct {
	DeviceID  string
	KeyDigest string // as in Certificate
}

// Grounds are what certificates that are about to be recorded are judged by, as it
// stands in the transaction that records them.
type Grounds struct {
	Stopped error    // ErrStopped while issuing is stopped
	Issuing []string // ids of the authorities that issue
	Given   []Given  // one a wish, in their order
}

// Given is what a wish meets in the inventory.
type Given struct {
	Count     int       // certificates that the device was given in a time
	First     db.Micros // when the first of these was
	Certified bool      // the key was certified before, for whomever
}

// All of it is asked at once: in a batch of renewals a statement of its own for each
// would cost more than their answers. What is counted is never looked for by EXISTS or
// by min alone, for either of which PostgreSQL thinks of two plans.
const groundsOfAll = `(SELECT count(*) FROM certificates AS c WHERE c.key_digest = l.key_digest AND c.key_digest <> ''),
  (SELECT COALESCE(string_agg(id, ' '), '') FROM authorities WHERE state = 'active')`

var grounds = db.NewListedOn(`
SELECT g.count, g.first, `+groundsOfAll+`, (SELECT stop_id FROM issuing WHERE id = 1 FOR SHARE)
FROM %s
CROSS JOIN LATERAL (SELECT count(*) AS count, COALESCE(min(c.issued_at), 0) AS first FROM certificates AS c WHERE c.device_id = l.device_id AND c.issued_at > $3::bigint) AS g
ORDER BY l.n`, `
SELECT (SELECT count(*) FROM certificates AS c WHERE c.device_id = l.device_id AND c.issued_at > ?2),
  (SELECT COALESCE(min(c.issued_at), 0) FROM certificates AS c WHERE c.device_id = l.device_id AND c.issued_at > ?2),
  `+groundsOfAll+`, (SELECT stop_id FROM issuing WHERE id = 1)
FROM %s
ORDER BY l.n`, db.Text("device_id"), db.Text("key_digest"))

// Ground asks what wishes are judged by, with what their devices were given since a
// time. It holds the switch that stops issuing until the transaction ends, as
// MayIssue does.
func Ground(ctx context.Context, tx db.Tx, since db.Micros, wishes ...Wish) (g Grounds, err error) {
	devices, keys := make(db.Texts, len(wishes)), make(db.Texts, len(wishes))
	for i, w := range wishes {
		devices[i], keys[i] = w.DeviceID, w.KeyDigest
	}
	rows, err := grounds.Rows(ctx, tx, db.Lists{devices, keys}, since.Int())
	if err != nil {
		return g, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var given Given
		var issuing, stop string
		var certified int
		if err := rows.Scan(&given.Count, &given.First, &certified, &issuing, &stop); err != nil {
			return g, err
		}
		given.Certified = certified > 0
		if stop != "" {
			g.Stopped = ErrStopped
		}
		g.Issuing, g.Given = strings.Fields(issuing), append(g.Given, given)
	}
	return g, rows.Err()
}
