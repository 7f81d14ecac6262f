package preflight

import (
	"io/fs"
	"slices"
	"strings"
)

func secretChecks() []Check {
	secret := func(id, key, what, why string) Check {
		return Check{
			ID: id, Weight: MustToStart,
			Title:    what + " is long, random and its own",
			Why:      why,
			Change:   "make it with: sentinel-server config secrets --dir DIR; then set " + key + "_FILE to its file",
			Settings: []string{key, key + "_PREVIOUS"},
			Rule:     func(*Facts) Verdict { return pass("set, strong, and like no other") },
		}
	}
	return []Check{
		secret(checkSecretKey, "SENTINEL_SECRET_KEY", "The key that seals what the database keeps", "It opens the issuing keys: with it and a copy of the database anyone issues certificates."),
		secret("secrets.jwt-secret", "SENTINEL_JWT_SECRET", "The secret of people's tokens", "Whoever has it signs tokens."),
		secret("secrets.metrics-token", "SENTINEL_METRICS_TOKEN", "The token of monitoring", "It is sent over the network by another system."),
		{
			ID: "secrets.opens-database", Weight: MustToStart,
			Title:  "The secret key opens the issuing keys",
			Why:    "A server with another key cannot issue, renew or revoke.",
			Change: "set SENTINEL_SECRET_KEY to the key that this database was sealed with; if it is being changed, that one belongs into SENTINEL_SECRET_KEY_PREVIOUS",
			Rule: func(f *Facts) Verdict {
				if _, broken := f.broken("SENTINEL_SECRET_KEY", "SENTINEL_SECRET_KEY_PREVIOUS"); broken {
					return waits(checkSecretKey)
				}
				if v, missing := f.tables(); missing {
					return v
				}
				switch {
				case f.Fleet.Sealed != "":
					return fail("%s", f.Fleet.Sealed)
				case len(f.Fleet.Authorities) == 0:
					return notApplicable("no issuing key is stored yet")
				}
				return pass("%s opened", plural(len(f.Fleet.Authorities), "issuing key"))
			},
		},
		{
			ID: "secrets.rotation", Weight: Should,
			Title:  "No change of a secret is left half done",
			Why:    "A value of before is still good: as long as it stands there, changing it has changed nothing for whoever stole it.",
			Change: "finish the change: docs/deployment.md, Changing a secret",
			Rule: func(f *Facts) Verdict {
				var left []string
				for key, value := range map[string]bool{
					"SENTINEL_SECRET_KEY_PREVIOUS": f.Config.SecretKeyPrevious != "", "SENTINEL_JWT_SECRET_PREVIOUS": f.Config.JWTSecretPrevious != "",
					"SENTINEL_METRICS_TOKEN_PREVIOUS": f.Config.MetricsTokenPrevious != "",
				} {
					if value {
						left = append(left, key)
					}
				}
				if slices.Sort(left); len(left) > 0 {
					return fail("still set: %s", strings.Join(left, ", "))
				}
				return pass("no value of before is set")
			},
		},
		{
			ID: checkDataDir, Weight: MustToStart,
			Title:    "The data directory is there, absolute, and its owner's alone",
			Why:      "It holds the command key, the journal of revocations, and what this node remembers of the database.",
			Change:   "run: install -d -m 0700 -o sentinel-server -g sentinel-server DIR",
			Settings: []string{"SENTINEL_DATA_DIR"},
			Rule: func(f *Facts) Verdict {
				d := f.Files.DataDir
				switch {
				case !d.Found:
					return fail("%s is no directory that can be read", d.Path)
				case d.Mode.Perm()&0o077 != 0 && d.Owner >= 0:
					return fail("%s has the mode %04o", d.Path, d.Mode.Perm()).todo("run: chmod 0700 %s", d.Path)
				}
				return pass("%s", d.Path)
			},
		},
		{
			ID: "secrets.changeable", Weight: MustToStart,
			Title:  "What the server reads can be changed by its owner and root only",
			Why:    "Whoever may replace a file, or rename the directory above it, chooses what stands in it.",
			Change: "take the right to write from other users: chmod go-w",
			Rule: func(f *Facts) Verdict {
				open := slices.Clone(f.Files.Open)
				if _, told := f.broken(f.SettingsFile); told {
					open = slices.DeleteFunc(open, func(e Entry) bool { return e.Path == f.SettingsFile })
				}
				if len(open) > 0 {
					paths := named(open, func(e Entry) string { return e.Path + " (" + octal(e.Mode) + ")" })
					return fail("others may change %s", paths).todo("run: chmod go-w %s", named(open, func(e Entry) string { return e.Path }))
				}
				if len(f.Files.Foreign) > 0 {
					return fail("neither root nor the owner of the data directory owns %s", named(f.Files.Foreign, func(e Entry) string { return e.Path + " (user " + itoa(e.Owner) + ")" })).
						todo("give them to the server's user: chown sentinel-server: %s", named(f.Files.Foreign, func(e Entry) string { return e.Path }))
				}
				return pass("the settings file, %s and the directories above them", plural(len(f.Config.Files()), "named file"))
			},
		},
		{
			ID: "secrets.outside-repository", Weight: MustToStart,
			Title:  "Secrets and keys stand outside every source checkout",
			Why:    "What stands in a repository is pushed sooner or later, and never forgotten.",
			Change: "move the data directory and the secrets out of the checkout, make new secrets, and have the old ones changed",
			Rule: func(f *Facts) Verdict {
				if f.Files.Repository != "" {
					return fail("there is a .git in %s, above a secret or the data directory", f.Files.Repository)
				}
				return pass("no repository above the data directory or a named file")
			},
		},
		{
			ID: "secrets.workload-tokens", Weight: Must, Title: "Workload tokens are long and random",
			Why: "They are what a workload proves itself by.", Later: "workload clients",
		},
		{
			ID: "secrets.webhook-hmac", Weight: Must, Title: "The HMAC secrets of webhooks are long and random",
			Why: "They are what a receiver knows this server by.", Later: "outbound webhooks",
		},
	}
}

// shown is how many paths a finding names.
const shown = 5

func named(list []Entry, text func(Entry) string) string {
	var all []string
	for _, e := range list[:min(len(list), shown)] {
		all = append(all, text(e))
	}
	if len(list) > shown {
		all = append(all, "and "+itoa(len(list)-shown)+" more")
	}
	return strings.Join(all, " ")
}

func octal(m fs.FileMode) string {
	const digits = "01234567"
	p := m.Perm()
	return string([]byte{'0', digits[p>>6&7], digits[p>>3&7], digits[p&7]})
}
