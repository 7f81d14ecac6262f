package view

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// CommandFilter chooses commands. Empty members choose all.
type CommandFilter struct {
	State  string
	Device string // device_id
	Kind   string
	Limit  int    // 1 to 500; 0 takes 50
	After  string // the next of the page before
}

// CommandRow is a command in a list.
type CommandRow struct {
	ID          string    `bun:"id" json:"id"`
	Kind        string    `bun:"kind" json:"kind"`
	State       string    `bun:"state" json:"state"`
	Ending      string    `bun:"ending" json:"ending,omitempty" doc:"Why it is brought to an end before its time."`
	Targets     int64     `bun:"targets" json:"targets"`
	Open        int64     `bun:"open" json:"open" doc:"Targets for which it has not ended."`
	Reason      string    `bun:"reason" json:"reason"`
	RequestedBy string    `bun:"requested_by" json:"requested_by" doc:"Person."`
	CreatedAt   db.Micros `bun:"created_at" json:"created_at"`
	NotAfter    db.Micros `bun:"not_after" json:"not_after"`
	ClosedAt    db.Micros `bun:"closed_at" json:"closed_at,omitzero"`
}

// Commands reads a page of commands, the newest first, and where the next begins.
func Commands(ctx context.Context, q bun.IDB, f CommandFilter) (rows []CommandRow, next string, err error) {
	limit := clamp(f.Limit)
	sel := q.NewSelect().TableExpr("commands AS c").
		ColumnExpr("c.id, c.kind, c.state, c.ending, c.targets, c.reason, c.requested_by, c.created_at, c.not_after, c.closed_at").
		ColumnExpr("(SELECT COUNT(*) FROM command_targets AS t WHERE t.command_id = c.id AND t.state IN ('queued', 'delivered', 'acknowledged')) AS open").
		OrderExpr("c.created_at DESC, c.id DESC").Limit(int64(limit + 1))
	if f.State != "" {
		sel = sel.Where("c.state = ?", f.State)
	}
	if f.Kind != "" {
		sel = sel.Where("c.kind = ?", f.Kind)
	}
	if f.Device != "" {
		sel = sel.Where("EXISTS (SELECT 1 FROM command_targets AS d WHERE d.command_id = c.id AND d.device_id = ?)", f.Device)
	}
	if f.After != "" {
		at, id, err := parseCursor(f.After)
		if err != nil {
			return nil, "", err
		}
		sel = sel.Where("(c.created_at < ? OR (c.created_at = ? AND c.id < ?))", at, at, id)
	}
	if err := sel.Scan(ctx, &rows); err != nil {
		return nil, "", err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next = fmt.Sprintf("%d.%s", int64(rows[limit-1].CreatedAt), rows[limit-1].ID)
	}
	return rows, next, nil
}

// Command is all there is to say about one command.
type Command struct {
	CommandRow

	Parameters    map[string]any  `json:"parameters"`
	Digest        string          `json:"digest" doc:"Of the statement: what a decision must name."`
	Statement     json.RawMessage `json:"statement" doc:"What is signed, and what devices read."`
	PolicyVersion int64           `json:"policy_version"`
	SignedBy      string          `json:"signed_by,omitempty" doc:"Id of the command key."`
	SignedAt      db.Micros       `json:"signed_at,omitzero"`
	EndedBy       string          `json:"ended_by,omitempty"`
	EndedReason   string          `json:"ended_reason,omitempty"`
	WaitsFor      string          `json:"waits_for,omitempty" doc:"What has to happen before it goes on."`
	Counts        map[string]int  `json:"counts" doc:"Targets by state."`
	FirstTargets  []CommandTarget `json:"first_targets"`
	NextTarget    string          `json:"next_target,omitempty" doc:"Where /targets goes on."`
}

