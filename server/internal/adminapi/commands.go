package adminapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Commands asks for commands, decides on them, and reads what became of them.
type Commands interface {
	Commands(ctx context.Context, f view.CommandFilter) ([]view.CommandRow, string, error)
	Command(ctx context.Context, id string) (*view.Command, error)
	CommandTargets(ctx context.Context, id, state string, limit int, after string) ([]view.CommandTarget, string, error)
	SendCommand(ctx context.Context, by authz.By, ask flow.CommandAsk, dry bool) (*flow.CommandPlan, error)
	CancelCommand(ctx context.Context, by authz.By, id, reason string) (flow.Withdrawal, error)
	ReviewCommand(ctx context.Context, by authz.By, id string, d flow.Decision) (command.State, error)
}

// parameterValue is a parameter as a person writes it: a number or a text.
type parameterValue struct{ signing.Parameter }

// Schema describes it.
func (parameterValue) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{{Type: huma.TypeInteger}, {Type: huma.TypeString}}}
}

// UnmarshalJSON takes a whole number or a text, and nothing else.
func (v *parameterValue) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil && data[0] == '"' {
		v.Parameter = signing.Text(text)
		return nil
	}
	var n int64
	if err := json.Unmarshal(data, &n); err != nil || string(data) == "null" {
		return fmt.Errorf("a parameter is a whole number or a text")
	}
	v.Parameter = signing.Number(n)
	return nil
}

type sendCommandIn struct {
	Body struct {
		Kind       string                    `json:"kind" maxLength:"64"`
		Parameters map[string]parameterValue `json:"parameters,omitempty"`
		Targets    struct {
			DeviceIDs []string `json:"device_ids,omitempty" maxItems:"100" doc:"More devices are named by a label."`
			Label     string   `json:"label,omitempty" maxLength:"300" doc:"key=value: the active devices that have it now."`
		} `json:"targets"`
		Seconds int64  `json:"life_seconds,omitempty" minimum:"1" maximum:"604800" default:"3600" doc:"How long devices may begin it."`
		Reason  string `json:"reason" minLength:"1" maxLength:"400" doc:"Why; it is kept in the audit log."`
		DryRun  bool   `json:"dry_run,omitempty" doc:"Count the devices and store nothing."`
	}
}

// SentCommand is a command that was asked for, or would be.
type SentCommand struct {
	ID           string        `json:"id,omitempty" doc:"Nothing in a dry run."`
	State        command.State `json:"state,omitempty"`
	Digest       string        `json:"digest,omitempty"`
	NotAfter     time.Time     `json:"not_after,omitzero"`
	Targets      int           `json:"targets"`
	FirstTargets []string      `json:"first_targets" doc:"device_ids."`
	NeedsReview  bool          `json:"needs_review"`
	DryRun       bool          `json:"dry_run,omitempty"`
}

type sendCommandOut struct {
	Status int
	Body   SentCommand
}

func (a *API) sendCommand(ctx context.Context, in *sendCommandIn) (*sendCommandOut, error) {
	b := in.Body
	ask := flow.CommandAsk{Kind: b.Kind, DeviceIDs: b.Targets.DeviceIDs, Label: b.Targets.Label, Life: time.Duration(b.Seconds) * time.Second, Reason: b.Reason}
	for name, v := range b.Parameters {
		if ask.Parameters == nil {
			ask.Parameters = map[string]signing.Parameter{}
		}
		ask.Parameters[name] = v.Parameter
	}
	plan, err := a.deps.Commands.SendCommand(ctx, acting(ctx), ask, b.DryRun)
	if err != nil {
		return nil, err
	}
	out := &sendCommandOut{Status: http.StatusOK, Body: SentCommand{Targets: plan.Targets, FirstTargets: plan.First, NeedsReview: plan.Review, DryRun: b.DryRun}}
	if c := plan.Command; c != nil {
		out.Status = http.StatusCreated
		out.Body.ID, out.Body.State, out.Body.Digest, out.Body.NotAfter = c.ID, c.State, c.Digest, c.NotAfter.Time()
	}
	return out, nil
}

type listCommandsIn struct {
	Paging
	State  string `query:"state" enum:"review,unsigned,open,done,rejected,cancelled,expired"`
	Device string `query:"device" maxLength:"64" doc:"device_id of a target."`
	Kind   string `query:"kind" maxLength:"64"`
}

func (a *API) listCommands(ctx context.Context, in *listCommandsIn) (*listOut[view.CommandRow], error) {
	rows, next, err := a.deps.Commands.Commands(ctx, view.CommandFilter{State: in.State, Device: in.Device, Kind: in.Kind, Limit: in.Limit, After: in.After})
	if err != nil {
		return nil, err
	}
	return listOf(rows, next, func(r *view.CommandRow) view.CommandRow { return *r }), nil
}

type commandOut struct{ Body *view.Command }

func (a *API) command(ctx context.Context, in *IDPath) (*commandOut, error) {
	c, err := a.deps.Commands.Command(ctx, in.ID)
	return &commandOut{c}, err
}

type commandTargetsIn struct {
	IDPath
	Paging
	State string `query:"state" enum:"queued,delivered,acknowledged,succeeded,failed,expired,cancelled"`
}

func (a *API) commandTargets(ctx context.Context, in *commandTargetsIn) (*listOut[view.CommandTarget], error) {
	rows, next, err := a.deps.Commands.CommandTargets(ctx, in.ID, in.State, in.Limit, in.After)
	if err != nil {
		return nil, err
	}
	return listOf(rows, next, func(r *view.CommandTarget) view.CommandTarget { return *r }), nil
}

type cancelCommandIn struct {
	IDPath
	Body reasonBody
}

type cancelCommandOut struct{ Body flow.Withdrawal }

func (a *API) cancelCommand(ctx context.Context, in *cancelCommandIn) (*cancelCommandOut, error) {
	done, err := a.deps.Commands.CancelCommand(ctx, acting(ctx), in.ID, in.Body.Reason)
	return &cancelCommandOut{done}, err
}
