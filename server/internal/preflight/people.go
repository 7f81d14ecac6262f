package preflight

import (
	"slices"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

// apiTokenLong is how far in the future a machine's token may end without a warning.
const apiTokenLong = 91 * 24 * time.Hour

func peopleChecks() []Check {
	return []Check{
		{
			ID: "people.admin", Weight: Must,
			Title:  "Somebody manages people",
			Why:    "Without an account that may, nobody can be let in or put out.",
			Change: "on the server's host: sentinel-server admin create --local --name NAME --role admin",
			Rule: func(f *Facts) Verdict {
				if v, missing := f.tables(); missing {
					return v
				}
				if who := holders(f.Standing, authz.AccountManage); len(who) > 0 {
					return pass("%s", strings.Join(who, ", "))
				}
				return fail("no open account may manage accounts")
			},
		},
		{
			ID: "people.second-factors", Weight: Must,
			Title:  "Whoever may change something has a passkey or a code generator",
			Why:    "A password is phished, reused and guessed.",
			Change: "each of them enrolls one: a passkey in the console, or sentinel-server factor totp",
			Rule:   secondFactors,
		},
		{
			ID: "people.two-approvers", Weight: Must,
			Title:  "At least two people can approve each kind of sensitive act",
			Why:    "With one, that person's illness stops the fleet, and nobody reviews the reviewer.",
			Change: "make accounts for more people: sentinel-server admin invite --role approver (devices, commands), --role security (accounts)",
			Rule:   twoApprovers,
		},
		{
			ID: "people.passkeys", Weight: Should,
			Title:    "Accounts that approve or manage must use their passkey once they have one",
			Why:      "A code can be typed into a false page; a passkey cannot.",
			Change:   "set SENTINEL_PASSKEY_ROLES=admin,security,approver",
			Settings: []string{"SENTINEL_PASSKEY_ROLES"},
			Rule: func(f *Facts) Verdict {
				var missing []string
				for _, role := range []string{"admin", "security", "approver"} {
					if !slices.Contains(f.Config.PasskeyRoles, role) {
						missing = append(missing, role)
					}
				}
				if len(missing) > 0 {
					return fail("a password and a code are enough, passkey or not, for: %s", strings.Join(missing, ", "))
				}
				return pass("SENTINEL_PASSKEY_ROLES=%s", strings.Join(f.Config.PasskeyRoles, ","))
			},
		},
		{
			ID: "people.sessions", Weight: Must,
			Title:    "Sessions end, and passwords are long",
			Why:      "An unlocked machine must not be signed in for ever.",
			Change:   "set SENTINEL_SESSION_IDLE no longer than SENTINEL_SESSION_LIFETIME",
			Settings: []string{"SENTINEL_SESSION_IDLE", "SENTINEL_SESSION_LIFETIME", "SENTINEL_PASSWORD_MIN_LENGTH"},
			Rule: func(f *Facts) Verdict {
				return pass("after %s unused, or %s; passwords of %d characters", config.Compact(f.Config.SessionIdle), config.Compact(f.Config.SessionLifetime), f.Config.PasswordMinLength)
			},
		},
		{
			ID: "people.break-glass", Weight: Should,
			Title:  "There is a sealed way in when every other is lost",
			Why:    "Without one, lost factors mean taking the host's way, alone and in haste.",
			Change: "make two codes, sealed apart: sentinel-server admin break-glass create --keeper NAME --keeper NAME",
			Rule: func(f *Facts) Verdict {
				if v, missing := f.tables(); missing {
					return v
				}
				if !f.Standing.BreakGlass {
					return fail("no codes were made")
				}
				return pass("two codes are sealed")
			},
		},
		{
			ID: "people.api-tokens", Weight: Should,
			Title:  "Tokens of machines end within three months",
			Why:    "They stand in the files of other systems.",
			Change: "make shorter ones and revoke these: sentinel-server api-token list, api-token revoke",
			Rule: func(f *Facts) Verdict {
				if v, missing := f.tables(); missing {
					return v
				}
				t := f.Standing.APITokens
				switch {
				case t.Endless > 0:
					return fail("%s without end", plural(t.Endless, "token"))
				case t.Last.Sub(f.At) > apiTokenLong:
					return fail("of %s the last ends at %s", plural(t.Live, "token"), day(t.Last))
				}
				return pass("%s, none for longer than 91 days", plural(t.Live, "live token"))
			},
		},
	}
}

func secondFactors(f *Facts) Verdict {
	if v, missing := f.tables(); missing {
		return v
	}
	var without []string
	n := 0
	for _, a := range f.Standing.Accounts {
		if a.Role == authz.Viewer && len(a.Grants) == 0 {
			continue
		}
		n++
		if !a.SecondFactor() {
			without = append(without, a.Name)
		}
	}
	if len(without) > 0 {
		return fail("a password is enough for %s", strings.Join(without[:min(len(without), shown)], ", "))
	}
	return pass("%s with a second factor", plural(n, "account"))
}

// votes are what people approve each other's wishes with.
var votes = []authz.Permission{
	authz.EnrollmentReview, authz.IdentityReview, authz.CommandReview, authz.DeviceReview, authz.PKIReview, authz.AccountReview,
}

// twoApprovers counts persons, not accounts.
func twoApprovers(f *Facts) Verdict {
	if v, missing := f.tables(); missing {
		return v
	}
	var few []string
	for _, p := range votes {
		if n := len(holders(f.Standing, p)); n < 2 {
			few = append(few, string(p)+": "+plural(n, "person"))
		}
	}
	if len(few) > 0 {
		return fail("too few people hold %s", strings.ReplaceAll(strings.Join(few, "; "), "persons", "people"))
	}
	return pass("at least two people for each right to approve")
}

// holders are the persons with an open account that has a right.
func holders(s *view.Standing, p authz.Permission) (persons []string) {
	for _, a := range s.Accounts {
		if a.May(p) && !slices.Contains(persons, a.Person) {
			persons = append(persons, a.Person)
		}
	}
	return persons
}
