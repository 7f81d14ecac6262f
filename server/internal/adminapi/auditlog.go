package adminapi

import (
	"context"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// AuditEntry is one entry of the audit log.
type AuditEntry struct {
	ID         string            `json:"id"`
	At         time.Time         `json:"at"`
	ActorKind  audit.ActorKind   `json:"actor_kind"`
	Actor      string            `json:"actor"`
	Action     string            `json:"action"`
	ObjectKind string            `json:"object_kind"`
	ObjectID   string            `json:"object_id"`
	Source     string            `json:"source"`
	RequestID  string            `json:"request_id"`
	Result     audit.Result      `json:"result"`
	Reason     string            `json:"reason"`
	Details    map[string]string `json:"details"`
}

func viewEntry(r *audit.Row) AuditEntry {
	return AuditEntry{
		ID: r.ID, At: r.At.Time(), ActorKind: r.ActorKind, Actor: r.ActorID, Action: r.Action, ObjectKind: r.ObjectKind, ObjectID: r.ObjectID,
		Source: r.Source, RequestID: r.RequestID, Result: r.Result, Reason: r.Reason, Details: r.DetailMap(),
	}
}

type listAuditIn struct {
	Paging
	Actor      string       `query:"actor" maxLength:"512"`
	Action     string       `query:"action" maxLength:"64" doc:"One of /api/audit/actions."`
	ObjectKind string       `query:"object_kind" maxLength:"64"`
	ObjectID   string       `query:"object_id" maxLength:"512"`
	Result     audit.Result `query:"result" enum:"done,refused"`
	Since      time.Time    `query:"since" doc:"At or after."`
	Until      time.Time    `query:"until" doc:"Before."`
}

func (a *API) listAudit(ctx context.Context, in *listAuditIn) (*listOut[AuditEntry], error) {
	for name, text := range map[string]string{"actor": in.Actor, "action": in.Action, "object_kind": in.ObjectKind, "object_id": in.ObjectID} {
		if protocol.CheckText(name, text, 512) != nil {
			return nil, newProblem(ctx, httpkit.CodeInvalid, name+" must be one line of printable text")
		}
	}
	page, err := a.deps.AuditLog(ctx, audit.Filter{
		ActorID: in.Actor, Action: in.Action, ObjectKind: in.ObjectKind, ObjectID: in.ObjectID, Result: in.Result,
		Since: in.Since, Until: in.Until, Limit: in.Limit, After: in.After,
	})
	if err != nil {
		return nil, err
	}
	return listOf(page.Rows, page.Next, viewEntry), nil
}

func (a *API) listAuditActions(context.Context, *struct{}) (*listOut[string], error) {
	return listOf(audit.Actions(), "", func(s *string) string { return *s }), nil
}
