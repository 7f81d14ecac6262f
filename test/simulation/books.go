package simulation

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
			AND 1 <> (SELECT COUNT(*) FROM audit_entries AS a WHERE a.action IN ('certificate.issue', 'certificate.renew') AND a.object_id = c.device_id AND a.details LIKE '%"' || c.fingerprint || '"%')`},
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
	{"two certificates of one enrollment", `
		SELECT c.enrollment_id, COUNT(*) AS n FROM certificates AS c WHERE c.kind = 'device' GROUP BY c.enrollment_id HAVING n > 1`},
	{"a revoked device with a certificate that is not", `
		SELECT d.device_id, c.serial FROM devices AS d JOIN certificates AS c ON c.device_id = d.device_id WHERE c.kind = 'device' AND d.state = 'revoked' AND c.revoked_at = 0`},
	{"a gate that is not the device's state", `
		SELECT d.device_id, c.gate FROM devices AS d JOIN device_counters AS c ON c.device_id = d.device_id
			WHERE c.gate <> CASE WHEN d.state = 'suspended' THEN 1 WHEN d.state = 'active' AND d.held_reason <> '' THEN 2 WHEN d.state = 'active' THEN 0 ELSE 3 END`},
	{"a verdict that is not the device's state", `
		SELECT d.device_id, t.verdict FROM devices AS d LEFT JOIN trust_verdicts AS t ON t.device_id = d.device_id
			WHERE t.verdict IS NULL OR (t.verdict = 'trusted' OR t.verdict = 'reserved') <> (d.state = 'active' AND d.held_reason = '')`},
	{"an approval that was executed, and its enrollment was not approved", `
		SELECT p.subject_id, e.state FROM approvals AS p JOIN enrollments AS e ON e.id = p.subject_id WHERE p.state = 'executed' AND e.state = 'pending'`},
	{"an open approval of an enrollment that is decided", `
		SELECT e.device_id, e.state FROM approvals AS p JOIN enrollments AS e ON e.id = p.subject_id WHERE p.state = 'open' AND e.state <> 'pending'`},
}

// books makes sure that acts and entries are equal.
func (o *oracle) books(w *World) {
	for _, b := range books {
		found, err := w.server.node.Query(w.ctx, b.query)
		if err != nil {
			w.failf("%s: %v", b.what, err)
			return
		}
		if len(found) > 0 {
			w.failf("%s: %v", b.what, found)
		}
	}
}
