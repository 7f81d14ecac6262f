package preflight

import (
	"slices"
	"strings"
)

func databaseChecks() []Check {
	return []Check{
		{
			ID: checkPostgreSQL, Weight: MustToStart,
			Title:    "The database is PostgreSQL",
			Why:      "SQLite is one process on one host.",
			Change:   "set SENTINEL_DATABASE_URL_FILE to a file that holds postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full",
			Settings: []string{"SENTINEL_DATABASE_REQUIRE_POSTGRESQL", "SENTINEL_DATABASE_MAX_CONNS"},
			Rule: func(f *Facts) Verdict {
				if f.Config.DatabaseURL != "" {
					return pass("PostgreSQL")
				}
				if v, broken := f.broken("SENTINEL_DATABASE_URL"); broken {
					return v
				}
				return fail("SENTINEL_DATABASE_URL is not set")
			},
		},
		{
			ID: "database.password", Weight: MustToStart,
			Title:  "The database's password is no placeholder",
			Why:    "Whoever may write to the database is every person and every device.",
			Change: "give the role a password made with: openssl rand -hex 24",
			Rule: func(f *Facts) Verdict {
				switch {
				case f.Config.DatabaseURL == "":
					return waits(checkPostgreSQL)
				case f.Config.DatabasePasswordWeak():
					return fail("it is empty, the role's name, or a placeholder")
				}
				return pass("no placeholder")
			},
		},
		{
			ID: checkDatabaseTLS, Weight: MustToStart,
			Title:  "The connection to the database is encrypted, to the very server that is meant",
			Why:    "What is read on the way is the fleet; what is changed on the way is its rights.",
			Change: "add sslmode=verify-full to SENTINEL_DATABASE_URL (and sslrootcert=FILE for an authority of your own)",
			Rule:   databaseTLS,
		},
		{
			ID: checkReachable, Weight: MustToStart,
			Title:  "The database answers",
			Why:    "Nothing else about it can be known.",
			Change: "start the database, and see that SENTINEL_DATABASE_URL, its role and its pg_hba.conf agree",
			Rule: func(f *Facts) Verdict {
				switch {
				case f.Config.DatabaseURL == "":
					return waits(checkPostgreSQL)
				case f.Config.DatabaseInTheClear():
					return waits(checkDatabaseTLS)
				case f.Database.Refused != "":
					return fail("%s", f.Database.Refused)
				}
				return pass("PostgreSQL %s answers as %s", f.Database.Session.Version, f.Database.Session.Role)
			},
		},
		{
			ID: "database.role", Weight: MustToStart,
			Title:  "The server's role has its own database and nothing else",
			Why:    "A superuser of PostgreSQL reads files and runs programs on the database's host.",
			Change: "as the database's administrator: ALTER ROLE NAME NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS; and REVOKE the pg_ roles",
			Rule: func(f *Facts) Verdict {
				if v, missing := f.connected(); missing {
					return v
				}
				s := f.Database.Session
				if len(s.Powers) > 0 {
					return fail("%s has %s", s.Role, strings.Join(s.Powers, ", "))
				}
				return pass("%s has no power beyond its own tables", s.Role)
			},
		},
		{
			ID: "database.durable", Weight: MustToStart,
			Title:  "A commit survives a power cut",
			Why:    "A heartbeat or a revocation that was acknowledged and lost is a way back in.",
			Change: "set fsync = on, full_page_writes = on and synchronous_commit = on in PostgreSQL, for this role too",
			Rule: func(f *Facts) Verdict {
				if v, missing := f.connected(); missing {
					return v
				}
				s := f.Database.Session
				found := "fsync=" + s.Fsync + ", full_page_writes=" + s.FullPageWrites + ", synchronous_commit=" + s.SynchronousCommit
				if s.Fsync != "on" || s.FullPageWrites != "on" || !slices.Contains([]string{"on", "local", "remote_write", "remote_apply"}, s.SynchronousCommit) {
					return fail("%s", found)
				}
				return pass("%s", found)
			},
		},
		{
			ID: checkSchema, Weight: MustToStart,
			Title:  "Every migration is applied, as a step of the deployment",
			Why:    "A server works on exactly the schema that it was made for.",
			Change: "run: sentinel-server migrate up (with the program of the version that runs)",
			Rule: func(f *Facts) Verdict {
				if v, missing := f.connected(); missing {
					return v
				}
				s := f.Database.Schema
				switch {
				case !f.Database.Fits:
					return fail("the schema has version %d, this program needs %d", s.Current, s.Wanted)
				case f.Database.Unread != "":
					return fail("its tables cannot be read: %s", f.Database.Unread)
				}
				return pass("version %d, nothing pending", s.Current)
			},
		},
		{
			ID: "database.schema-by-hand", Weight: MustToStart,
			Title:    "The server never changes the schema by itself",
			Why:      "A start must not be the moment at which the database changes.",
			Change:   "set SENTINEL_AUTO_CREATE_SCHEMA_ON_BOOT=false, or remove it",
			Settings: []string{"SENTINEL_AUTO_CREATE_SCHEMA_ON_BOOT"},
			Rule:     func(*Facts) Verdict { return pass("SENTINEL_AUTO_CREATE_SCHEMA_ON_BOOT=false") },
		},
		{
			ID: "database.not-behind", Weight: MustToStart,
			Title:  "The database is not an older one that came back",
			Why:    "A restored backup brings revoked devices and used tokens back to life.",
			Change: "stop the servers and say so: sentinel-server db mark-restored",
			Rule: func(f *Facts) Verdict {
				if v, missing := f.tables(); missing {
					return v
				}
				if f.Database.Behind != "" {
					return fail("%s", f.Database.Behind)
				}
				return pass("as far as this node remembers")
			},
		},
		{
			ID: "database.mark", Weight: Should,
			Title:  "The database is marked as made for production",
			Why:    "With the mark no server of a looser profile ever opens it.",
			Change: "begin with a new database: one that served a trial or a staging was held to less",
			Rule: func(f *Facts) Verdict {
				if v, missing := f.tables(); missing {
					return v
				}
				switch {
				case f.Database.Instance == nil:
					return notApplicable("it is marked at the first start with the production profile")
				case f.Database.Instance.Profile != "production":
					return fail("it was made for %s", f.Database.Instance.Profile)
				}
				return pass("made for production; a looser profile is refused")
			},
		},
		{
			ID: "database.backup", Weight: Should, Title: "Database and signing material are backed up together, with a signed manifest",
			Why: "One without the other restores half a fleet.", Later: "backup command; until then docs/deployment.md, Backups, says what to copy",
		},
	}
}

