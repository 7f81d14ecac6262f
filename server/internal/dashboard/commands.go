package dashboard

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// commandsData is a page of the list of commands.
type commandsData struct {
	Rows        []view.CommandRow
	Filter      view.CommandFilter
	States      []string
	Kinds       []string
	Chosen      bool
	Next, First string
}

func (c *Console) commands(r *http.Request) (*page, error) {
	q := r.URL.Query()
	f := view.CommandFilter{State: q.Get("state"), Device: strings.TrimSpace(q.Get("device")), Kind: q.Get("kind"), After: q.Get("after"), Limit: 50}
	if protocol.CheckText("the device", f.State+f.Device+f.Kind, 300) != nil {
		return nil, inputError("the filter must be one line of printable text")
	}
	d := commandsData{Filter: f, Kinds: signing.Kinds(), Chosen: f.State+f.Device+f.Kind != ""}
	for _, s := range command.States() {
		d.States = append(d.States, string(s))
	}
	rows, next, err := c.deps.Commands.Commands(r.Context(), f)
	if err != nil {
		return nil, err
	}
	d.Rows = rows
	if next != "" {
		d.Next = withQuery(r.URL, "after", next)
	}
	if f.After != "" {
		d.First = withQuery(r.URL, "after", "")
	}
	return c.newPage(r, "commands", "Commands", d), nil
}

// newCommandData is the form of a command, and what a dry run said of it.
type newCommandData struct {
	Kinds   []commandKind
	Kind    string
	Devices string
	Label   string
	Minutes string
	Reason  string
	Values  map[string]string // of parameters, by kind.name
	Plan    *flow.CommandPlan // nil: not tried yet
	More    int
}

// commandKind is a kind of command with its parameters, in order.
type commandKind struct {
	signing.KindSpec

	Name       string
	Parameters []commandParameter
}

type commandParameter struct {
	signing.ParameterSpec

	Name, Field string
}

func commandKinds() []commandKind {
	var list []commandKind
	for _, name := range signing.Kinds() {
		spec, _ := signing.Kind(name)
		k := commandKind{KindSpec: spec, Name: name}
		for _, p := range slices.Sorted(maps.Keys(spec.Parameters)) {
			k.Parameters = append(k.Parameters, commandParameter{spec.Parameters[p], p, name + "." + p})
		}
		list = append(list, k)
	}
	return list
}

func (c *Console) newCommand(r *http.Request) (*page, error) {
	q := r.URL.Query()
	d := newCommandData{Kinds: commandKinds(), Kind: "ping", Devices: q.Get("device"), Label: q.Get("label"), Minutes: "60", Values: map[string]string{}}
	if protocol.CheckText("the devices", d.Devices+d.Label, 400) != nil {
		return nil, inputError("the devices must be one line of printable text")
	}
	return c.newPage(r, "commands", "Send a command", d), nil
}

// sendCommand tries a command, and sends it when what the trial counted was
// confirmed. The devices are resolved again then, so the page that follows says for
// how many it is.
func (c *Console) sendCommand(w http.ResponseWriter, r *http.Request) {
	if err := form(r); err != nil {
		c.fail(w, r, err)
		return
	}
	d := newCommandData{
		Kinds: commandKinds(), Kind: r.PostFormValue("kind"), Devices: r.PostFormValue("devices"), Label: strings.TrimSpace(r.PostFormValue("label")),
		Minutes: r.PostFormValue("minutes"), Reason: r.PostFormValue("reason"), Values: map[string]string{},
	}
	for _, k := range d.Kinds {
		for _, p := range k.Parameters {
			if v := r.PostFormValue(p.Field); v != "" {
				d.Values[p.Field] = v
			}
		}
	}
	confirmed := r.PostFormValue("confirmed") == "yes"
	ask, err := d.ask()
	var plan *flow.CommandPlan
	if err == nil {
		plan, err = c.deps.Commands.SendCommand(r.Context(), acting(r), ask, !confirmed)
	}
	if err != nil {
		status, title, text, known := meaning(err)
		if !known {
			c.fail(w, r, err)
			return
		}
		p := c.newPage(r, "commands", "Send a command", d) // with what was filled in
		p.Notice = &notice{"wrong", title, text}
		c.show(w, r, status, "newcommand", p)
		return
	}
	if !confirmed {
		d.Plan, d.More = plan, plan.Targets-len(plan.First)
		c.show(w, r, http.StatusOK, "newcommand", c.newPage(r, "commands", "Send this command?", d))
		return
	}
	said := "sent"
	if plan.Review {
		said = "asked"
	}
	done(w, r, "/dashboard/commands/"+plan.Command.ID, said)
}

