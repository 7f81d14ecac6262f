package hostile

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/merkle"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// order is an attempt with a command that was never done before.
type order struct {
	name   string
	reason string                                                      // the agent's
	forge  func(c *signing.CommandStatement) *protocol.CommandDelivery // nil: as changed, signed by the command key
}

func (s *siege) command(o order) {
	s.t.Helper()
	c := s.statement()
	d := o.forge(&c)
	if d == nil {
		made := s.deliver(c, s.loot.command)
		d = &made
	}
	s.server.say = func(a *protocol.HeartbeatAnswer) { a.Commands = []protocol.CommandDelivery{*d} }
	s.attempt(o.name, "reason="+o.reason, func() bool { return s.server.results[d.ActionID].times > 0 })
	if got := s.server.results[d.ActionID]; got.reason != o.reason {
		s.t.Errorf("%s: %+v, and should be refused as %s", o.name, got, o.reason)
	}
}

// deliver signs whatever it is given: a taken server's program has no scruples.
func (s *siege) deliver(c signing.CommandStatement, by signing.Signer) protocol.CommandDelivery {
	s.t.Helper()
	payload, err := json.Marshal(c)
	must(s.t, err)
	env, err := signing.Seal(s.t.Context(), by.Key().Purpose, payload, by)
	must(s.t, err)
	return protocol.CommandDelivery{ActionID: c.ActionID, Statement: marshal(s.t, env)}
}

// posed is a delivery whose signature by one key names another.
func (s *siege) posed(c *signing.CommandStatement, by, as signing.Signer) *protocol.CommandDelivery {
	s.t.Helper()
	payload, err := json.Marshal(c)
	must(s.t, err)
	return &protocol.CommandDelivery{ActionID: c.ActionID, Statement: marshal(s.t, s.pose(signing.PurposeCommand, payload, by, as))}
}

func (s *siege) pose(p signing.Purpose, payload []byte, by, as signing.Signer) *signing.Envelope {
	s.t.Helper()
	sig, err := by.Sign(s.t.Context(), signing.PAE(p.PayloadType(), payload))
	must(s.t, err)
	return &signing.Envelope{PayloadType: p.PayloadType(), Payload: payload, Signatures: []signing.Signature{{KeyID: as.Key().ID, Sig: sig}}}
}

// changed is an attempt with a statement that the command key signs.
func changed(name, reason string, change func(c *signing.CommandStatement)) order {
	return order{name, reason, func(c *signing.CommandStatement) *protocol.CommandDelivery { change(c); return nil }}
}

func with(name string, p signing.Parameter) func(*signing.CommandStatement) {
	return func(c *signing.CommandStatement) { c.Parameters = map[string]signing.Parameter{name: p} }
}

func (s *siege) commandAttempts() []order {
	return slices.Concat(s.kinds(), s.places(), s.times(), s.signers(), s.proofs())
}

func (s *siege) kinds() []order {
	kind := func(k string) func(*signing.CommandStatement) {
		return func(c *signing.CommandStatement) { c.Kind = k }
	}
	return []order{
		changed("a kind that nobody knows", "kind-not-allowed", kind("install")),
		changed("a kind outside the bundle", "kind-not-allowed", kind("rotate-certificate")),
		changed("a kind of the bundle before, under that bundle", "kind-not-allowed", func(c *signing.CommandStatement) {
			c.Kind, c.PolicyVersion, c.PolicyDigest = "rotate-certificate", 2, s.olderDigest
		}),
		changed("a kind that needs two persons", "approvals-missing", kind("restart-agent")),
		changed("a text longer than the bundle allows", "bad-parameter", with("echo", signing.Text("seventeen letters"))),
		changed("a number in the place of a text", "bad-parameter", with("echo", signing.Number(1))),
		changed("a parameter that the kind does not take", "bad-parameter", with("path", signing.Text("/etc/passwd"))),
		changed("a number beyond the kind's own limit", "bad-parameter", func(c *signing.CommandStatement) {
			c.Kind = "restart-agent"
			with("delay-seconds", signing.Number(301))(c)
		}),
		changed("a parameter beyond the form", "malformed", with("echo", signing.Parameter{})),
	}
}

func (s *siege) places() []order {
	to := func(t ...signing.Target) func(*signing.CommandStatement) {
		return func(c *signing.CommandStatement) { c.Targets = signing.NewTargets(t) }
	}
	other := signing.Target{DeviceID: "edge-2", EnrollmentID: s.server.enrollment}
	before := signing.Target{DeviceID: deviceID, EnrollmentID: otherFleet}
	unknown := signing.Digest([]byte("unknown"))
	return []order{
		changed("for another device", "not-a-target", to(other)),
		changed("for another enrollment of the device", "not-a-target", to(before)),
		changed("for nobody, which is not everybody", "malformed", to()),
		changed("of another fleet", "other-fleet", func(c *signing.CommandStatement) { c.FleetID = otherFleet }),
		changed("under an unknown fleet root", "unknown-root", func(c *signing.CommandStatement) { c.RootDigest = unknown }),
		changed("under an unknown policy", "unknown-policy", func(c *signing.CommandStatement) { c.PolicyDigest = unknown }),
		changed("under the policy with another version", "unknown-policy", func(c *signing.CommandStatement) { c.PolicyVersion = 4 }),
	}
}

func (s *siege) times() []order {
	at := func(from, until time.Duration) func(*signing.CommandStatement) {
		return func(c *signing.CommandStatement) {
			now := s.device.now().Truncate(time.Microsecond)
			c.NotBefore, c.NotAfter = now.Add(from), now.Add(until)
		}
	}
	return []order{
		changed("expired", "expired", at(-2*time.Hour, -time.Second)),
		changed("not yet valid", "not-yet-valid", at(2*time.Hour, 3*time.Hour)),
		changed("valid for longer than any may be", "malformed", at(0, signing.MaxCommandLife+time.Hour)),
	}
}

