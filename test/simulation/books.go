package simulation

import (
	"strconv"
	"strings"
)

// books are what must be equal in the end: a query that finds what is not.
var books = []struct{ what, query string }{
	{"a device's revocation without one audit entry", `
		SELECT d.device_id, (SELECT COUNT(*) FROM audit_entries AS a WHERE a.action = 'certificate.revoke' AND a.result = 'done' AND a.object_id = d.device_id) AS n
		FROM devices AS d WHERE n <> (d.state = 'revoked')`},
	{"a suspension without its audit entries", `
		SELECT d.device_id, (SELECT COUNT(*) FROM audit_entries AS a WHERE a.action = 'device.suspend' AND a.result = 'done' AND a.object_id = d.device_id)
			- (SELECT COUNT(*) FROM audit_entries AS a WHERE a.action = 'device.resume' AND a.result = 'done' AND a.object_id = d.device_id) AS n
		FROM devices AS d WHERE d.state <> 'revoked' AND n <> (d.state = 'suspended')`},
	{"a hold without its audit entries", `
		SELECT d.device_id, (SELECT COUNT(*) FROM audit_entries AS a WHERE a.action = 'device.hold' AND a.result = 'done' AND a.object_id = d.device_id)
			- (SELECT COUNT(*) FROM audit_entries AS a WHERE a.action = 'device.resync' AND a.result = 'done' AND a.object_id = d.device_id) AS n
		FROM devices AS d WHERE n <> (d.held_reason <> '')`},
	{"a certificate without one audit entry", `
		SELECT c.device_id, c.serial FROM certificates AS c WHERE c.kind = 'device'
			AND 1 <> (SELECT COUNT(*) FROM audit_entries AS a WHERE a.action IN ('certificate.issue', 'certificate.renew') AND a.object_id = c.device_id AND a.details LIKE '%"fingerprint":"' || c.fingerprint || '"%')`},
	{"an enrollment without one audit entry", `
		SELECT e.device_id, e.state FROM enrollments AS e
			WHERE 1 <> (SELECT COUNT(*) FROM audit_entries AS a WHERE a.action = 'enrollment.request' AND a.result = 'done' AND a.details LIKE '%"' || e.id || '"%')`},
	{"a rejected enrollment without one audit entry", `
		SELECT e.device_id, e.reason FROM enrollments AS e
			WHERE (e.state = 'rejected') <> (SELECT COUNT(*) FROM audit_entries AS a WHERE a.action = 'enrollment.reject' AND a.result = 'done' AND a.details LIKE '%"' || e.id || '"%')`},
	{"a command without one audit entry", `
		SELECT c.id, c.state FROM commands AS c WHERE 1 <> (SELECT COUNT(*) FROM audit_entries AS a WHERE a.action = 'command.request' AND a.result = 'done' AND a.object_id = c.id)`},
	{"a signed command without one audit entry, or the other way round", `
		SELECT c.id, c.state FROM commands AS c WHERE (length(c.envelope) > 0) <> (SELECT COUNT(*) FROM audit_entries AS a WHERE a.action = 'command.sign' AND a.result = 'done' AND a.object_id = c.id)`},
	{"a result without one audit entry, or the other way round", `
		SELECT t.device_id, t.state FROM command_targets AS t WHERE (length(t.result) > 0) <>
			(SELECT COUNT(*) FROM audit_entries AS a WHERE a.action = 'command.result' AND a.result = 'done' AND a.object_id = t.command_id AND a.details LIKE '%"' || t.device_id || '"%')`},
	{"a command that is over and has an open target, or the other way round", `
		SELECT c.id, c.state FROM commands AS c WHERE (c.state IN ('review', 'unsigned', 'open')) <> EXISTS (
			SELECT 1 FROM command_targets AS t WHERE t.command_id = c.id AND t.state IN ('queued', 'delivered', 'acknowledged'))`},
	{"a target that succeeded without the device's word", `
		SELECT t.device_id, t.state FROM command_targets AS t WHERE t.state = 'succeeded' AND length(t.result) = 0`},
	{"a token without one audit entry", `
		SELECT t.id, t.uses FROM enroll_tokens AS t WHERE 1 <> (SELECT COUNT(*) FROM audit_entries AS a WHERE a.action = 'enroll-token.create' AND a.object_id = t.id)`},
	{"a token whose uses are not its enrollments", `
		SELECT t.uses, (SELECT COUNT(*) FROM enrollments AS e WHERE e.token_id = t.id) AS n FROM enroll_tokens AS t WHERE n <> t.uses OR n > t.max_uses`},
	{"an enrollment that was issued and is no device's, or the other way round", `
		SELECT e.device_id, e.state FROM enrollments AS e LEFT JOIN devices AS d ON d.enrollment_id = e.id WHERE (e.state = 'issued') <> (d.device_id IS NOT NULL)`},
	{"a certificate that stands and is neither a device's current nor its next one", `
		SELECT c.device_id, c.serial FROM certificates AS c JOIN device_counters AS k ON k.device_id = c.device_id
			WHERE c.kind = 'device' AND c.revoked_at = 0 AND c.fingerprint NOT IN (k.fingerprint, k.next_fingerprint)`},
	{"a device whose current certificate does not stand", `
		SELECT d.device_id, c.serial FROM devices AS d JOIN device_counters AS k ON k.device_id = d.device_id LEFT JOIN certificates AS c ON c.fingerprint = k.fingerprint
			WHERE d.state <> 'revoked' AND (c.fingerprint IS NULL OR c.revoked_at <> 0 OR c.device_id <> d.device_id)`},
	{"a next certificate that nobody asked for, or the other way round", `
		SELECT k.device_id, r.state FROM device_counters AS k LEFT JOIN identity_requests AS r ON r.device_id = k.device_id AND r.state = 'issued'
			WHERE k.gate <> 3 AND k.next_fingerprint <> COALESCE(r.fingerprint, '')`},
	{"a certificate's first use without one audit entry", `
		SELECT r.device_id, r.kind FROM identity_requests AS r WHERE (r.state = 'used') <>
			(SELECT COUNT(*) FROM audit_entries AS a WHERE a.action = 'certificate.supersede' AND a.object_id = r.device_id AND r.fingerprint <> '' AND a.details LIKE '%"fingerprint":"' || r.fingerprint || '"%')`},
	{"a recovery that was given a certificate, and nobody agreed", `
		SELECT r.device_id, r.state FROM identity_requests AS r JOIN approvals AS p ON p.id = r.approval_id WHERE r.fingerprint <> '' AND p.state <> 'executed'`},
	{"a recovery that nobody could agree to", `
		SELECT r.device_id, r.state FROM identity_requests AS r WHERE r.kind = 'recovery' AND r.approval_id = ''`},
	{"a revoked device with a certificate that is not", `
		SELECT d.device_id, c.serial FROM devices AS d JOIN certificates AS c ON c.device_id = d.device_id WHERE c.kind = 'device' AND d.state = 'revoked' AND c.revoked_at = 0`},
	{"a gate that is not the device's state", `
		SELECT d.device_id, c.gate FROM devices AS d JOIN device_counters AS c ON c.device_id = d.device_id
			WHERE c.gate <> CASE WHEN d.state = 'suspended' THEN 1 WHEN d.state = 'active' AND d.held_reason <> '' THEN 2 WHEN d.state = 'active' THEN 0 ELSE 3 END`},
	{"a verdict that is not the device's state", `
		SELECT d.device_id, t.verdict FROM devices AS d JOIN device_counters AS k ON k.device_id = d.device_id
			JOIN certificates AS c ON c.fingerprint = k.fingerprint LEFT JOIN trust_verdicts AS t ON t.device_id = d.device_id
			WHERE (d.state = 'revoked' OR c.not_after > NOW) AND t.verdict IS NULL
				OR (d.state <> 'active' OR c.not_after > NOW AND t.evaluated_at <= NOW AND (t.holds_until = 0 OR t.holds_until > NOW OR t.holds_until < NOW - 300000000)) AND (t.verdict = 'trusted' OR t.verdict = 'reserved') <> (d.state = 'active' AND d.held_reason = '')`},
	{"an approval that was executed, and its enrollment was not approved", `
		SELECT p.subject_id, e.state FROM approvals AS p JOIN enrollments AS e ON e.id = p.subject_id WHERE p.state = 'executed' AND e.state = 'pending'`},
	{"an open approval of an enrollment that is decided", `
		SELECT e.device_id, e.state FROM approvals AS p JOIN enrollments AS e ON e.id = p.subject_id WHERE p.state = 'open' AND e.state <> 'pending'`},
}

// books makes sure that acts and entries are equal.
func (o *oracle) books(w *World) {
	for _, b := range books {
		// A certificate that ends makes its device untrusted without anybody's act; what a
		// clock that was ahead took for ended, and a verdict that held until lately, are
		// judged anew by the next round, which comes within five minutes here.
		query := strings.ReplaceAll(b.query, "NOW", strconv.FormatInt(w.time(0).UnixMicro(), 10))
		found, err := w.server.node.Query(w.ctx, query)
		if err != nil {
			w.failf("%s: %v", b.what, err)
			return
		}
		if len(found) > 0 {
			w.failf("%s: %v", b.what, found)
		}
	}
}
