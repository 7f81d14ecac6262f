package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// MaxCommandTargets bounds one command: its targets are written in one transaction,
// at some 20 µs each.
const MaxCommandTargets = 100_000

// firstTargets is how many targets a dry run names.
const firstTargets = 20

// AskError says what is wrong with a command that was asked for, in words for the
// person who asked.
type AskError struct{ Text string }

func (e *AskError) Error() string { return e.Text }

func askError(format string, args ...any) error {
	return &AskError{fmt.Sprintf(format, args...)}
}

// CommandAsk is a command that a person asks for. Exactly one of DeviceIDs and
// Label says for whom.
type CommandAsk struct {
	Kind       string
	Parameters map[string]signing.Parameter
	DeviceIDs  []string
	Label      string // key=value
	Life       time.Duration
	Reason     string
}

// CommandPlan is what became of it, or in a dry run would have.
type CommandPlan struct {
	Command *command.Command // nil in a dry run
	Targets int
	First   []string // device_ids
	Review  bool     // a person must agree first
}

// SendCommand makes the statement that was asked for and stores it with its
// targets. Groups are resolved here, to devices in their present enrollment; what
// is reviewed and signed names those and no others. A dry run does the same and
// stores nothing. Refusals are *AskError.
func (f *Flow) SendCommand(ctx context.Context, by authz.By, ask CommandAsk, dry bool) (*CommandPlan, error) {
	fleet, err := f.policy.Fleet()
	if err != nil {
		return nil, err
	}
	if err := checkAsk(ask, fleet, f.d.Now()); err != nil {
		return nil, err
	}
	var plan *CommandPlan
	err = f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		targets, err := resolve(ctx, tx, ask)
		if err != nil {
			return err
		}
		people, err := f.people(ctx, tx, approval.Commands)
		if err != nil {
			return err
		}
		plan = &CommandPlan{Targets: len(targets), Review: people > 0}
		for _, t := range targets[:min(len(targets), firstTargets)] {
			plan.First = append(plan.First, t.DeviceID)
		}
		if dry {
			return nil
		}
		plan.Command, err = f.place(ctx, tx, by, ask, fleet, targets, people)
		return err
	})
	if err != nil {
		return nil, err
	}
	if plan.Command != nil {
		f.wakeCommands()
	}
	return plan, nil
}

// checkAsk holds what was asked for to what devices would be told, so that a
// mistake is heard at once.
func checkAsk(ask CommandAsk, fleet *policy.Fleet, now time.Time) error {
	if ask.Reason == "" {
		return ErrReason
	}
	if ask.Life < time.Second || ask.Life > signing.MaxCommandLife {
		return askError("a command lasts one second to %s", signing.MaxCommandLife)
	}
	if _, known := signing.Kind(ask.Kind); !known {
		return askError("there is no such kind of command; there are: %s", strings.Join(signing.Kinds(), ", "))
	}
	rule, ok := fleet.Bundle.Rule(ask.Kind)
	switch {
	case policy.Early(fleet.Bundle, now):
		return askError("the policy bundle in force (version %d) was signed at %s, which is still to come by this server's clock: devices may not have it, and would refuse the command. Set the clock right; or, if it is right, sign the next bundle: sentinel-server policy build, policy sign, policy publish", fleet.Bundle.Version, fleet.Bundle.IssuedAt.Format(time.RFC3339))
	case !ok:
		return askError("the policy bundle in force (version %d) does not allow %s, so devices would refuse it; publish one that does: sentinel-server policy build --allow %[2]s", fleet.Bundle.Version, ask.Kind)
	case rule.Approvals > 0:
		return askError("the policy bundle in force (version %d) asks for %d approvals that devices verify themselves, which this version cannot collect", fleet.Bundle.Version, rule.Approvals)
	}
	if err := signing.CheckKind(ask.Kind, ask.Parameters, rule); err != nil {
		return askError("%s", err)
	}
	return nil
}

// resolve turns what was asked for into devices that are active now. Nothing means
// nobody: an empty set is a mistake, and never everyone.
func resolve(ctx context.Context, tx db.Tx, ask CommandAsk) ([]signing.Target, error) {
	var found []device.Addressed
	switch {
	case len(ask.DeviceIDs) > 0 && ask.Label != "", len(ask.DeviceIDs) == 0 && ask.Label == "":
		return nil, askError("targets are either device_ids or a label, and not empty: nothing means nobody")
	case ask.Label != "":
		key, value, ok := strings.Cut(ask.Label, "=")
		if !ok || key == "" || value == "" || key == "*" || value == "*" {
			return nil, askError("a label is given as key=value, both spelt out: there is no wildcard")
		}
		var err error
		if found, err = device.ActiveByLabel(ctx, tx, key, value, MaxCommandTargets+1); err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, askError("no active device has that label")
		}
	default:
		asked := map[string]bool{}
		for _, id := range ask.DeviceIDs {
			if err := protocol.CheckDeviceID(id); err != nil {
				return nil, askError("%s", err)
			}
			if asked[id] {
				return nil, askError("%s is named twice", id)
			}
			asked[id] = true
		}
		var err error
		if found, err = device.ByIDs(ctx, tx, ask.DeviceIDs); err != nil {
			return nil, err
		}
		for _, d := range found {
			delete(asked, d.DeviceID)
			if d.State != device.Active {
				return nil, askError("%s is %s; only active devices are sent commands", d.DeviceID, d.State)
			}
		}
		for id := range asked {
			return nil, askError("there is no device %s", id)
		}
	}
	if len(found) > MaxCommandTargets {
		return nil, askError("one command is for at most %d devices; send it to smaller groups", MaxCommandTargets)
	}
	targets := make([]signing.Target, len(found))
	for i, d := range found {
		targets[i] = signing.Target{DeviceID: d.DeviceID, EnrollmentID: d.EnrollmentID}
	}
	return targets, nil
}