func databaseTLS(f *Facts) Verdict {
	switch {
	case f.Config.DatabaseURL == "":
		return waits(checkPostgreSQL)
	case f.Config.DatabaseInTheClear():
		return fail("it reaches another host without TLS, or falls back to none; nothing was sent there")
	}
	mode, local := f.Config.DatabaseSSLMode()
	if local {
		return pass("the database is on this host%s", tlsOf(f.Database.Session.TLS))
	}
	if mode != "verify-full" {
		return warn("sslmode=%s does not ask who answers", mode)
	}
	if v, missing := f.connected(); missing {
		return v
	}
	if f.Database.Session.TLS == "" {
		return warn("a pooler stands between, and reaches the database without TLS").todo("let the pooler use TLS, or stand on the database's host")
	}
	return pass("sslmode=verify-full%s", tlsOf(f.Database.Session.TLS))
}

func tlsOf(version string) string {
	if version == "" {
		return ""
	}
	return ", " + version
}

// connected is the verdict of a rule that needs a connection, where there is none.
func (f *Facts) connected() (Verdict, bool) {
	switch {
	case f.Config.DatabaseURL == "":
		return waits(checkPostgreSQL), true
	case f.Config.DatabaseInTheClear():
		return waits(checkDatabaseTLS), true
	case f.Database.Refused != "" || !f.Database.Asked:
		return waits(checkReachable), true
	}
	return Verdict{}, false
}
