package view

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// ApprovalFilter chooses requests. Empty members choose all.
type ApprovalFilter struct {
	State   string
	Waiting bool           // those whose time is not over and that wait, for votes or for their delay to end
	Mine    bool           // and of these, those that For may still decide on
	Subject string         // subject_id
	For     approval.Voter // who looks
	Limit   int            // 1 to 500; 0 takes 50
	After   string         // the next of the page before
}

// Approval is an act that waits, or waited, for people, with exactly what is
// approved.
type Approval struct {
	ID         string            `json:"id"`
	Kind       string            `json:"kind"`
	Title      string            `json:"title"`
	SubjectID  string            `json:"subject_id"`
	DeviceID   string            `json:"device_id,omitempty"`
	Requester  string            `json:"requester"`
	Reason     string            `json:"reason,omitempty"` // of whoever asked
	State      string            `json:"state"`
	CreatedAt  db.Micros         `json:"created_at"`
	ExpiresAt  db.Micros         `json:"expires_at"`
	DueAt      db.Micros         `json:"due_at,omitzero"` // when what was approved takes effect
	ClosedAt   db.Micros         `json:"closed_at,omitzero"`
	Permission string            `json:"permission"` // what a vote takes
	Needs      int               `json:"needs"`      // people
	Have       []string          `json:"have"`       // persons whose approval counts
	Votes      []approval.Ballot `json:"votes"`
	Digest     string            `json:"digest"`            // what a decision must name
	Action     []byte            `json:"action"`            // the exact bytes
	Fields     []ApprovalField   `json:"fields"`            // the same for people, read from those bytes
	MayVote    bool              `json:"may_vote"`          // whoever looks may approve it now
	MayReject  bool              `json:"may_reject"`        // or reject, or cancel it
	WhyNot     string            `json:"why_not,omitempty"` // why it is not theirs to approve
}

// ApprovalField is one member of the action.
type ApprovalField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Approvals reads a page of requests, the oldest first, and where the next one
// begins.
func Approvals(ctx context.Context, q bun.IDB, f ApprovalFilter, now time.Time) (list []Approval, next string, err error) {
	limit := clamp(f.Limit)
	var rows []approval.Request
	sel := q.NewSelect().Model(&rows).OrderExpr("created_at, id").Limit(int64(limit + 1))
	if f.State != "" {
		sel = sel.Where("state = ?", f.State)
	}
	if f.Subject != "" {
		sel = sel.Where("subject_id = ?", f.Subject)
	}
	if f.Waiting || f.Mine {
		sel = sel.Where("(state = 'open' AND expires_at > ? OR state = 'approved')", db.At(now))
	}
	if f.Mine {
		mine := approval.VotedBy(f.For.May)
		if len(mine) == 0 {
			return nil, "", nil
		}
		sel = sel.Where("kind IN (?) AND state = 'open' AND requester <> ? AND excluded <> ?", bun.List(mine), f.For.Person, f.For.Person).
			Where("NOT EXISTS (SELECT 1 FROM approval_votes AS v WHERE v.approval_id = approvals.id AND (v.person = ? OR v.account_id = ?))", f.For.Person, f.For.AccountID)
	}
	if f.After != "" {
		at, id, err := parseCursor(f.After)
		if err != nil {
			return nil, "", err
		}
		sel = sel.Where("(created_at > ? OR created_at = ? AND id > ?)", at, at, id)
	}
	if err := sel.Scan(ctx); err != nil {
		return nil, "", err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next = fmt.Sprintf("%d.%s", int64(rows[limit-1].CreatedAt), rows[limit-1].ID)
	}
	list, err = shown(ctx, q, rows, f.For, now)
	return list, next, err
}

// ApprovalOf reads one request, or approval.ErrUnknown.
func ApprovalOf(ctx context.Context, q bun.IDB, id string, who approval.Voter, now time.Time) (*Approval, error) {
	r, err := approval.Get(ctx, q, id)
	if err != nil {
		return nil, err
	}
	list, err := shown(ctx, q, []approval.Request{*r}, who, now)
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

func shown(ctx context.Context, q bun.IDB, rows []approval.Request, who approval.Voter, now time.Time) ([]Approval, error) {
	ids := make([]string, len(rows))
	for i := range rows {
		ids[i] = rows[i].ID
	}
	votes, err := approval.Votes(ctx, q, ids...)
	if err != nil {
		return nil, err
	}
	list := make([]Approval, len(rows))
	for i := range rows {
		list[i] = approvalView(&rows[i], votes[rows[i].ID], who, now)
	}
	return list, nil
}

func approvalView(r *approval.Request, votes []approval.Ballot, who approval.Voter, now time.Time) Approval {
	about, _ := r.Kind.About()
	v := Approval{
		ID: r.ID, Kind: string(r.Kind), Title: about.Title, SubjectID: r.SubjectID, Requester: r.Requester, Reason: r.Reason, State: string(r.Live(now)),
		CreatedAt: r.CreatedAt, ExpiresAt: r.ExpiresAt, DueAt: r.DueAt, ClosedAt: r.ClosedAt,
		Permission: string(about.Vote), Needs: r.Required, Have: []string{}, Votes: append([]approval.Ballot{}, votes...),
		Digest: r.Digest, Action: r.Action, Fields: Fields(r.Action),
	}
	for _, c := range votes {
		if c.Approve && c.StruckAt == 0 {
			v.Have = append(v.Have, c.Person)
		}
	}
	for _, f := range v.Fields {
		if f.Name == "device_id" {
			v.DeviceID = f.Value
		}
	}
	err := r.MayVote(who, votes, true, now)
	v.MayVote, v.MayReject = err == nil, r.MayVote(who, votes, false, now) == nil
	if err != nil {
		v.WhyNot = err.Error()
	}
	return v
}

// Fields bounds what is shown of an action. Whoever needs all of it has the bytes.
const (
	maxFields = 100
	maxField  = 1000 // bytes
)

// Fields tells an action to people: its members by name, those within others as
// outer.inner. Members that do not fit are counted.
func Fields(action []byte) []ApprovalField {
	var v any
	d := json.NewDecoder(strings.NewReader(string(action)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return []ApprovalField{}
	}
	fields := flatten([]ApprovalField{}, "", v)
	if more := len(fields) - maxFields; more > 0 {
		fields = append(fields[:maxFields], ApprovalField{"and more", strconv.Itoa(more) + " members are in the exact bytes only"})
	}
	return fields
}

func flatten(out []ApprovalField, name string, v any) []ApprovalField {
	inner := func(part string) string {
		if name == "" {
			return part
		}
		return name + "." + part
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = flatten(out, inner(k), v[k])
		}
	case []any:
		for i, x := range v {
			out = flatten(out, inner(strconv.Itoa(i+1)), x)
		}
	case nil:
	default:
		text := fmt.Sprint(v)
		if len(text) > maxField {
			text = strings.ToValidUTF8(text[:maxField], "") + "…"
		}
		out = append(out, ApprovalField{name, text})
	}
	return out
}