func (s *siege) signers() []order {
	by := func(k signing.Signer) func(*signing.CommandStatement) *protocol.CommandDelivery {
		return func(c *signing.CommandStatement) *protocol.CommandDelivery {
			d := s.deliver(*c, k)
			return &d
		}
	}
	impostor := signer(s.t, signing.PurposeCommand)
	return []order{
		{"by the command key of the bundle before", "unknown-signer", by(s.loot.before)},
		{"by a key that the server made today", "unknown-signer", by(impostor)},
		{"by a key of another purpose", "unknown-signer", by(s.audit)},
		{"by a key of another purpose that poses as the command key", "bad-signature", func(c *signing.CommandStatement) *protocol.CommandDelivery {
			return s.posed(c, s.audit, s.loot.command)
		}},
		{"by a key that poses as the policy key", "unknown-signer", func(c *signing.CommandStatement) *protocol.CommandDelivery {
			return s.posed(c, impostor, s.owner.policy)
		}},
		{"changed after it was signed", "bad-signature", func(c *signing.CommandStatement) *protocol.CommandDelivery {
			d := s.deliver(*c, s.loot.command)
			env, err := signing.ParseEnvelope(d.Statement)
			must(s.t, err)
			c.Kind = "collect-facts"
			env.Payload, err = json.Marshal(c)
			must(s.t, err)
			d.Statement = marshal(s.t, env)
			return &d
		}},
		{"delivered under another id", "other-action", func(c *signing.CommandStatement) *protocol.CommandDelivery {
			d := s.deliver(*c, s.loot.command)
			d.ActionID = s.statement().ActionID
			return &d
		}},
		{"as an approval", "unknown-signer", func(c *signing.CommandStatement) *protocol.CommandDelivery {
			payload, err := json.Marshal(c)
			must(s.t, err)
			return &protocol.CommandDelivery{ActionID: c.ActionID, Statement: marshal(s.t, s.pose(signing.PurposeApproval, payload, s.loot.command, s.loot.command))}
		}},
		{"with a member that no statement has", "malformed", func(c *signing.CommandStatement) *protocol.CommandDelivery {
			payload, err := json.Marshal(c)
			must(s.t, err)
			payload = append([]byte(`{"force":true,`), payload[1:]...)
			return &protocol.CommandDelivery{ActionID: c.ActionID, Statement: marshal(s.t, s.pose(signing.PurposeCommand, payload, s.loot.command, s.loot.command))}
		}},
	}
}

// proofs are attempts with a statement that names its targets by a hash tree.
func (s *siege) proofs() []order {
	var list []signing.Target
	for n := range 20 {
		list = append(list, signing.Target{DeviceID: fmt.Sprintf("other-%d", n), EnrollmentID: otherFleet})
	}
	including := append(slices.Clone(list), s.target())
	forge := func(targets []signing.Target, prove func(signing.Targets, *merkle.Tree) *signing.Proof) func(*signing.CommandStatement) *protocol.CommandDelivery {
		return func(c *signing.CommandStatement) *protocol.CommandDelivery {
			c.Targets = signing.NewTargets(targets)
			d := s.deliver(*c, s.loot.command)
			if p := prove(c.Targets, signing.TargetTree(targets)); p != nil {
				data, err := json.Marshal(p)
				must(s.t, err)
				d.Proof = data
			}
			return &d
		}
	}
	return []order{
		{"a tree without a proof", "not-a-target", forge(including, func(signing.Targets, *merkle.Tree) *signing.Proof { return nil })},
		{"a tree that does not hold the device", "not-a-target", forge(list, func(t signing.Targets, tree *merkle.Tree) *signing.Proof {
			return signing.ProofOf(t, tree, 3)
		})},
		{"a proof of another place", "not-a-target", forge(including, func(t signing.Targets, tree *merkle.Tree) *signing.Proof {
			p := signing.ProofOf(t, tree, 20)
			p.Index = 19
			return p
		})},
		{"a proof with a hash changed", "not-a-target", forge(including, func(t signing.Targets, tree *merkle.Tree) *signing.Proof {
			p := signing.ProofOf(t, tree, 20)
			p.Hashes[0][0] ^= 1
			return p
		})},
	}
}

// repeated is an attempt with the id of the command that was done.
type repeated struct {
	name  string
	wait  time.Duration // before
	again func(c *signing.CommandStatement)
}

// repetition delivers the id of the command that was done once more. The device
// answers with what became of it then.
func (s *siege) repetition(r repeated) {
	s.t.Helper()
	s.device.pass(r.wait)
	c := s.statement()
	c.ActionID = s.done
	r.again(&c)
	d := s.deliver(c, s.loot.command)
	s.server.say = func(a *protocol.HeartbeatAnswer) { a.Commands = []protocol.CommandDelivery{d} }
	told := s.server.results[s.done].times
	s.attempt(r.name, "", func() bool { return s.server.results[s.done].times >= told+2 })
}

// repetitions are told to one process of the agent after the other.
func (s *siege) repetitions() []repeated {
	return []repeated{
		{"the same id again", 0, func(*signing.CommandStatement) {}},
		{"the same id with other bytes", 0, func(c *signing.CommandStatement) { with("echo", signing.Text("again"))(c) }},
		{"the same id with another kind", 0, func(c *signing.CommandStatement) { c.Kind = "collect-facts" }},
	}
}
