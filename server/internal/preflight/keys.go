package preflight

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
)

// keyChecks are the trust model's: who can command the fleet.
func keyChecks() []Check {
	list := []Check{
		{
			ID: checkFleetRoot, Weight: MustToStart,
			Title:  "The fleet has its root, signed by its owner",
			Why:    "Without one nothing can enroll; a stored one that does not verify was changed.",
			Change: "hold the ceremony: sentinel-server keys request, keys ceremony (on another machine), keys install",
			Rule: func(f *Facts) Verdict {
				if v, missing := f.tables(); missing {
					return v
				}
				switch {
				case f.Fleet.Wrong != "":
					return fail("%s", f.Fleet.Wrong)
				case !f.Fleet.Founded:
					return fail("no fleet root is installed")
				}
				return pass("installed, and it verifies")
			},
		},
		{
			ID: "keys.out-of-reach", Weight: MustToStart,
			Title:  "Root, policy and certificate root keys are out of the server's reach",
			Why:    "Whoever owns the server must not be able to command the fleet or become its root.",
			Change: "move the file to the medium that is kept offline; since the server could read it, change that key: sentinel-server keys ceremony --rotate",
			Rule:   outOfReach,
		},
		{
			ID: "keys.founded-elsewhere", Weight: MustToStart,
			Title:  "The fleet root was not made on the server",
			Why:    "A trial makes the fleet's own keys in its data directory, where they may have been copied from.",
			Change: "begin with a new database and hold a ceremony; the devices of the trial enroll again",
			Rule: func(f *Facts) Verdict {
				if v, missing := f.founded(); missing {
					return v
				}
				if f.Standing.BornOnTrial {
					return fail("a trial founded this fleet")
				}
				return pass("founded by a ceremony")
			},
		},
		{
			ID: "keys.command", Weight: Must,
			Title:  "The server can sign commands, with a key that the policy bundle lists",
			Why:    "A command signed with any other key is refused by every device.",
			Change: "bring keys/command.key of the data directory back (mode 0600), or list the key that stands there: sentinel-server policy build --command-key",
			Rule: func(f *Facts) Verdict {
				if v, missing := f.founded(); missing {
					return v
				}
				if f.Fleet.CommandKey != "" {
					return fail("%s", f.Fleet.CommandKey)
				}
				return pass("the key is there, closed, and listed by the policy bundle")
			},
		},
		{
			ID: "keys.policy-bundle", Weight: Must,
			Title:  "A policy bundle is in force, for another week at least",
			Why:    "With an expired one devices do only what needs no approval.",
			Change: "sign the next one where the policy key is: sentinel-server policy build, policy sign, policy publish",
			Rule: func(f *Facts) Verdict {
				if v, missing := f.founded(); missing {
					return v
				}
				b := f.Fleet.Bundle
				switch left := b.ExpiresAt.Sub(f.At); {
				case policy.Early(b, f.At):
					return fail("version %d is of %s, which is still to come by this machine's clock", b.Version, day(b.IssuedAt))
				case left <= 0:
					return fail("version %d expired at %s", b.Version, day(b.ExpiresAt))
				case left < week:
					return warn("version %d expires at %s", b.Version, day(b.ExpiresAt))
				}
				return pass("version %d, until %s", b.Version, day(b.ExpiresAt))
			},
		},
		{
			ID: "keys.update-targets", Weight: Must, Title: "The root and targets keys of updates are out of the server's reach",
			Why: "Whoever has them decides what devices run.", Later: "agent updates",
		},
	}
	for _, p := range []struct{ id, key, what string }{
		{"workload-assertions", "SENTINEL_SIGNER_WORKLOAD_ASSERTION", "workload assertions"},
		{"trust-assertions", "SENTINEL_SIGNER_TRUST_ASSERTION", "trust assertions"},
		{"incident-policies", "SENTINEL_SIGNER_INCIDENT_TEMPLATE", "incident policy bundles"},
		{"backup-manifests", "SENTINEL_SIGNER_BACKUP_MANIFEST", "backup manifests"},
		{"evidence-exports", "SENTINEL_SIGNER_EVIDENCE_EXPORT", "evidence exports"},
	} {
		list = append(list, Check{
			ID: "keys." + p.id, Weight: Must, Title: "The key that signs " + p.what + " is its own, and outside the repository",
			Why: "A key of one purpose must be worth nothing for another.", Settings: []string{p.key}, Later: p.what,
		})
	}
	return list
}

// outOfReach looks for the owner's keys by their public halves, so that another name
// hides none; before there is a fleet root, by the names that a ceremony gives them.
func outOfReach(f *Facts) Verdict {
	var found []string
	for _, k := range f.Files.Keys {
		what, owners := f.Fleet.Owner[k.Public]
		if !owners && slices.Contains([]string{ceremony.RootKeyFile, ceremony.PolicyKeyFile, ceremony.CertificateKeyFile}, filepath.Base(k.Path)) {
			what, owners = "fleet's own", true
		}
		if owners {
			found = append(found, k.Path+" is a "+what+" key")
		}
	}
	switch {
	case len(found) > 0:
		return fail("%s", strings.Join(found[:min(len(found), shown)], "; "))
	case f.Files.Asker > 0 && f.Files.DataDir.Found && f.Files.Asker != f.Files.DataDir.Owner:
		return warn("looked at as user %d, who sees other files than the server's user %d", f.Files.Asker, f.Files.DataDir.Owner).
			todo("run preflight as the server's user")
	case f.Files.Cut:
		return warn("none among the first files of the data directory and beside the named files; there were too many to look at all").
			todo("keep nothing else in the directories of secrets")
	}
	return pass("none of the %s in the data directory and beside the named files", plural(len(f.Files.Keys), "private key"))
}
