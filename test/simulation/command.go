package simulation

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/simtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// order is a command that an operator asked for.
type order struct {
	id, kind string
	devices  []string
	notAfter time.Time
}

// commands is what people have devices do, and what others would like them to.
type commands struct {
	asked  bool // whether anything was asked for at all
	orders []order
	forged map[string]string // action id to what is wrong with it
	begun  map[string]int    // how often a device began an action
	seen   []protocol.CommandDelivery

	bundles []json.RawMessage // that the owner signed, the first one too
}

// send asks for a command for some devices that may be sent one.
func (o *operator) send(w *World) {
	var devices []string
	for _, r := range w.oracle.rows {
		if r.gate == gateOpen && w.chance(0.6) {
			devices = append(devices, r.device)
		}
	}
	if len(devices) == 0 {
		return
	}
	kind := []string{"ping", "ping", "collect-facts", "restart-agent", "rotate-certificate"}[w.rng.IntN(5)]
	var parameters map[string]signing.Parameter
	if kind == "restart-agent" {
		parameters = map[string]signing.Parameter{"delay-seconds": signing.Number(w.rng.Int64N(60))}
	}
	life := w.between(30*time.Second, 8*time.Minute)
	c := &w.commands
	c.asked = true
	o.act(w, fmt.Sprintf("send %s to %v", kind, devices), func(p simtest.Person) error {
		asked := w.time(w.server.skew)
		id, err := p.SendCommand(w.ctx, kind, parameters, life, devices...)
		if err == nil {
			c.orders = append(c.orders, order{id, kind, devices, asked.Add(life + 2*time.Minute)}) // while it was asked for, time went on
		}
		return err
	}, nil)
	w.after(w.between(0, 3*time.Second), func() { w.server.work(w) })
}

// cancel takes one back.
func (o *operator) cancel(w *World) {
	if len(w.commands.orders) == 0 {
		return
	}
	nth := w.rng.IntN(len(w.commands.orders))
	id := w.commands.orders[nth].id
	o.act(w, fmt.Sprintf("cancel command %d", nth), func(p simtest.Person) error { return p.CancelCommand(w.ctx, id) }, nil)
}

// publish installs another policy bundle, which allows restarts or does not.
func (o *operator) publish(w *World) {
	restart := w.chance(0.6)
	o.act(w, fmt.Sprintf("publish a bundle, restarts %t", restart), func(p simtest.Person) error {
		data, err := w.server.node.NextBundle(w.ctx, func(b *signing.PolicyBundle) {
			kinds := []string{"collect-facts", "ping", "rotate-certificate"}
			if restart {
				kinds = append(kinds, "restart-agent")
			}
			b.Kinds = nil
			for _, k := range kinds {
				b.Kinds = append(b.Kinds, signing.KindRule{Kind: k})
			}
		})
		if err != nil {
			return err
		}
		w.commands.bundles = append(w.commands.bundles, data)
		return p.Publish(w.ctx, data)
	}, nil)
}

// work is a round of the server's work on commands.
func (s *server) work(w *World) {
	if s.node == nil {
		return
	}
	w.resume(w.spawn(ofServer, "commands", func(*process) {
		if err := s.node.CommandRound(w.ctx); err != nil {
			w.tellf("server: work on commands fails")
		}
	}), nil)
}

// working has the rounds come by themselves.
func (s *server) working(w *World) {
	s.work(w)
	every := 30 * time.Second // not each second, as in life: most find nothing to do, and who asks for a command has one soon
	if w.quiet {
		every = time.Minute
	}
	w.after(every, func() { s.working(w) })
}

// begins judges a command that a device begins.
func (o *oracle) begins(w *World, a *agent, id, kind string) {
	w.tellf("%s: begins %s", a.name, kind)
	if what := w.commands.forged[id]; what != "" {
		w.failf("%s does a forged command: %s", a.name, what)
		return
	}
	i := slices.IndexFunc(w.commands.orders, func(c order) bool { return c.id == id })
	if i >= 0 { // otherwise the operator was not told that it was stored
		c := w.commands.orders[i]
		if !slices.Contains(c.devices, a.name) {
			w.failf("%s does a command of %v", a.name, c.devices)
		}
		if now := w.time(a.skew); !now.Before(c.notAfter) && a.skew >= a.steepest {
			w.failf("%s does a command that ended at %s at %s", a.name, c.notAfter, now)
		}
	}
	if a.spoiled {
		return
	}
	key := a.name + " " + id
	if w.commands.begun[key]++; w.commands.begun[key] > 1 {
		w.failf("%s does a command twice", a.name)
	}
}

// tamper is what somebody who owns the server, and so its command key, adds to an
// answer.
func (w *World) tamper(a *agent, body []byte) []byte {
	var answer protocol.HeartbeatAnswer
	if json.Unmarshal(body, &answer) != nil {
		return body
	}
	for _, d := range answer.Commands {
		if len(w.commands.seen) < 20 {
			w.commands.seen = append(w.commands.seen, d)
		}
	}
	if w.quiet || !w.chance(w.faults.forge) {
		return body
	}
	if len(w.commands.bundles) > 0 && w.chance(0.5) { // one that was in force before
		w.tellf("attacker: gives %s an old bundle", a.name)
		answer.PolicyBundles = []json.RawMessage{w.commands.bundles[w.rng.IntN(len(w.commands.bundles))]}
	}
	if len(w.commands.seen) > 0 && w.chance(0.3) { // a real one, for whomever it is, however old
		answer.Commands = append(answer.Commands, w.commands.seen[w.rng.IntN(len(w.commands.seen))])
	} else if d, ok := w.forge(a); ok {
		answer.Commands = append(answer.Commands, d)
	}
	if len(answer.Commands) > protocol.MaxCommands {
		return body
	}
	again, err := json.Marshal(answer)
	if err != nil {
		return body
	}
	return again
}

