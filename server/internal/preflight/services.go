package preflight

import "strings"

func serviceChecks() []Check {
	required := func(id, key, what string) Check {
		return Check{
			ID: id, Weight: Must, Title: "The server is ready only while " + what + " runs",
			Why: "A worker that disappeared must show before its work is missed.", Settings: []string{key}, Later: "separate workers",
		}
	}
	return []Check{
		{
			ID: checkRunning, Weight: Should,
			Title:  "The server runs",
			Why:    "What really answers can only be seen while it does.",
			Change: "start it (systemctl start sentinel-server), then run preflight again",
			Rule: func(f *Facts) Verdict {
				if f.Listening == nil {
					return notApplicable("looked at by 'sentinel-server preflight'")
				}
				var silent []string
				for _, l := range []Listener{f.Listening.People, f.Listening.Machine} {
					if !l.Answers {
						silent = append(silent, l.Address)
					}
				}
				if len(silent) > 0 {
					return fail("nothing answers at %s", strings.Join(silent, " and "))
				}
				return pass("both listeners answer")
			},
		},
		{
			ID: "services.ready", Weight: Must,
			Title:  "The server is ready",
			Why:    "A load balancer sends it no work, and something that it needs is missing.",
			Change: "do what its checks say: GET /api/health/ready",
			Rule: people(func(_ *Facts, l *Listener) Verdict {
				if !l.Ready {
					return fail("not ready: %s%s", or(strings.Join(l.NotReady, ", "), "it does not say why"), because(l.Wrong))
				}
				return pass("ready")
			}),
		},
		{
			ID: "services.recovery", Weight: Should,
			Title:  "The operating system starts the server again",
			Why:    "A native service manager restarts what ends; a loop of one's own hides it.",
			Change: "install the service: sentinel-server service install, or set Restart=always in its unit",
			Rule: func(f *Facts) Verdict {
				s := f.Service
				switch {
				case !s.Looked:
					return notApplicable("no systemd here; 'sentinel-server service install' sets what Windows does")
				case s.Unit == "":
					return fail("no unit sentinel-server.service")
				case s.Restart != "always" && s.Restart != "on-failure":
					return fail("%s has Restart=%s", s.Unit, or(s.Restart, "no"))
				}
				return pass("%s has Restart=%s", s.Unit, s.Restart)
			},
		},
		{
			ID: "services.user", Weight: Should,
			Title:  "The server does not run as root",
			Why:    "What breaks into it has the host otherwise.",
			Change: "give the data directory and the secrets to a user of its own, and set User= in the unit",
			Rule: func(f *Facts) Verdict {
				switch {
				case f.Service.Unit != "" && (f.Service.User == "" || f.Service.User == "root"):
					return fail("%s has User=%s", f.Service.Unit, or(f.Service.User, "root"))
				case f.Files.DataDir.Found && f.Files.DataDir.Owner == 0:
					return fail("the data directory belongs to root")
				case f.Service.Unit == "" && !f.Files.DataDir.Found:
					return waits(checkDataDir)
				case f.Service.User == "" && f.Files.DataDir.Owner < 0:
					return notApplicable("this system has no user ids")
				}
				return pass("user %s", or(f.Service.User, itoa(f.Files.DataDir.Owner)))
			},
		},
		{
			ID: "services.separate", Weight: Should, Title: "API, workers, coordinator and scheduler are services of their own",
			Why: "One that fails or is stopped does not take the others with it.", Later: "separate workers: 'serve' does all work",
		},
		required("services.delivery-worker", "SENTINEL_REQUIRE_DELIVERY_WORKER", "a delivery worker"),
		required("services.maintenance-worker", "SENTINEL_REQUIRE_MAINTENANCE_WORKER", "a maintenance worker"),
		required("services.job-coordinator", "SENTINEL_REQUIRE_JOB_COORDINATOR", "a job coordinator"),
		required("services.campaign-scheduler", "SENTINEL_REQUIRE_CAMPAIGN_SCHEDULER", "a campaign scheduler"),
		{
			ID: "services.smoke-test", Weight: Should, Title: "A smoke test follows each deployment",
			Why: "Traffic comes back only after the units and readiness were seen.", Later: "smoke test; this command asks readiness",
		},
	}
}