func (f *Flow) place(ctx context.Context, tx db.Tx, by authz.By, ask CommandAsk, fleet *policy.Fleet, targets []signing.Target, people int) (*command.Command, error) {
	s := signing.CommandStatement{
		FleetID: fleet.Root.Root.FleetID, RootDigest: fleet.Root.Digest, PolicyVersion: fleet.Bundle.Version, PolicyDigest: fleet.BundleDigest,
		ActionID: tx.NewID(), Kind: ask.Kind, Parameters: ask.Parameters, Targets: signing.NewTargets(targets), Requester: by.Person,
		NotBefore: tx.Now, NotAfter: tx.Now.Add(ask.Life),
	}
	payload, err := s.Payload()
	if err != nil {
		return nil, askError("%s", err)
	}
	c := &command.Command{
		ID: s.ActionID, State: command.Unsigned, Kind: ask.Kind, Reason: ask.Reason, Statement: payload, Digest: signing.Digest(payload),
		RequestedBy: by.Person, NotBefore: db.At(s.NotBefore), NotAfter: db.At(s.NotAfter),
	}
	if people > 0 {
		review, err := approval.Place(ctx, tx, approval.Ask{Kind: approval.Command, Path: approval.Commands, SubjectID: c.ID, Action: payload, Required: people,
			Requester: by.Person, AccountID: cmp.Or(by.AccountID, by.MakerID), Reason: ask.Reason, TTL: ask.Life})
		if err != nil {
			return nil, err
		}
		c.State, c.ApprovalID = command.Review, review.ID
	}
	if err := command.Add(ctx, tx, c, targets); err != nil {
		return nil, err
	}
	return c, audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.CommandRequest, ObjectKind: "command", ObjectID: c.ID, Reason: ask.Reason,
		Details: map[string]string{"kind": c.Kind, "targets": strconv.Itoa(len(targets)), "first": targets[0].DeviceID, "digest": c.Digest,
			"until": c.NotAfter.Time().Format(time.RFC3339)}})
}

// Withdrawal is what cancelling a command did to its targets.
type Withdrawal struct {
	Cancelled int `json:"cancelled" doc:"Devices that were never given it, and will not be."`
	MayRun    int `json:"may_run" doc:"Devices that were given it and have not acknowledged it: they may run it all the same."`
	Running   int `json:"running" doc:"Devices that acknowledged it before: it runs there, or did, and is not cancelled."`
}

// CancelCommand takes a command back. From its commit on nothing of it is signed or
// delivered. Where no target can be cancelled it changes nothing and is
// command.ErrRunning or command.ErrOver.
func (f *Flow) CancelCommand(ctx context.Context, by authz.By, id, reason string) (Withdrawal, error) {
	if reason == "" {
		return Withdrawal{}, ErrReason
	}
	var done Withdrawal
	// Each statement judges the row that it changes: see the decision on command jobs.
	err := f.d.Batch(ctx, func(ctx context.Context, tx db.Tx) error {
		done = Withdrawal{}
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		c, err := command.Hold(ctx, tx, id)
		if err != nil {
			return err
		}
		if c.State.Final() {
			return command.ErrOver
		}
		if err := command.End(ctx, tx, id, command.EndCancelled, by.ID, reason); err != nil {
			return err
		}
		if c.State == command.Review {
			if err := approval.Close(ctx, tx, c.ApprovalID, approval.Void); err != nil {
				return err
			}
		}
		closed, err := command.CloseSome(ctx, tx, id, command.Cancel, closeAtOnce)
		if err != nil {
			return err
		}
		done.Cancelled, done.MayRun = closed[command.Queued], closed[command.Delivered]
		if done.Cancelled+done.MayRun == 0 {
			running, err := command.CountOpen(ctx, tx, id, command.Acknowledged)
			if err != nil {
				return err
			}
			if running > 0 {
				return command.ErrRunning
			}
			return command.ErrOver
		}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.CommandCancel, ObjectKind: "command", ObjectID: id, Reason: reason,
			Details: map[string]string{"kind": c.Kind, "state": string(c.State)}})
	})
	if errors.Is(err, db.ErrConflict) {
		err = command.ErrOver // it is being brought to an end already
	}
	if err != nil {
		return Withdrawal{}, err
	}
	closed, err := f.endCommand(ctx, id)
	if err != nil {
		// It is cancelled all the same; the worker closes what is left.
		f.log.WarnContext(ctx, "a cancelled command is not closed yet", "command", id, "error", err)
	}
	done.Cancelled += closed[command.Queued]
	done.MayRun += closed[command.Delivered]
	done.Running, err = command.CountOpen(ctx, f.d.Read(), id, command.Acknowledged)
	return done, err
}
