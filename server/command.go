package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

type sentCommand struct {
	ID           string     `json:"id,omitempty"`
	State        string     `json:"state,omitempty"`
	Digest       string     `json:"digest,omitempty"`
	NotAfter     *time.Time `json:"not_after,omitempty"`
	Targets      int        `json:"targets"`
	FirstTargets []string   `json:"first_targets"`
	NeedsReview  bool       `json:"needs_review"`
	DryRun       bool       `json:"dry_run,omitempty"`
}

type commandRow struct {
	ID          string     `json:"id"`
	Kind        string     `json:"kind"`
	State       string     `json:"state"`
	Ending      string     `json:"ending,omitempty"`
	Targets     int        `json:"targets"`
	Open        int        `json:"open"`
	Reason      string     `json:"reason"`
	RequestedBy string     `json:"requested_by"`
	CreatedAt   *time.Time `json:"created_at"`
	NotAfter    *time.Time `json:"not_after"`
	ClosedAt    *time.Time `json:"closed_at,omitempty"`
}

type commandTarget struct {
	DeviceID       string            `json:"device_id"`
	State          string            `json:"state"`
	Reason         string            `json:"reason,omitempty"`
	Deliveries     int               `json:"deliveries"`
	DeliveredAt    *time.Time        `json:"delivered_at,omitempty"`
	AcknowledgedAt *time.Time        `json:"acknowledged_at,omitempty"`
	ClosedAt       *time.Time        `json:"closed_at,omitempty"`
	Until          *time.Time        `json:"until"`
	Status         string            `json:"status,omitempty"`
	Output         map[string]string `json:"output,omitempty"`
}

type commandPage struct {
	commandRow
	Parameters   map[string]any  `json:"parameters"`
	Digest       string          `json:"digest"`
	Statement    json.RawMessage `json:"statement"`
	SignedBy     string          `json:"signed_by,omitempty"`
	SignedAt     *time.Time      `json:"signed_at,omitempty"`
	EndedBy      string          `json:"ended_by,omitempty"`
	EndedReason  string          `json:"ended_reason,omitempty"`
	WaitsFor     string          `json:"waits_for,omitempty"`
	Counts       map[string]int  `json:"counts"`
	FirstTargets []commandTarget `json:"first_targets"`
	NextTarget   string          `json:"next_target,omitempty"`
}

func (p *program) commandCommand() *cobra.Command {
	c := &cobra.Command{Use: "command", GroupID: "operate", Short: "Have devices do something, and see what became of it"}
	c.AddCommand(p.commandSend(), p.commandList(), p.commandShow(), p.commandCancel(),
		p.commandDecide("approve", "Agree to a command that another person asked for"), p.commandDecide("reject", "Refuse a command that waits for a second person"))
	return c
}

func (p *program) commandSend() *cobra.Command {
	var devices, parameters []string
	var label, reason string
	var life time.Duration
	var dry, wait bool
	c := p.apiCommand("send KIND", "Send a command to devices", cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		if reason == "" {
			return usageError{errors.New("--reason is needed: it is kept in the audit log")}
		}
		values, err := parameterValues(args[0], parameters)
		if err != nil {
			return err
		}
		targets := map[string]any{}
		if len(devices) > 0 {
			targets["device_ids"] = devices
		}
		if label != "" {
			targets["label"] = label
		}
		if len(targets) > 1 {
			return usageError{errors.New("say for whom with --device, or with --label: not with both")}
		}
		if len(targets) == 0 {
			return usageError{errors.New("say for whom: --device ID (may be repeated), or --label key=value; nothing means nobody")}
		}
		var sent sentCommand
		in := map[string]any{"kind": args[0], "parameters": values, "targets": targets, "life_seconds": int64(life.Seconds()), "reason": reason, "dry_run": dry}
		if err := api.do(c.Context(), "POST", "/api/command", in, &sent); err != nil {
			return err
		}
		if wait && !dry {
			if sent.NeedsReview {
				fmt.Fprintln(p.err, "Command "+plain(sent.ID)+" waits for a second person: sentinel-server command approve "+plain(sent.ID))
			}
			return p.awaitCommand(c.Context(), o, api, sent.ID)
		}
		return o.show(sent, func(w io.Writer) { sent.tell(w, dry) })
	})
	c.Long = "Kinds:\n" + kindHelp()
	f := c.Flags()
	f.StringArrayVar(&devices, "device", nil, "device_id; may be given several times")
	f.StringVar(&label, "label", "", "key=value: the active devices that have it now")
	f.StringArrayVar(&parameters, "param", nil, "name=value; may be given several times")
	f.DurationVar(&life, "for", time.Hour, "how long devices may begin it, at most 168h")
	f.StringVar(&reason, "reason", "", "why, for the audit log")
	f.BoolVar(&dry, "dry-run", false, "count the devices and store nothing")
	f.BoolVar(&wait, "wait", false, "wait until it has ended for every device; exits 0 only when all succeeded")
	return c
}

