package view

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/trust"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Device is all there is to say about one device: why it is or is not trusted and
// what to do, its identity and its certificates.
type Device struct {
	DeviceID      string            `json:"device_id"`
	Name          string            `json:"name,omitempty"`
	Owner         string            `json:"owner,omitempty"`
	Labels        map[string]string `json:"labels"`
	Sensitive     bool              `json:"sensitive"`
	State         string            `json:"state"`
	StateReason   string            `json:"state_reason,omitempty"`
	StateBy       string            `json:"state_by,omitempty"`
	StateAt       db.Micros         `json:"state_at"`
	Held          bool              `json:"held,omitempty"`
	HeldReason    string            `json:"held_reason,omitempty"`
	KeyCode       string            `json:"key_code"`
	EnrollmentID  string            `json:"enrollment_id"`
	EnrolledAt    db.Micros         `json:"enrolled_at"`
	AgentVersion  string            `json:"agent_version,omitempty"`
	PolicyVersion int64             `json:"policy_version"`
	RootVersion   int64             `json:"root_version"`
	FirstUse      bool              `json:"first_use"`
	Facts         map[string]string `json:"facts"` // self-reported
	Counter       int64             `json:"counter"`
	SeenAt        db.Micros         `json:"seen_at,omitzero"`
	Trust         trust.Stored      `json:"trust"`
	Certificates  []pki.Certificate `json:"certificates"` // the newest first
	Source        string            `json:"enrolled_from"`
	Attestation   *Attestation      `json:"attestation,omitempty"`
	Identity      *IdentityRequest  `json:"identity_request,omitempty"` // another key that it asks for, or was given and did not use yet
}

// DevicePage reads all about a device, or device.ErrUnknown. A verdict that has
// run out a moment ago is shown as decided anew at now, not as it was.
func DevicePage(ctx context.Context, q bun.IDB, id string, now time.Time) (*Device, error) {
	d, err := device.Get(ctx, q, id)
	if err != nil {
		return nil, err
	}
	p := &Device{
		DeviceID: d.DeviceID, Name: d.Name, Owner: d.Owner, Sensitive: d.Sensitive,
		State: string(d.State), StateReason: d.StateReason, StateBy: d.StateBy, StateAt: d.StateAt, Held: d.HeldReason != "", HeldReason: d.HeldReason,
		KeyCode: d.KeyCode, EnrollmentID: d.EnrollmentID, EnrolledAt: d.EnrolledAt,
		AgentVersion: d.AgentVersion, PolicyVersion: d.PolicyVersion, RootVersion: d.RootVersion, FirstUse: d.FirstUse,
		Facts: textMap(d.Facts),
	}
	if p.Labels, err = device.Labels(ctx, q, id); err != nil {
		return nil, err
	}
	c, err := device.GetCounter(ctx, q, id)
	if err != nil {
		return nil, err
	}
	p.Counter, p.SeenAt = c.Counter, c.SeenAt
	if p.Certificates, err = pki.OfDevice(ctx, q, id); err != nil {
		return nil, err
	}
	e, err := enroll.Get(ctx, q, d.EnrollmentID)
	if err != nil {
		return nil, err
	}
	p.Source = e.Source
	if p.Identity, err = openIdentity(ctx, q, id, now); err != nil {
		return nil, err
	}
	if p.Attestation, err = AttestationOf(ctx, q, id, now); err != nil {
		return nil, err
	}
	if p.Trust, err = trust.Get(ctx, q, id); err != nil && !errors.Is(err, trust.ErrUnknown) {
		return nil, err
	}
	if until := p.Trust.HoldsUntil; !until.IsZero() && !now.Before(until) {
		p.Trust.Verdict = trust.Untrusted
		p.Trust.Reasons = append([]trust.Reason{{Code: "lapsed", Weight: trust.Against, Text: "the verdict ran out at " + until.Format(time.RFC3339),
			Advice: "it is decided again within a minute"}}, p.Trust.Reasons...)
	}
	return p, nil
}

