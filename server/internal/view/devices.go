package view

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// DeviceFilter chooses devices. Empty members choose all.
type DeviceFilter struct {
	Text    string // in id, name or owner
	State   string
	Verdict string
	Label   string // key=value
	Version string // of the agent
	Limit   int    // 1 to 500; 0 takes 50
	After   string // device_id that the page before ended with
}

// DeviceRow is a device in a list.
type DeviceRow struct {
	DeviceID     string    `bun:"device_id" json:"device_id"`
	Name         string    `bun:"name" json:"name,omitempty"`
	Owner        string    `bun:"owner" json:"owner,omitempty"`
	State        string    `bun:"state" json:"state"`
	Held         bool      `bun:"held" json:"held,omitempty"`
	Verdict      string    `bun:"verdict" json:"verdict"`
	HoldsUntil   db.Micros `bun:"holds_until" json:"holds_until,omitzero"`
	AgentVersion string    `bun:"agent_version" json:"agent_version,omitempty"`
	SeenAt       db.Micros `bun:"seen_at" json:"seen_at,omitzero"`
	NotAfter     db.Micros `bun:"not_after" json:"certificate_not_after,omitzero"`
	EnrolledAt   db.Micros `bun:"enrolled_at" json:"enrolled_at"`
}

// ErrLabel says that a label filter is not key=value.
var ErrLabel = errors.New("a label is given as key=value")

// verdictAt is a device's verdict as it stands at a time: one that has run out
// is no verdict to rely on, as DevicePage says too.
const verdictAt = "CASE WHEN t.holds_until > 0 AND t.holds_until <= ? THEN 'untrusted' ELSE t.verdict END"

// Devices reads a page of devices by device_id, and where the next one begins.
func Devices(ctx context.Context, q bun.IDB, f DeviceFilter, now time.Time) (rows []DeviceRow, next string, err error) {
	limit := clamp(f.Limit)
	// What the registry itself can choose is cut to a page before anything is joined to
	// it; with a verdict, the verdicts' own index leads.
	chosen := q.NewSelect().TableExpr("devices AS d").ColumnExpr("d.*")
	if chosen, err = choose(chosen, f); err != nil {
		return nil, "", err
	}
	if f.Verdict == "" {
		chosen = chosen.OrderExpr("d.device_id").Limit(int64(limit + 1))
	}
	sel := q.NewSelect().TableExpr("(?) AS d", chosen).
		ColumnExpr("d.device_id, d.name, d.owner, d.state, d.held_reason <> '' AS held, d.agent_version, d.enrolled_at").
		ColumnExpr(verdictAt+" AS verdict", db.At(now)).
		ColumnExpr("t.holds_until, c.seen_at, x.not_after").
		Join("JOIN device_counters AS c ON c.device_id = d.device_id").
		Join("LEFT JOIN trust_verdicts AS t ON t.device_id = d.device_id").
		Join("LEFT JOIN certificates AS x ON x.fingerprint = c.fingerprint").
		OrderExpr("d.device_id").Limit(int64(limit + 1))
	switch f.Verdict { // as verdictAt says it, in words that the index answers
	case "":
	case "untrusted":
		sel = sel.Where("(t.verdict = 'untrusted' OR t.holds_until > 0 AND t.holds_until <= ?)", db.At(now))
	default:
		sel = sel.Where("t.verdict = ? AND (t.holds_until = 0 OR t.holds_until > ?)", f.Verdict, db.At(now))
	}
	if err := sel.Scan(ctx, &rows); err != nil {
		return nil, "", err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next = rows[limit-1].DeviceID
	}
	return rows, next, nil
}

// choose narrows devices by what the registry knows of them.
func choose(sel *bun.SelectQuery, f DeviceFilter) (*bun.SelectQuery, error) {
	if f.Text != "" {
		sel = sel.Where(`d.search_text LIKE ? ESCAPE '\'`, "%"+likeEscape.Replace(strings.ToLower(f.Text))+"%")
	}
	if f.State != "" {
		sel = sel.Where("d.state = ?", f.State)
	}
	if f.Version != "" {
		sel = sel.Where("d.agent_version = ?", f.Version)
	}
	if f.Label != "" {
		k, v, ok := strings.Cut(f.Label, "=")
		if !ok {
			return nil, ErrLabel
		}
		sel = sel.Where("EXISTS (SELECT 1 FROM device_labels AS l WHERE l.device_id = d.device_id AND l.key = ? AND l.value = ?)", k, v)
	}
	if f.After != "" {
		sel = sel.Where("d.device_id > ?", f.After)
	}
	return sel, nil
}

var likeEscape = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

func clamp(limit int) int {
	if limit <= 0 {
		return 50
	}
	return min(limit, 500)
}