func (sent *sentCommand) tell(w io.Writer, dry bool) {
	if dry {
		row(w, "It would go to "+counted(int64(sent.Targets), "device")+"; nothing was stored.")
		for _, id := range sent.FirstTargets {
			row(w, "  "+id)
		}
		if sent.Targets > len(sent.FirstTargets) {
			row(w, fmt.Sprintf("  and %d more", sent.Targets-len(sent.FirstTargets)))
		}
		return
	}
	row(w, "command", sent.ID)
	row(w, "for", counted(int64(sent.Targets), "device")+", until "+when(sent.NotAfter))
	if sent.NeedsReview {
		row(w, "waits for", "a second person: sentinel-server command approve "+sent.ID)
	} else {
		row(w, "see", "sentinel-server command show "+sent.ID)
	}
}

// kindHelp lists what this version knows.
func kindHelp() string {
	var b strings.Builder
	for _, name := range signing.Kinds() {
		k, _ := signing.Kind(name)
		fmt.Fprintf(&b, "  %-20s %s\n", name, k.About)
		for _, parameter := range slices.Sorted(maps.Keys(k.Parameters)) {
			fmt.Fprintf(&b, "    --param %s=...  %s\n", parameter, k.Parameters[parameter].About)
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// parameterValues reads name=value; a parameter of the kind that is a number is
// sent as one.
func parameterValues(kind string, given []string) (map[string]any, error) {
	spec, _ := signing.Kind(kind)
	values := map[string]any{}
	for _, g := range given {
		name, value, ok := strings.Cut(g, "=")
		if !ok || name == "" {
			return nil, usageError{errors.New("--param must be name=value")}
		}
		if _, twice := values[name]; twice {
			return nil, usageError{fmt.Errorf("--param %s is given twice", name)}
		}
		values[name] = value
		if spec.Parameters[name].Number {
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return nil, usageError{fmt.Errorf("--param %s must be a whole number", name)}
			}
			values[name] = n
		}
	}
	return values, nil
}

const awaitEvery = 500 * time.Millisecond

// awaitCommand waits for the end of a command and shows it. On a terminal the
// counts are shown meanwhile.
func (p *program) awaitCommand(ctx context.Context, o *operate, api *client, id string) error {
	tick := time.NewTicker(awaitEvery)
	defer tick.Stop()
	progress := false
	if f, ok := p.err.(*os.File); ok {
		progress = term.IsTerminal(int(f.Fd()))
	}
	for {
		var c commandPage
		if err := api.do(ctx, "GET", "/api/commands/"+url.PathEscape(id), nil, &c); err != nil {
			return err
		}
		over := slices.Contains([]string{"done", "rejected", "cancelled", "expired"}, c.State)
		line := fmt.Sprintf("%s: %s of %s", c.State, tally(c.Counts), counted(int64(c.Targets), "device"))
		if progress {
			fmt.Fprintf(p.err, "\r\x1b[K%s", line)
			if over {
				fmt.Fprintln(p.err)
			}
		}
		if over {
			if err := o.show(c, func(w io.Writer) { showCommand(w, &c) }); err != nil {
				return err
			}
			if c.Counts["succeeded"] != c.Targets {
				return fmt.Errorf("it did not succeed on every device; see: sentinel-server command show %s", id)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func tally(counts map[string]int) string {
	var parts []string
	for _, state := range []string{"queued", "delivered", "acknowledged", "succeeded", "failed", "expired", "cancelled"} {
		if n := counts[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	return strings.Join(parts, ", ")
}

func (p *program) commandList() *cobra.Command {
	query := map[string]*string{}
	c := p.apiCommand("list", "List commands, the newest first", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		q := url.Values{}
		for name, v := range query {
			if *v != "" && !(name == "state" && *v == "all") {
				q.Set(name, *v)
			}
		}
		var list page[commandRow]
		if err := api.do(c.Context(), "GET", "/api/commands?"+q.Encode(), nil, &list); err != nil {
			return err
		}
		defer o.more(list.Next)
		return o.show(list, func(w io.Writer) {
			row(w, "COMMAND", "KIND", "STATE", "OPEN", "ASKED", "BY", "UNTIL", "REASON")
			for _, r := range list.Items {
				row(w, r.ID, r.Kind, stateOf(&r), fmt.Sprintf("%d/%d", r.Open, r.Targets), when(r.CreatedAt), r.RequestedBy, when(r.NotAfter), r.Reason)
			}
		})
	})
	for name, help := range map[string]string{
		"state": "review, unsigned, open, done, rejected, cancelled, expired or all", "device": "device_id of a target", "kind": "kind of command",
		"limit": "commands a page, at most 500", "after": "mark that the page before ended with",
	} {
		query[name] = c.Flags().String(name, "", help)
	}
	return c
}

func stateOf(r *commandRow) string {
	if r.Ending != "" && r.Ending != r.State {
		return r.State + ", " + r.Ending
	}
	return r.State
}

func (p *program) commandShow() *cobra.Command {
	var state string
	c := p.apiCommand("show COMMAND", "Show a command and what became of it", cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		path := "/api/commands/" + url.PathEscape(args[0])
		var cmd commandPage
		if err := api.do(c.Context(), "GET", path, nil, &cmd); err != nil {
			return notFound(err, "command", args[0], "command list")
		}
		if state != "" {
			var list page[commandTarget]
			if err := api.do(c.Context(), "GET", path+"/targets?state="+url.QueryEscape(state), nil, &list); err != nil {
				return err
			}
			cmd.FirstTargets, cmd.NextTarget = list.Items, list.Next
		}
		return o.show(cmd, func(w io.Writer) { showCommand(w, &cmd) })
	})
	c.Flags().StringVar(&state, "state", "", "show targets in this state: queued, delivered, acknowledged, succeeded, failed, expired or cancelled")
	return c
}

func showCommand(w io.Writer, c *commandPage) {
	row(w, "command", c.ID)
	row(w, "kind", c.Kind+parameterText(c.Parameters))
	row(w, "state", stateOf(&c.commandRow))
	if c.WaitsFor != "" {
		row(w, "waits for", c.WaitsFor)
	}
	if c.EndedReason != "" {
		row(w, "ended by", c.EndedBy+": "+c.EndedReason)
	}
	row(w, "asked", when(c.CreatedAt)+" by "+c.RequestedBy+": "+c.Reason)
	row(w, "until", when(c.NotAfter))
	row(w, "statement", c.Digest)
	if c.SignedBy != "" {
		row(w, "signed", when(c.SignedAt)+" with key "+c.SignedBy)
	}
	row(w, "devices", fmt.Sprintf("%d: %s", c.Targets, tally(c.Counts)))
	fmt.Fprintln(w)
	row(w, "DEVICE", "STATE", "WHY", "GIVEN", "ACKNOWLEDGED", "ENDED", "SAYS")
	for _, t := range c.FirstTargets {
		ended := when(t.ClosedAt)
		if t.ClosedAt == nil {
			ended = "by " + when(t.Until)
		}
		row(w, t.DeviceID, t.State, first(t.Reason, "-"), t.Deliveries, when(t.AcknowledgedAt), ended, first(outputText(t.Output), "-"))
	}
	if c.NextTarget != "" {
		row(w, "There are more; choose them with --state.")
	}
}

func parameterText(parameters map[string]any) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		fmt.Fprintf(&b, " %s=%v", name, parameters[name])
	}
	return b.String()
}

func outputText(output map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(output)) {
		parts = append(parts, name+"="+output[name])
	}
	return strings.Join(parts, " ")
}

func (p *program) commandCancel() *cobra.Command {
	var reason string
	c := p.apiCommand("cancel COMMAND", "Take a command back where it does not run yet", cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		if reason == "" {
			return usageError{errors.New("--reason is needed: it is kept in the audit log")}
		}
		var done struct {
			Cancelled int `json:"cancelled"`
			MayRun    int `json:"may_run"`
			Running   int `json:"running"`
		}
		if err := api.do(c.Context(), "POST", "/api/commands/"+url.PathEscape(args[0])+"/cancel", map[string]string{"reason": reason}, &done); err != nil {
			return cancelRefused(err, args[0])
		}
		return o.show(done, func(w io.Writer) {
			row(w, "Cancelled for "+counted(int64(done.Cancelled), "device")+" that had not been given it.")
			if done.MayRun > 0 {
				row(w, counted(int64(done.MayRun), "device")+" had been given it and did not answer yet: it may run there all the same.")
			}
			if done.Running > 0 {
				row(w, counted(int64(done.Running), "device")+" had acknowledged it: it runs there, or did, and the result will still be taken.")
			}
		})
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	return c
}

// cancelRefused says what a command is that cannot be taken back any more.
func cancelRefused(err error, id string) error {
	if p, ok := errors.AsType[*protocol.Problem](err); ok && p.Code == httpkit.CodeConflict {
		if p.Detail == command.ErrOver.Error() { // which speaks of one device
			err = errors.New("there is nothing left to take back: the command has ended")
		}
		return fmt.Errorf("%w; what became of it: sentinel-server command show %s", err, id)
	}
	return notFound(err, "command", id, "command list")
}

// commandDecide approves or rejects. What the person is shown is read from the
// bytes whose digest is sent, so that a server cannot show one thing and have
// another approved.
func (p *program) commandDecide(decision, short string) *cobra.Command {
	var reason string
	var yes bool
	c := p.apiCommand(decision+" COMMAND", short, cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		if reason == "" {
			return usageError{errors.New("--reason is needed: it is kept in the audit log")}
		}
		path := "/api/commands/" + url.PathEscape(args[0])
		var cmd commandPage
		if err := api.do(c.Context(), "GET", path, nil, &cmd); err != nil {
			return notFound(err, "command", args[0], "command list")
		}
		s, err := signing.ReadCommand(cmd.Statement)
		if err != nil {
			return fmt.Errorf("the server shows no statement that can be read: %w; do not decide on it", err)
		}
		if decision == "approve" {
			if cmd.State != "review" {
				return fmt.Errorf("it waits for nobody's approval: it is %s; see: sentinel-server command show %s", stateOf(&cmd.commandRow), cmd.ID)
			}
			row(p.err, fmt.Sprintf("%s asks for %s%s on %s, from %s until %s: %s", s.Requester, s.Kind, statementParameters(s), counted(s.Targets.Count, "device"),
				s.NotBefore.Format(time.RFC3339), s.NotAfter.Format(time.RFC3339), cmd.Reason))
			for _, t := range s.Targets.Devices {
				row(p.err, "  "+t.DeviceID)
			}
			if why := whyNotMine(c.Context(), api, cmd.ID); why != "" {
				return fmt.Errorf("it is not yours to approve: %s", why)
			}
			if !yes && !p.confirm("Approve it?") {
				return errors.New("nothing was decided; answer yes, or say --yes")
			}
		}
		var out struct {
			State string `json:"state"`
		}
		in := map[string]string{"decision": decision, "digest": signing.Digest(cmd.Statement), "reason": reason}
		if err := api.do(c.Context(), "POST", path+"/review", in, &out); err != nil {
			return err
		}
		return o.show(out, func(w io.Writer) {
			switch out.State {
			case "unsigned", "open":
				row(w, commandApproved(cmd.ID))
			case "review":
				row(w, "Your approval is recorded. It waits for others: sentinel-server command show "+cmd.ID)
			default:
				row(w, "It is "+out.State+".")
			}
		})
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	if decision == "approve" {
		c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	}
	return c
}

// commandApproved says what comes of a command that people agreed to.
func commandApproved(id string) string {
	return "It is approved; devices get it with their next heartbeat: sentinel-server command show " + id
}

// whyNotMine is why the command is not for whoever asks to approve; "" when it is, and
// when that is not known: the server judges for itself.
func whyNotMine(ctx context.Context, api *client, id string) string {
	var list page[approvalRow]
	err := api.do(ctx, "GET", "/api/approvals?subject="+url.QueryEscape(id), nil, &list)
	switch problem, refused := errors.AsType[*protocol.Problem](err); {
	case refused && problem.Code == httpkit.CodeForbidden: // who may not see what waits decides on none of it
		return err.Error()
	case err != nil, len(list.Items) == 0, list.Items[0].MayVote:
		return ""
	}
	return list.Items[0].WhyNot
}

func statementParameters(s *signing.CommandStatement) string {
	values := map[string]any{}
	for name, v := range s.Parameters {
		if v.Number != nil {
			values[name] = *v.Number
		} else {
			values[name] = *v.Text
		}
	}
	return parameterText(values)
}

// confirm asks a person. Anything but yes is no.
func (p *program) confirm(question string) bool {
	fmt.Fprintf(p.err, "%s Type yes: ", question)
	line, err := bufio.NewReader(io.LimitReader(p.in, 1<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	return strings.TrimSpace(line) == "yes"
}
