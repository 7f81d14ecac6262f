package servertest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Obedience is what a device keeps to judge and answer commands.
type Obedience struct {
	Root    *signing.PinnedRoot
	Bundle  *signing.PolicyBundle
	Answer  protocol.HeartbeatAnswer // the last one
	Acks    []string                 // to go with the next heartbeat
	Results []json.RawMessage        // until they are stored
	Ran     []string                 // action ids, in order
	Refused []string                 // action ids, in order

	known  map[string]bool
	sent   map[string]string // action id -> result
	silent bool
}

// pin takes over what an enrollment gives.
func (d *Device) pin(r *protocol.EnrollResult) error {
	var chain [][]byte
	for _, e := range r.FleetRoots {
		chain = append(chain, e)
	}
	var err error
	if d.Root, err = signing.VerifyRootChain(chain, ""); err != nil {
		return err
	}
	return d.adopt(r.PolicyBundle)
}

func (d *Device) adopt(envelope []byte) error {
	env, err := signing.ParseEnvelope(envelope)
	if err != nil {
		return err
	}
	highest := int64(0)
	if d.Bundle != nil {
		highest = d.Bundle.Version
	}
	bundle, err := signing.VerifyBundle(env, d.Root, d.s.app.DB.Now(), highest)
	if err != nil && !errors.Is(err, signing.ErrExpired) { // an expired one leaves what is always allowed
		return err
	}
	d.Bundle = bundle
	return nil
}

// Silent makes the device take commands without a word, or speak again.
func (d *Device) Silent(silent bool) { d.silent = silent }

// Obey does what the last answer asks for, as an agent does: it advances its
// documents, verifies every statement against them, does each action once, and
// keeps acknowledgements and results for the next heartbeat. It returns how many
// commands were new to it.
func (d *Device) Obey() int {
	d.s.t.Helper()
	for _, data := range d.Answer.FleetRoots {
		env, err := signing.ParseEnvelope(data)
		if err != nil {
			d.s.t.Fatal(err)
		}
		if d.Root, err = d.Root.Advance(env); err != nil {
			d.s.t.Fatal(err)
		}
	}
	for _, data := range d.Answer.PolicyBundles {
		if err := d.adopt(data); err != nil {
			d.s.t.Fatal(err)
		}
	}
	d.Results = slices.DeleteFunc(d.Results, func(data json.RawMessage) bool {
		return slices.ContainsFunc(d.Answer.ResultsStored, func(id string) bool { return d.sent[id] == string(data) })
	})
	d.Acks = nil
	fresh := 0
	for _, c := range d.Answer.Commands {
		if d.silent {
			continue
		}
		d.Acks = append(d.Acks, c.ActionID)
		if d.known[c.ActionID] {
			continue
		}
		if d.known == nil {
			d.known, d.sent = map[string]bool{}, map[string]string{}
		}
		d.known[c.ActionID] = true
		fresh++
		d.Report(d.judge(c))
	}
	d.Answer.Commands, d.Answer.ResultsStored, d.Answer.FleetRoots, d.Answer.PolicyBundles = nil, nil, nil, nil
	return fresh
}

// judge does a command or refuses it, and says so.
func (d *Device) judge(c protocol.CommandDelivery) signing.CommandResult {
	r := signing.CommandResult{DeviceID: d.ID, EnrollmentID: d.EnrollmentID, ActionID: c.ActionID, At: time.Now(), StatementDigest: signing.Digest(c.Statement)}
	env, err := signing.ParseEnvelope(c.Statement)
	if err == nil {
		r.StatementDigest = signing.Digest(env.Payload)
	}
	refuse := func(reason string) signing.CommandResult {
		d.Refused = append(d.Refused, c.ActionID)
		r.Status, r.Reason = signing.Refused, reason
		return r
	}
	if err != nil {
		return refuse("malformed")
	}
	s, err := signing.VerifyCommand(env, d.Bundle)
	if err != nil {
		return refuse("signature")
	}
	var proof *signing.Proof
	if len(c.Proof) > 0 {
		if err := json.Unmarshal(c.Proof, &proof); err != nil {
			return refuse("proof")
		}
	}
	rule, allowed := d.Bundle.Rule(s.Kind)
	now := d.s.app.DB.Now()
	switch {
	case s.ActionID != c.ActionID || s.FleetID != d.Root.Root.FleetID:
		return refuse("other-action")
	case s.Targets.Includes(signing.Target{DeviceID: d.ID, EnrollmentID: d.EnrollmentID}, proof) != nil:
		return refuse("not-a-target")
	case now.Before(s.NotBefore) || !now.Before(s.NotAfter):
		return refuse("time")
	case !allowed || signing.CheckKind(s.Kind, s.Parameters, rule) != nil:
		return refuse("not-allowed")
	}
	d.Ran = append(d.Ran, s.ActionID)
	r.Status = signing.Succeeded
	if echo, ok := s.Parameters["echo"]; ok && echo.Text != nil {
		r.Output = map[string]string{"echo": *echo.Text}
	}
	return r
}

// Report signs a result, honest or not, for the next heartbeat.
func (d *Device) Report(r signing.CommandResult) {
	d.s.t.Helper()
	env, err := signing.SignResult(context.Background(), r, d.Key)
	if err != nil {
		d.s.t.Fatal(err)
	}
	data, err := env.Marshal()
	if err != nil {
		d.s.t.Fatal(err)
	}
	if d.sent == nil {
		d.known, d.sent = map[string]bool{}, map[string]string{}
	}
	d.sent[r.ActionID] = string(data)
	d.Results = append(d.Results, data)
}

// ObeyUntil beats and obeys until done says so, at most a hundred times.
func (d *Device) ObeyUntil(done func() bool) {
	d.s.t.Helper()
	for range 100 {
		d.MustBeat()
		d.Obey()
		if done() {
			return
		}
	}
	d.s.t.Fatalf("%s: it did not happen in a hundred heartbeats", d.ID)
}
