package hostile

import (
	"crypto"
	"encoding/json"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// paper is an attempt with documents that come with a heartbeat's answer.
type paper struct {
	name, told     string
	roots, bundles []json.RawMessage
}

func (s *siege) document(p paper) {
	s.t.Helper()
	beats := s.server.beats
	s.server.say = func(a *protocol.HeartbeatAnswer) { a.FleetRoots, a.PolicyBundles = p.roots, p.bundles }
	s.attempt(p.name, p.told, func() bool { return s.server.beats >= beats+2 })
}

// usurper is a fleet root chain that only the server's friends have signed, and
// which names CAs and policy keys of their own.
type usurper struct {
	root, policy signing.Signer
	deviceCA     certs.CA
}

func (s *siege) usurper() *usurper {
	return &usurper{signer(s.t, signing.PurposeFleetRoot), signer(s.t, signing.PurposePolicyBundle), issuing(s.t, certs.KindDevice, rootCA(s.t))}
}

// claim makes a root theirs.
func (u *usurper) claim(r signing.FleetRoot) signing.FleetRoot {
	r.Root.Keys, r.Policy.Keys = []signing.Key{u.root.Key()}, []signing.Key{u.policy.Key()}
	r.DeviceCAs = [][]byte{u.deviceCA.Certificate.Raw}
	return r
}

func (s *siege) documentAttempts() []paper {
	list := func(env *signing.Envelope) []json.RawMessage { return []json.RawMessage{marshal(s.t, env)} }
	u := s.usurper()
	root := func(version int64, fleet string, theirs bool, by ...signing.Signer) []json.RawMessage {
		r := s.fleetRoot(version)
		r.FleetID = fleet
		if theirs {
			r = u.claim(r)
		}
		return list(s.signRoot(r, by...))
	}
	bundle := func(version int64, change func(*signing.PolicyBundle)) signing.PolicyBundle {
		return s.policyBundle(version, change)
	}
	policyPayload := func(b signing.PolicyBundle) []byte {
		env, err := signing.SignBundle(s.t.Context(), b, u.policy)
		must(s.t, err)
		return env.Payload
	}
	wide := policyPayload(bundle(9, func(b *signing.PolicyBundle) { b.Kinds = append(b.Kinds, signing.KindRule{Kind: "rotate-certificate"}) }))
	command := s.deliver(s.statement(), s.loot.command)
	own, err := signing.ParseEnvelope(s.root)
	must(s.t, err)
	own.Payload = s.signRoot(u.claim(s.fleetRoot(2)), u.root).Payload
	return []paper{
		{"a next root signed by new keys only", "too few trusted keys", root(2, fleetID, true, u.root), nil},
		{"a next root by a key that poses as the root key", "signature does not verify", list(s.pose(signing.PurposeFleetRoot, own.Payload, u.root, s.owner.root)), nil},
		{"a next root under the signature of the first", "signature does not verify", list(own), nil},
		{"a root of another fleet, signed by its own keys", "too few trusted keys", root(2, otherFleet, true, u.root), nil},
		{"a root of another fleet of the same owner", "another fleet", root(2, otherFleet, false, s.owner.root), nil},
		{"the owner's third root without the second", "in between are missing", root(3, fleetID, false, s.owner.root), nil},
		{"another first root", "too few trusted keys", root(1, fleetID, true, u.root), nil},
		{"the bundle before", "version is behind", nil, []json.RawMessage{s.older}},
		{"a bundle signed by the command key", "too few trusted keys", nil, list(s.pose(signing.PurposePolicyBundle, wide, s.loot.command, s.loot.command))},
		{"a bundle by the command key that poses as the policy key", "signature does not verify", nil, list(s.pose(signing.PurposePolicyBundle, wide, s.loot.command, s.owner.policy))},
		{"a bundle by another policy key", "too few trusted keys", nil, list(s.pose(signing.PurposePolicyBundle, wide, u.policy, u.policy))},
		{"a bundle of another fleet of the same owner", "another fleet", nil, list(s.signBundle(bundle(9, func(b *signing.PolicyBundle) { b.FleetID = otherFleet })))},
		{"a bundle of next year", "not valid yet", nil, list(s.signBundle(bundle(9, func(b *signing.PolicyBundle) { b.IssuedAt = day.Add(365 * 24 * time.Hour) })))},
		{"a command as a bundle", "another purpose", nil, []json.RawMessage{command.Statement}},
	}
}

// gift is an attempt in the answer to a request for a certificate.
type gift struct {
	name, told string
	give       func(key crypto.PublicKey, to *issued)
}

// certificate answers a renewal, or a recovery, with what is not the device's.
func (s *siege) certificate(g gift, recovery bool) {
	s.t.Helper()
	name := "at renewal: " + g.name
	if recovery {
		name = "at recovery: " + g.name
	}
	s.server.say = func(a *protocol.HeartbeatAnswer) { a.Renew = !recovery }
	s.server.issue = func(_ *signing.Renewal, key crypto.PublicKey, to *issued) { g.give(key, to) }
	issues, beats, given := s.server.issues, 0, false
	s.attempt(name, g.told, func() bool {
		if !given && s.server.issues > issues {
			given, beats = true, s.server.beats
		}
		return given && s.server.beats >= beats+3
	})
}

func (s *siege) certificateAttempts() []gift {
	u := s.usurper()
	own := func(ca certs.CA, id string, pub crypto.PublicKey) [][]byte {
		return chain(s.t, ca, id, pub, s.device.now())
	}
	first := marshal(s.t, s.signRoot(u.claim(s.fleetRoot(1)), u.root))
	next := marshal(s.t, s.signRoot(u.claim(s.fleetRoot(2)), u.root))
	return []gift{
		{"for another key", "of another key", func(_ crypto.PublicKey, to *issued) { to.chain = own(s.deviceCA, deviceID, newKey(s.t).Public()) }},
		{"for another name", "it is of edge-2", func(key crypto.PublicKey, to *issued) { to.chain = own(s.deviceCA, "edge-2", key) }},
		{"from a CA that the root does not name", "certificate-foreign", func(key crypto.PublicKey, to *issued) { to.chain = own(u.deviceCA, deviceID, key) }},
		{"with the first root replaced", "a document is refused", func(key crypto.PublicKey, to *issued) {
			to.chain, to.roots = own(u.deviceCA, deviceID, key), []json.RawMessage{first, next}
		}},
		{"with a next root signed by new keys only", "a document is refused", func(key crypto.PublicKey, to *issued) {
			to.chain, to.roots = own(u.deviceCA, deviceID, key), []json.RawMessage{s.root, next}
		}},
	}
}