// forge makes a command that no device may do.
func (w *World) forge(a *agent) (protocol.CommandDelivery, bool) {
	node := w.server.node
	if node == nil || a.saw.EnrollmentID == "" { // it left while the answer was on its way
		return protocol.CommandDelivery{}, false
	}
	s, err := node.Statement()
	if err != nil {
		return protocol.CommandDelivery{}, false
	}
	signer, err := node.CommandSigner()
	if err != nil {
		w.failf("forge: %v", err)
		return protocol.CommandDelivery{}, false
	}
	target := signing.Target{DeviceID: a.name, EnrollmentID: a.saw.EnrollmentID}
	now := w.time(0)
	s.ActionID, s.Kind, s.Requester = w.newID(), "ping", "mallory"
	s.NotBefore, s.NotAfter = now.Add(-time.Minute), now.Add(5*time.Minute)
	what := []string{
		"of an unknown key", "for another device", "for another enrollment", "long over", "of an unknown kind",
		"of another fleet", "under an unknown policy", "under an unknown root", "changed after it was signed", "with a parameter too long",
	}[w.rng.IntN(10)]
	switch what {
	case "of an unknown key":
		signer = w.server.foreign
	case "for another device":
		target.DeviceID = "edge-9"
	case "for another enrollment":
		target.EnrollmentID = w.newID()
	case "long over":
		s.NotBefore, s.NotAfter = now.Add(-200*time.Hour), now.Add(-199*time.Hour)
	case "of an unknown kind":
		s.Kind = "run-shell"
	case "of another fleet":
		s.FleetID = w.newID()
	case "under an unknown policy":
		s.PolicyDigest = signing.Digest([]byte(s.PolicyDigest))
	case "under an unknown root":
		s.RootDigest = signing.Digest([]byte(s.RootDigest))
	case "with a parameter too long":
		s.Parameters = map[string]signing.Parameter{"echo": signing.Text(fmt.Sprintf("%0200d", 1))}
	}
	s.Targets = signing.NewTargets([]signing.Target{target})
	payload, err := s.Payload()
	if err != nil {
		w.failf("forge: %v", err)
		return protocol.CommandDelivery{}, false
	}
	env, err := signing.Seal(w.ctx, signing.PurposeCommand, payload, signer)
	if err != nil {
		w.failf("forge: %v", err)
		return protocol.CommandDelivery{}, false
	}
	if what == "changed after it was signed" {
		s.Requester = "alice"
		if env.Payload, err = s.Payload(); err != nil {
			w.failf("forge: %v", err)
		}
	}
	data, err := env.Marshal()
	if err != nil {
		w.failf("forge: %v", err)
	}
	w.commands.forged[s.ActionID] = what
	w.tellf("attacker: has %s given a command %s", a.name, what)
	return protocol.CommandDelivery{ActionID: s.ActionID, Statement: data}, true
}

// newID is an id of the seed's own.
func (w *World) newID() string {
	a, b := w.rng.Uint64(), w.rng.Uint64()
	return fmt.Sprintf("%08x-%04x-7%03x-%04x-%012x", uint32(a>>32), uint16(a>>16), a&0xfff, 0x8000|b>>50, b&0xffffffffffff)
}

// target is where a command stands with a device.
type target struct{ state, closed, result string }

// final are the states that nothing leads out of.
func (t target) final() bool {
	return t.state == "succeeded" || t.state == "failed" || t.state == "expired" || t.state == "cancelled"
}

// targets reads where commands stand, and judges what became of them.
func (o *oracle) lookAtTargets(w *World) {
	if !w.commands.asked {
		return
	}
	list, err := w.server.node.Query(w.ctx, `SELECT t.command_id, t.device_id, t.state, t.closed_at, length(t.result), c.state FROM command_targets AS t JOIN commands AS c ON c.id = t.command_id`)
	if err != nil {
		w.failf("the oracle cannot read: %v", err)
		return
	}
	before := o.targets
	o.targets, o.open = make(map[string]target, len(list)), map[string]int{}
	for _, c := range list {
		key, t := c[1]+" "+c[0], target{c[2], c[3], c[4]}
		o.targets[key] = t
		if !t.final() || slices.Contains([]string{"review", "unsigned", "open"}, c[5]) {
			o.open[c[1]]++
		}
		if was, known := before[key]; known && was.final() && was != t {
			w.failf("a command of %s had ended and something of it changed: %+v, %+v", c[1], was, t)
		}
	}
}

// reckon compares what devices did with what the server says of it.
func (c *commands) reckon(w *World) {
	if w.server.restores > 0 {
		return // what was lost was lost
	}
	c.signers(w)
	for _, a := range w.agents {
		if a.spoiled || a.clone {
			continue
		}
		for _, o := range c.orders {
			key := a.name + " " + o.id
			if t := w.oracle.targets[key]; t.state == "succeeded" && c.begun[key] != 1 {
				w.failf("%s is said to have done a %s, and began it %d times", a.name, o.kind, c.begun[key])
			}
		}
	}
}

// signers makes sure that each result that is stored is its own device's word.
func (c *commands) signers(w *World) {
	list, err := w.server.node.Query(w.ctx, `SELECT device_id, result FROM command_targets WHERE length(result) > 0`)
	if err != nil {
		w.failf("results: %v", err)
		return
	}
	for _, row := range list {
		var said signing.CommandResult
		env, err := signing.ParseEnvelope([]byte(row[1]))
		if err == nil {
			err = json.Unmarshal(env.Payload, &said)
		}
		if err != nil || said.DeviceID != row[0] {
			w.failf("the result of %s is one of %q: %v", row[0], said.DeviceID, err)
		}
	}
}
