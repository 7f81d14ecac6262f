package preflight

import (
	"slices"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
)

func profileChecks() []Check {
	return []Check{
		{
			ID: "profile.production", Weight: MustToStart,
			Title:    "The profile is production",
			Why:      "Only this profile holds the server to the musts of this list at each start, and marks the database so that it is never used with less.",
			Change:   "set SENTINEL_PROFILE=production, with a database that never served a trial",
			Settings: []string{"SENTINEL_PROFILE"},
			Rule: func(f *Facts) Verdict {
				if f.Written != config.Production {
					return fail("SENTINEL_PROFILE is %s", f.Written)
				}
				return pass("SENTINEL_PROFILE=production")
			},
		},
		{
			ID: "profile.settings", Weight: MustToStart,
			Title:  "Every other setting is known and right",
			Why:    "A mistyped setting is one that its operator believes in and the server does not.",
			Change: "write what the message says; see every setting with: sentinel-server config example",
			Rule: func(f *Facts) Verdict {
				var rest []string
				owned := ownedSettings()
				for _, p := range f.Problems {
					if !slices.Contains(owned, strings.TrimSuffix(p.Key, "_FILE")) && !slices.Contains(owned, p.Key) && (f.SettingsFile == "" || p.Key != f.SettingsFile) {
						rest = append(rest, p.Key)
					}
				}
				if len(rest) == 0 {
					return pass("no other problem")
				}
				v, _ := f.broken(rest...)
				return v
			},
		},
		{
			ID: "profile.settings-file", Weight: MustToStart,
			Title:  "The settings file is plain, and closed to other users",
			Why:    "Whoever can change it owns the server; whoever can read a secret in it has the secret.",
			Change: "chmod o-rwx on the file, or o-w when it holds no secret",
			Rule: func(f *Facts) Verdict {
				if f.SettingsFile == "" {
					return notApplicable("settings come from the environment only; a file of settings is judged when --config names it")
				}
				if v, broken := f.broken(f.SettingsFile); broken {
					return v
				}
				return pass("%s", f.SettingsFile)
			},
		},
		{
			ID: "profile.in-effect", Weight: Should,
			Title:  "No setting that was set is without effect",
			Why:    "A setting whose system this version lacks protects nobody yet.",
			Change: "do not rely on them; leave them for the version that has them",
			Rule: func(f *Facts) Verdict {
				if reserved := f.Config.Reserved(); len(reserved) > 0 {
					return fail("not in effect in this version: %s", strings.Join(reserved, ", "))
				}
				return pass("every setting that was set is in effect")
			},
		},
	}
}

// ownedSettings are those whose problems another check has.
func ownedSettings() []string {
	owned := []string{"SENTINEL_DATABASE_URL"} // by several, each with its own question
	for _, s := range Sections() {
		for _, c := range s.Checks {
			owned = append(owned, c.Settings...)
		}
	}
	return owned
}