// ask is the form as the domain takes it.
func (d *newCommandData) ask() (flow.CommandAsk, error) {
	minutes, err := strconv.ParseInt(d.Minutes, 10, 32)
	if err != nil || minutes < 1 {
		return flow.CommandAsk{}, inputError("the time must be a whole number of minutes")
	}
	if len(d.Reason) > maxReason {
		return flow.CommandAsk{}, inputError("the reason is longer than 400 bytes")
	}
	ask := flow.CommandAsk{Kind: d.Kind, Label: d.Label, Life: time.Duration(minutes) * time.Minute, Reason: d.Reason}
	ask.DeviceIDs = strings.FieldsFunc(d.Devices, func(r rune) bool { return r == ' ' || r == ',' })
	if len(ask.DeviceIDs) > 100 {
		return ask, inputError("more than 100 devices are named by a label")
	}
	for _, k := range d.Kinds {
		if k.Name != d.Kind {
			continue
		}
		for _, p := range k.Parameters {
			v, ok := d.Values[p.Field]
			if !ok {
				continue
			}
			if ask.Parameters == nil {
				ask.Parameters = map[string]signing.Parameter{}
			}
			if !p.Number {
				ask.Parameters[p.Name] = signing.Text(v)
				continue
			}
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return ask, inputError(p.Name + " must be a whole number")
			}
			ask.Parameters[p.Name] = signing.Number(n)
		}
	}
	return ask, nil
}

// commandData is all about a command.
type commandData struct {
	*view.Command

	List        []view.CommandTarget
	Of          string // the state that List shows, "" for all
	Tallies     []tally
	Ended       int64  // targets
	Cancel      string // why it cannot be taken back, "" when it can
	MayCancel   bool
	Next, First string
	Approval    string // id of the request to decide on
}

type tally struct {
	State string
	N     int
}

func (c *Console) command(r *http.Request) (*page, error) {
	ctx, id, q := r.Context(), r.PathValue("id"), r.URL.Query()
	if protocol.CheckID(id) != nil {
		return nil, command.ErrUnknown
	}
	p, err := c.deps.Commands.Command(ctx, id)
	if err != nil {
		return nil, err
	}
	d := commandData{Command: p, List: p.FirstTargets, Of: q.Get("targets"), MayCancel: callerOf(r).May(authz.CommandCancel)}
	for _, s := range command.TargetStates() {
		if n := p.Counts[string(s)]; n > 0 {
			d.Tallies = append(d.Tallies, tally{string(s), n})
			if s.Final() {
				d.Ended += int64(n)
			}
		}
	}
	if !slices.ContainsFunc(command.TargetStates(), func(s command.TargetState) bool { return string(s) == d.Of }) {
		d.Of = ""
	}
	next := p.NextTarget
	if after := q.Get("after"); after != "" || d.Of != "" {
		if d.List, next, err = c.deps.Commands.CommandTargets(ctx, id, d.Of, 50, after); err != nil {
			return nil, err
		}
		if after != "" {
			d.First = withQuery(r.URL, "after", "")
		}
	}
	if next != "" {
		d.Next = withQuery(r.URL, "after", next)
	}
	if command.State(p.State).Final() || p.Ending != "" {
		d.Cancel = "it has ended"
	}
	if p.State == string(command.Review) && callerOf(r).May(authz.ApprovalRead) {
		waiting, _, err := c.deps.Approvals.Approvals(ctx, view.ApprovalFilter{Waiting: true, Subject: id, For: voter(r), Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(waiting) == 1 {
			d.Approval = waiting[0].ID
		}
	}
	return c.newPage(r, "commands", fmt.Sprintf("%s for %s", p.Kind, plural(p.Targets, "device")), d), nil
}

func (c *Console) cancelCommand(w http.ResponseWriter, r *http.Request) {
	if err := form(r); err != nil {
		c.fail(w, r, err)
		return
	}
	reason, err := reasonOf(r)
	if err == nil {
		_, err = c.deps.Commands.CancelCommand(r.Context(), acting(r), r.PathValue("id"), reason)
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	done(w, r, "/dashboard/commands/"+r.PathValue("id"), "cancelled")
}
