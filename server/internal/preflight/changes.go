package preflight

import (
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
)

func changeChecks() []Check {
	dual := func(id, key string, path approval.Path, what string, set func(f *Facts) int) Check {
		return Check{
			ID: id, Weight: MustToStart,
			Title:    "A second person approves " + what,
			Why:      "One stolen session, or one bad day, must not be enough.",
			Change:   "set " + key + " to 1 or more, or remove it",
			Settings: []string{key},
			Rule: func(f *Facts) Verdict {
				if set(f) < 1 {
					return fail("%s=%d", key, set(f))
				}
				v, missing := f.tables()
				if missing {
					return v
				}
				if people, recorded := f.Standing.Quorums[string(path)]; recorded && people < 1 {
					// The higher setting takes its place at the start.
					return warn("nobody so far, and %s from the next start", plural(set(f), "person"))
				}
				return pass("%s", plural(set(f), "person"))
			},
		}
	}
	waiting := func(id, key, what string) Check {
		return Check{
			ID: id, Weight: Must, Title: "More than one person decides on " + what, Why: "One stolen session, or one bad day, must not be enough.",
			Settings: []string{key}, Later: what,
		}
	}
	return []Check{
		dual("change.dual-approval-commands", "SENTINEL_DUAL_APPROVAL_COMMANDS", approval.Commands, "a command", func(f *Facts) int { return int(f.Config.DualApprovalCommands) }),
		dual("change.dual-approval-certificates", "SENTINEL_DUAL_APPROVAL_CERTIFICATES", approval.Certificates, "a sensitive device, and that a suspension ends", func(f *Facts) int { return f.Config.DualApprovalCertificates }),
		dual("change.dual-approval-identity", "SENTINEL_DUAL_APPROVAL_IDENTITY", approval.Identities, "another key of a device", func(f *Facts) int { return f.Config.DualApprovalIdentity }),
		waiting("change.dual-approval-policy-exceptions", "SENTINEL_DUAL_APPROVAL_POLICY_EXCEPTIONS", "policy exceptions"),
		waiting("change.dual-approval-recovery", "SENTINEL_DUAL_APPROVAL_RECOVERY", "recovery plans"),
		waiting("change.dual-approval-update-campaigns", "SENTINEL_DUAL_APPROVAL_UPDATE_CAMPAIGNS", "update campaigns"),
		{
			ID: "change.approval-delay", Weight: Should,
			Title:    "A change of who may approve takes effect later, and can be cancelled until then",
			Why:      "Whoever takes over two accounts must not have the fleet a second later.",
			Change:   "set SENTINEL_APPROVAL_DELAY=10m or more, or remove it",
			Settings: []string{"SENTINEL_APPROVAL_DELAY"},
			Rule:     atLeast(10*time.Minute, "SENTINEL_APPROVAL_DELAY", func(f *Facts) time.Duration { return f.Config.ApprovalDelay }),
		},
		{
			ID: "change.fresh-sign-in", Weight: Should,
			Title:    "Who approves has signed in not long ago",
			Why:      "A session that was left open approves for whoever sits down.",
			Change:   "set SENTINEL_APPROVAL_FRESH_SIGN_IN=1h, or remove it",
			Settings: []string{"SENTINEL_APPROVAL_FRESH_SIGN_IN"},
			Rule: func(f *Facts) Verdict {
				if f.Config.ApprovalFreshSignIn == 0 {
					return fail("any session will do")
				}
				return pass("within %s", f.Config.ApprovalFreshSignIn)
			},
		},
		{
			ID: "change.template-promotion", Weight: Must, Title: "Incident policy templates name their target environment and come from pinned issuers",
			Why: "What was signed for a test must not come into force here.", Later: "incident policy templates",
		},
		{
			ID: "change.direct-import", Weight: Must, Title: "Incident policy templates are imported by a reviewed request only",
			Why: "An import is a change of policy.", Settings: []string{"SENTINEL_INCIDENT_POLICY_TEMPLATE_DIRECT_IMPORT_ENABLED"}, Later: "incident policy templates",
		},
	}
}

func atLeast(least time.Duration, key string, value func(f *Facts) time.Duration) func(*Facts) Verdict {
	return func(f *Facts) Verdict {
		if v := value(f); v < least {
			return fail("%s is %s", key, config.Compact(v))
		}
		return pass("%s=%s", key, config.Compact(value(f)))
	}
}