// CommandPage reads all about a command with the first of its targets, or
// command.ErrUnknown.
func CommandPage(ctx context.Context, q bun.IDB, id string) (*Command, error) {
	c, err := command.Get(ctx, q, id)
	if err != nil {
		return nil, err
	}
	p := &Command{
		CommandRow: CommandRow{ID: c.ID, Kind: c.Kind, State: string(c.State), Ending: string(c.Ending), Targets: c.Targets, Reason: c.Reason,
			RequestedBy: c.RequestedBy, CreatedAt: c.CreatedAt, NotAfter: c.NotAfter, ClosedAt: c.ClosedAt},
		Digest: signing.Digest(c.Statement), SignedAt: c.SignedAt, EndedBy: c.EndedBy, EndedReason: c.EndedReason,
		Parameters: map[string]any{}, Counts: map[string]int{}, Statement: json.RawMessage("null"),
	}
	// What is shown is read from the very bytes that are signed.
	if s, err := signing.ReadCommand(c.Statement); err == nil {
		p.Statement, p.Kind, p.PolicyVersion = c.Statement, s.Kind, s.PolicyVersion
		for name, v := range s.Parameters {
			if v.Number != nil {
				p.Parameters[name] = *v.Number
			} else {
				p.Parameters[name] = *v.Text
			}
		}
	}
	if env, err := signing.ParseEnvelope(c.Envelope); err == nil {
		p.SignedBy = env.Signatures[0].KeyID
	}
	switch {
	case c.Ending != "":
	case c.State == command.Review:
		p.WaitsFor = "a second person: sentinel-server command approve " + c.ID
	case c.State == command.Unsigned:
		p.WaitsFor = "its signature"
	}
	var counts []struct {
		State string `bun:"state"`
		N     int    `bun:"n"`
	}
	if err := q.NewSelect().TableExpr("command_targets").ColumnExpr("state, COUNT(*) AS n").Where("command_id = ?", id).GroupExpr("state").Scan(ctx, &counts); err != nil {
		return nil, err
	}
	for _, n := range counts {
		p.Counts[n.State] = n.N
		if !command.TargetState(n.State).Final() {
			p.Open += int64(n.N)
		}
	}
	p.FirstTargets, p.NextTarget, err = CommandTargets(ctx, q, id, "", 0, "")
	return p, err
}

// CommandTarget is what became of a command with one device.
type CommandTarget struct {
	DeviceID       string            `json:"device_id"`
	EnrollmentID   string            `json:"enrollment_id"`
	State          string            `json:"state"`
	Reason         string            `json:"reason,omitempty"`
	Deliveries     int64             `json:"deliveries"`
	DeliveredAt    db.Micros         `json:"delivered_at,omitzero"`
	AcknowledgedAt db.Micros         `json:"acknowledged_at,omitzero"`
	ClosedAt       db.Micros         `json:"closed_at,omitzero"`
	Until          db.Micros         `json:"until" doc:"When it ends at the latest."`
	Status         string            `json:"status,omitempty" doc:"In the device's own words, under its own key."`
	Output         map[string]string `json:"output,omitempty"`
}

// CommandTargets reads a page of a command's targets by position, in a state ("" for
// all), and where the next begins. An unknown command has none.
func CommandTargets(ctx context.Context, q bun.IDB, id, state string, limit int, after string) (list []CommandTarget, next string, err error) {
	limit = clamp(limit)
	var rows []struct {
		command.Target `bun:",extend"`
		NotAfter       db.Micros `bun:"not_after"`
	}
	sel := q.NewSelect().TableExpr("command_targets AS t").ColumnExpr("t.*, c.not_after").Join("JOIN commands AS c ON c.id = t.command_id").
		Where("t.command_id = ?", id).OrderExpr("t.position").Limit(int64(limit + 1))
	if state != "" {
		sel = sel.Where("t.state = ?", state)
	}
	if after != "" {
		n, err := strconv.ParseInt(after, 10, 64)
		if err != nil {
			return nil, "", ErrCursor
		}
		sel = sel.Where("t.position > ?", n)
	}
	if err := sel.Scan(ctx, &rows); err != nil {
		return nil, "", err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next = strconv.FormatInt(rows[limit-1].Position, 10)
	}
	list = make([]CommandTarget, len(rows))
	for i, r := range rows {
		t := CommandTarget{
			DeviceID: r.DeviceID, EnrollmentID: r.EnrollmentID, State: string(r.State), Reason: r.Reason, Deliveries: r.Deliveries,
			DeliveredAt: r.DeliveredAt, AcknowledgedAt: r.AcknowledgedAt, ClosedAt: r.ClosedAt, Until: r.NotAfter,
		}
		if r.State != command.Queued {
			t.Until = r.NotAfter.Add(command.ReportGrace)
		}
		// It was verified before it was stored.
		var result signing.CommandResult
		if env, err := signing.ParseEnvelope(r.Result); err == nil && json.Unmarshal(env.Payload, &result) == nil {
			t.Status, t.Output = string(result.Status), result.Output
		}
		list[i] = t
	}
	return list, next, nil
}