// Review is an enrollment that waits, with exactly what is approved.
type Review struct {
	EnrollmentID string            `json:"enrollment_id"`
	DeviceID     string            `json:"device_id"`
	State        string            `json:"state"`
	KeyCode      string            `json:"key_code"`
	Digest       string            `json:"digest,omitempty"` // what a decision must name
	Name         string            `json:"name,omitempty"`
	Owner        string            `json:"owner,omitempty"`
	Labels       map[string]string `json:"labels"`
	Sensitive    bool              `json:"sensitive"`
	Facts        map[string]string `json:"facts"` // self-reported
	Source       string            `json:"source"`
	TokenID      string            `json:"token_id,omitempty"`    // none of a certificate that another authority issued
	Authority    string            `json:"authority,omitempty"`   // fingerprint of that authority
	Certificate  string            `json:"certificate,omitempty"` // and of the certificate
	Reason       string            `json:"reason,omitempty"`
	CreatedAt    db.Micros         `json:"created_at"`
	ExpiresAt    db.Micros         `json:"expires_at"`
	DecidedAt    db.Micros         `json:"decided_at,omitzero"`
	Rivals       int               `json:"rivals,omitempty"` // others that wait for the same device_id
}

type reviewRow struct {
	enroll.Enrollment `bun:",extend"`
	Digest            string `bun:"digest"`
	Action            []byte `bun:"action"`
	Rivals            int    `bun:"rivals"`
}

// ErrCursor says that a page's marker was not made by Reviews.
var ErrCursor = errors.New("the page marker is not valid")

// Reviews reads a page of enrollments in a state ("" for all), the oldest first,
// and where the next one begins. The order is the server's own: an enrollment's id
// is chosen by its device, which could so hide behind all the others.
func Reviews(ctx context.Context, q bun.IDB, state string, limit int, after string) (list []Review, next string, err error) {
	limit = clamp(limit)
	var rows []reviewRow
	sel := selectReviews(q).OrderExpr("e.created_at, e.id").Limit(int64(limit + 1))
	if state != "" {
		sel = sel.Where("e.state = ?", state)
	}
	if after != "" {
		at, id, err := parseCursor(after)
		if err != nil {
			return nil, "", err
		}
		sel = sel.Where("(e.created_at > ? OR e.created_at = ? AND e.id > ?)", at, at, id)
	}
	if err := sel.Scan(ctx, &rows); err != nil {
		return nil, "", err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next = fmt.Sprintf("%d.%s", int64(rows[limit-1].CreatedAt), rows[limit-1].ID)
	}
	for i := range rows {
		list = append(list, rows[i].review())
	}
	return list, next, nil
}

func parseCursor(s string) (db.Micros, string, error) {
	at, id, ok := strings.Cut(s, ".")
	n, err := strconv.ParseInt(at, 10, 64)
	if !ok || err != nil || protocol.CheckID(id) != nil {
		return 0, "", ErrCursor
	}
	return db.Micros(n), id, nil
}

func selectReviews(q bun.IDB) *bun.SelectQuery {
	return q.NewSelect().TableExpr("enrollments AS e").ColumnExpr("e.*, a.digest, a.action").
		ColumnExpr("(SELECT COUNT(*) FROM enrollments AS r WHERE r.device_id = e.device_id AND r.state = 'pending' AND r.id <> e.id) AS rivals").
		Join("LEFT JOIN approvals AS a ON a.id = e.approval_id")
}

// ReviewOf reads one enrollment, or enroll.ErrUnknown.
func ReviewOf(ctx context.Context, q bun.IDB, id string) (*Review, error) {
	var row reviewRow
	err := selectReviews(q).Where("e.id = ?", id).Scan(ctx, &row)
	if errors.Is(err, db.ErrNotFound) {
		return nil, enroll.ErrUnknown
	}
	if err != nil {
		return nil, err
	}
	r := row.review()
	return &r, nil
}

func (r *reviewRow) review() Review {
	v := Review{
		EnrollmentID: r.ID, DeviceID: r.DeviceID, State: string(r.State), KeyCode: r.KeyCode, Digest: r.Digest,
		Labels: map[string]string{}, Facts: textMap(r.Facts), Source: r.Source, TokenID: r.TokenID, Reason: r.Reason,
		CreatedAt: r.CreatedAt, ExpiresAt: r.ExpiresAt, DecidedAt: r.DecidedAt, Rivals: r.Rivals,
	}
	// What is shown is read from the very bytes that are approved.
	var action enroll.Action
	if len(r.Action) > 0 && approval.Digest(r.Action) == r.Digest && json.Unmarshal(r.Action, &action) == nil {
		v.DeviceID, v.KeyCode = action.DeviceID, action.KeyCode
		v.Name, v.Owner, v.Sensitive = action.Name, action.Owner, action.Sensitive
		if action.Authority != "" {
			v.Authority, v.Certificate = action.Authority, action.CSRDigest
		}
		if action.Labels != nil {
			v.Labels = action.Labels
		}
	}
	return v
}

func textMap(data string) map[string]string {
	m := map[string]string{}
	_ = json.Unmarshal([]byte(data), &m) // written as an object of text; anything else shows as nothing
	return m
}
