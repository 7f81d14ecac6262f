package check

import (
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/record"
)

func setRequest(id string, change func(*Request)) func(*Evidence) {
	return func(e *Evidence) {
		i := slices.IndexFunc(e.Requests, func(r Request) bool { return r.ID == id })
		change(&e.Requests[i])
	}
}

func setCertificate(fingerprint string, change func(*Certificate)) func(*Evidence) {
	return func(e *Evidence) {
		i := slices.IndexFunc(e.Certificates, func(c Certificate) bool { return c.Fingerprint == fingerprint })
		change(&e.Certificates[i])
	}
}

func certificate(c Certificate) func(*Evidence) {
	return func(e *Evidence) { e.Certificates = append(e.Certificates, c) }
}

func request(r Request) func(*Evidence) {
	return func(e *Evidence) { e.Requests = append(e.Requests, r) }
}

func all(plants ...func(*Evidence)) func(*Evidence) {
	return func(e *Evidence) {
		for _, p := range plants {
			p(e)
		}
	}
}

func plantedRenewals() []violation {
	const (
		enrolled = "an enrollment leads to one device and one certificate"
		inForce  = "a device has one certificate in use, and one at most that waits for its first use"
		silent   = "a certificate is not accepted once another took its place"
		once     = "a request leads to one certificate at most"
		open     = "one request of a device is open at a time"
		kept     = "an agent keeps the identity that the server knows"
		entries  = "each step of a renewal has one entry"
	)
	beat := func(shown string, result string) func(*Evidence) {
		return op(record.Op{Kind: record.Heartbeat, Device: "edge-4", Epoch: home, Counter: 6, Shown: shown, Begin: 95 * s, End: 96 * s, Result: result})
	}
	return []violation{
		{enrolled, "one for nobody", certificate(Certificate{"fp-2", "edge-x", "e-x", 0})},
		{enrolled, "another on record", setDevice("edge-1", func(d *Device) { d.Fingerprint = "fp-edge-3" })},
		{enrolled, "of another enrollment", func(e *Evidence) { e.Certificates[0].Enrollment = "e-3" }},
		{enrolled, "two enrollments of one device", func(e *Evidence) { e.Enrollments = append(e.Enrollments, e.Enrollments[0]) }},
		{enrolled, "nobody let it in", func(e *Evidence) { e.Enrollments[0].State = "approved" }},

		{inForce, "two", certificate(Certificate{"fp-2", "edge-1", "e-1", 0})},
		{inForce, "three for a while", certificate(Certificate{"fp-2", "edge-4", "e-4", 70 * s})},
		{inForce, "none", setCertificate("fp-edge-1", func(c *Certificate) { c.End = 50 * s })},
		{inForce, "the one of before stays", setCertificate("fp-edge-4", func(c *Certificate) { c.End = 0 })},
		{inForce, "the one that was replaced stays", setCertificate("fp-q-2", func(c *Certificate) { c.End = 0 })},
		{inForce, "the one that was replaced stayed for a while", setCertificate("fp-q-2", func(c *Certificate) { c.End = 120 * s })},
		{inForce, "the one that was replaced stayed for a moment", setCertificate("fp-q-2", func(c *Certificate) { c.End += time.Microsecond })},
		{inForce, "the one of before stayed for a moment", setCertificate("fp-edge-4", func(c *Certificate) { c.End += time.Microsecond })},
		{inForce, "the one that waited outlives the revocation", setCertificate("fp-q-7", func(c *Certificate) { c.End = 95 * s })},
		{inForce, "the one that waits is gone", setCertificate("fp-q-3", func(c *Certificate) { c.End = 90 * s })},
		{inForce, "one waits, and its request is closed", setRequest("q-3", func(r *Request) { r.State, r.End = "rejected", 99*s })},
		{inForce, "the request waits, and nothing else", setDevice("edge-4", func(d *Device) { d.Next = "" })},
		{inForce, "a revoked device keeps one", setCertificate("fp-edge-2", func(c *Certificate) { c.End = 0 })},

		{silent, "a heartbeat under the one of before", beat("", record.OK)},
		{silent, "a renewal by the one of before", op(record.Op{Kind: record.Renew, Device: "edge-4", Request: "q-4", Begin: 95 * s, End: 96 * s, Result: record.OK})},
		{silent, "a renewal by it that a person is to decide", op(record.Op{Kind: record.Renew, Device: "edge-4", Request: "q-4", Begin: 95 * s, End: 96 * s, Result: record.Pending})},
		{silent, "a heartbeat under the one of before last", all(beat("q-3", record.OK), op(record.Op{Kind: record.Heartbeat, Device: "edge-4", Shown: "q-1", Begin: 97 * s, End: 98 * s, Result: record.OK}))},

		{once, "a certificate of no request", certificate(Certificate{"fp-2", "edge-1", "e-1", 30 * s})},
		{once, "one certificate of two requests", setRequest("q-2", func(r *Request) { r.Fingerprint = "fp-q-1" })},
		{once, "a certificate that is not there", setRequest("q-6", func(r *Request) { r.Fingerprint = "fp-x" })},
		{once, "answered with another", op(record.Op{Kind: record.Renew, Device: "edge-4", Request: "q-3", Shown: "q-1", Issued: "fp-y", Begin: 82 * s, End: 83 * s, Result: record.OK})},
		{once, "answered, and it is not there", op(record.Op{Kind: record.Renew, Device: "edge-1", Request: "q-7", Begin: 82 * s, End: 83 * s, Result: record.Pending})},

		{open, "two wait", request(Request{ID: "q-7", Device: "edge-1", State: "pending", Approval: "a-3", Created: 99 * s})},
		{open, "of a revoked device", setRequest("q-7", func(r *Request) { r.State, r.End = "issued", 0 })},
		{open, "two waited for a while", setRequest("q-2", func(r *Request) { r.End = 120 * s })},

		{kept, "its key is gone", func(e *Evidence) { e.Identities["agent-1"] = Identity{Other: "fp-agent-9", Tried: true} }},
		{kept, "the server knows another", setDevice("agent-1", func(d *Device) { d.Fingerprint = "fp-edge-1" })},
		{kept, "it gave up what the server knows", func(e *Evidence) { e.Identities["agent-1"] = Identity{InUse: "fp-before", Other: "fp-agent-9"} }},

		{entries, "none of a certificate", without("certificate.renew", "")},
		{entries, "two of a certificate", entry(Entry{"certificate.renew", "edge-4", "done", "", `{"request":"q-1"}`})},
		{entries, "none of a first use", without("certificate.supersede", "")},
		{entries, "none of a request", without("identity.request", "")},
		{entries, "a vote on what nobody reviews", entry(Entry{"approval.vote", "edge-4", "done", "", `{"request":"q-1"}`})},
		{entries, "two votes of one", func(e *Evidence) {
			for range 2 {
				e.Audit = append(e.Audit, Entry{"approval.vote", "edge-1", "done", "", `{"request":"q-5"}`})
			}
		}},
		{entries, "none of a replacement", without("identity.reject", "a newer request took its place")},
		{entries, "of a first use that was not", entry(Entry{"certificate.supersede", "edge-4", "done", "", `{"fingerprint":"fp-q-3"}`})},
		{entries, "of nothing", entry(Entry{"certificate.renew", "edge-4", "done", "", `{"request":"q-9"}`})},
		{entries, "of an end that was not", entry(Entry{"identity.expire", "edge-4", "done", "", `{"request":"q-1"}`})},
	}
}
