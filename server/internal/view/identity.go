package view

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/identity"
)

// IdentityRequest is a device's wish for another key, with exactly what is
// approved where a person decides.
type IdentityRequest struct {
	RequestID   string    `json:"request_id"`
	DeviceID    string    `json:"device_id"`
	Name        string    `json:"name,omitempty"`
	Kind        string    `json:"kind"` // renewal, recovery, or outside: a certificate that another authority issued
	State       string    `json:"state"`
	KeyCode     string    `json:"key_code"`              // of the new key
	Digest      string    `json:"digest,omitempty"`      // what a decision must name
	SignedBy    string    `json:"signed_by"`             // fingerprint of the certificate whose key signed
	Lost        string    `json:"lost,omitempty"`        // fingerprint of the one that signed in its place, which a restore lost
	LostEnded   string    `json:"lost_ended,omitempty"`  // the record has that one as ended: superseded, or unused
	ExpiredAt   db.Micros `json:"certificate_ended"`     // its last second
	Authority   string    `json:"authority,omitempty"`   // of kind outside: fingerprint of who issued the certificate
	Certificate string    `json:"certificate,omitempty"` // and of the certificate
	Source      string    `json:"source"`
	Reason      string    `json:"reason,omitempty"`
	CreatedAt   db.Micros `json:"created_at"`
	ExpiresAt   db.Micros `json:"expires_at"`
}

type identityRow struct {
	identity.Request `bun:",extend"`
	Name             string    `bun:"name"`
	Digest           string    `bun:"digest"`
	Action           []byte    `bun:"action"`
	NotAfter         db.Micros `bun:"not_after"`
}

func selectIdentities(q bun.IDB) *bun.SelectQuery {
	return q.NewSelect().TableExpr("identity_requests AS r").
		ColumnExpr("r.id, r.device_id, r.kind, r.state, r.key_code, r.signed_by, r.lost, r.source, r.reason, r.created_at, r.expires_at").
		ColumnExpr("d.name, a.digest, a.action, x.not_after").
		Join("JOIN devices AS d ON d.device_id = r.device_id").
		Join("LEFT JOIN approvals AS a ON a.id = r.approval_id").
		Join("LEFT JOIN certificates AS x ON x.fingerprint = r.signed_by")
}

// IdentityRequests reads a page of requests in a state, in the order in which they
// were asked, and where the next one begins.
func IdentityRequests(ctx context.Context, q bun.IDB, state string, limit int, after string, now time.Time) (list []IdentityRequest, next string, err error) {
	limit = clamp(limit)
	var rows []identityRow
	sel := selectIdentities(q).Where("r.state = ?", state).OrderExpr("r.created_at, r.id").Limit(int64(limit + 1))
	if s := identity.State(state); s.Open() { // in the words of the index
		sel = sel.Where("r.state IN ('pending', 'approved', 'issued') AND r.expires_at > ?", db.At(now))
	}
	if after != "" {
		at, id, err := parseCursor(after)
		if err != nil {
			return nil, "", err
		}
		sel = sel.Where("(r.created_at > ? OR r.created_at = ? AND r.id > ?)", at, at, id)
	}
	if err := sel.Scan(ctx, &rows); err != nil {
		return nil, "", err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next = fmt.Sprintf("%d.%s", int64(rows[limit-1].CreatedAt), rows[limit-1].ID)
	}
	for i := range rows {
		list = append(list, rows[i].view())
	}
	return list, next, nil
}

// openIdentity is what a device asks for at this moment, or nil.
func openIdentity(ctx context.Context, q bun.IDB, deviceID string, now time.Time) (*IdentityRequest, error) {
	var row identityRow
	err := selectIdentities(q).Where("r.device_id = ? AND r.state IN ('pending', 'approved', 'issued') AND r.expires_at > ?", deviceID, db.At(now)).Scan(ctx, &row)
	if errors.Is(err, db.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v := row.view()
	return &v, nil
}

func (r *identityRow) view() IdentityRequest {
	v := IdentityRequest{
		RequestID: r.ID, DeviceID: r.DeviceID, Name: r.Name, Kind: string(r.Kind), State: string(r.State), KeyCode: r.KeyCode, Digest: r.Digest,
		SignedBy: r.SignedBy, Lost: r.Lost, ExpiredAt: r.NotAfter, Source: r.Source, Reason: r.Reason, CreatedAt: r.CreatedAt, ExpiresAt: r.ExpiresAt,
	}
	// What is shown is read from the very bytes that are approved.
	var action identity.Action
	if len(r.Action) > 0 && approval.Digest(r.Action) == r.Digest && json.Unmarshal(r.Action, &action) == nil {
		v.DeviceID, v.KeyCode, v.Kind, v.SignedBy = action.DeviceID, action.KeyCode, string(action.Kind), action.SignedBy
		v.Lost, v.LostEnded = action.Lost, action.LostEnded
		if action.Authority != "" {
			v.Authority, v.Certificate = action.Authority, action.CSRDigest
		}
	}
	return v
}
