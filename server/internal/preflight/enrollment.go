package preflight

import (
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
)

const week = 7 * 24 * time.Hour

// Reviews that wait for longer than this are warned of, and tokens that live for
// longer.
const (
	reviewPatience = 24 * time.Hour
	tokenLong      = 31 * 24 * time.Hour
)

func enrollmentChecks() []Check {
	return []Check{
		{
			ID: "enrollment.approval", Weight: MustToStart,
			Title:    "A new device waits until a person approves it",
			Why:      "A token proves that somebody was given one, not who presents it.",
			Change:   "set SENTINEL_REQUIRE_NEW_DEVICE_APPROVAL=true, or remove it; open a timed window where many devices come at once",
			Settings: []string{"SENTINEL_REQUIRE_NEW_DEVICE_APPROVAL"},
			Rule:     func(*Facts) Verdict { return pass("SENTINEL_REQUIRE_NEW_DEVICE_APPROVAL=true") },
		},
		{
			ID: "enrollment.window", Weight: Should,
			Title:  "No enrollment window is open",
			Why:    "While one is, devices come in unseen.",
			Change: "close it when the roll-out is over: sentinel-server enroll-window close",
			Rule: func(f *Facts) Verdict {
				if v, missing := f.tables(); missing {
					return v
				}
				if !f.Standing.WindowUntil.IsZero() {
					return fail("one is open until %s", day(f.Standing.WindowUntil))
				}
				return pass("none is open")
			},
		},
		{
			ID: "enrollment.tokens", Weight: Should,
			Title:  "Enrollment tokens end soon",
			Why:    "A token that was pasted somewhere is found there later.",
			Change: "revoke them and make short-lived ones: sentinel-server enroll-token list, enroll-token revoke",
			Rule: func(f *Facts) Verdict {
				if v, missing := f.tables(); missing {
					return v
				}
				t := f.Standing.Tokens
				switch {
				case t.Endless > 0:
					return fail("%s without end", plural(t.Endless, "token"))
				case t.Last.Sub(f.At) > tokenLong:
					return fail("of %s the last ends at %s", plural(t.Live, "token"), day(t.Last))
				}
				return pass("%s, none for longer than 31 days", plural(t.Live, "live token"))
			},
		},
		{
			ID: "enrollment.reviews", Weight: Should,
			Title:    "Nobody waits long for a review",
			Why:      "A queue that nobody looks at is approved in one go one day, unread.",
			Change:   "decide on what waits: sentinel-server enrollment list, device identity-requests",
			Settings: []string{"SENTINEL_ENROLLMENT_REVIEW_TTL", "SENTINEL_MAX_PENDING_ENROLLMENTS"},
			Rule: func(f *Facts) Verdict {
				if v, missing := f.tables(); missing {
					return v
				}
				if s := f.Standing; s.Waiting > 0 && f.At.Sub(s.WaitsSince) > reviewPatience {
					return fail("%s waiting, the oldest since %s", plural(s.Waiting, "review"), day(s.WaitsSince))
				}
				return pass("%s", plural(f.Standing.Waiting, "waiting review"))
			},
		},
		{
			ID: "identity.common-name", Weight: MustToStart,
			Title:    "A certificate's common name must be the device_id",
			Why:      "A name that may differ is a name that somebody chooses.",
			Change:   "set SENTINEL_REQUIRE_CERT_COMMON_NAME_MATCH=true, or remove it",
			Settings: []string{"SENTINEL_REQUIRE_CERT_COMMON_NAME_MATCH"},
			Rule:     func(*Facts) Verdict { return pass("SENTINEL_REQUIRE_CERT_COMMON_NAME_MATCH=true") },
		},
		{
			ID: "identity.device-mtls", Weight: MustToStart,
			Title:    "A device must present its certificate",
			Why:      "It is the only proof of who it is.",
			Change:   "set SENTINEL_REQUIRE_DEVICE_MTLS=true, or remove it",
			Settings: []string{"SENTINEL_REQUIRE_DEVICE_MTLS"},
			Rule:     func(*Facts) Verdict { return pass("SENTINEL_REQUIRE_DEVICE_MTLS=true") },
		},
		{
			ID: "identity.lifetimes", Weight: MustToStart,
			Title:    "Certificates and heartbeats have lives that an outage does not use up",
			Why:      "A device whose certificate ends while the server is away is locked out.",
			Change:   "set SENTINEL_DEVICE_CERT_LIFETIME to 1h or more, and SENTINEL_HEARTBEAT_INTERVAL to 5s or more",
			Settings: []string{"SENTINEL_DEVICE_CERT_LIFETIME", "SENTINEL_HEARTBEAT_INTERVAL"},
			Rule: func(f *Facts) Verdict {
				return pass("certificates live for %s, and devices report each %s", config.Compact(f.Config.DeviceCertLifetime), config.Compact(f.Config.HeartbeatInterval))
			},
		},
		{
			ID: "identity.revocation", Weight: MustToStart,
			Title:    "Revocation is told by CRL and OCSP, for longer than it takes to tell it anew",
			Why:      "This server asks its database at each request; others, a proxy among them, have only the lists.",
			Change:   "set SENTINEL_CRL_INTERVAL to at most half of SENTINEL_CRL_VALIDITY, or remove both",
			Settings: []string{"SENTINEL_CRL_VALIDITY", "SENTINEL_CRL_INTERVAL", "SENTINEL_OCSP_VALIDITY"},
			Rule: func(f *Facts) Verdict {
				return pass("a list holds for %s and is made each %s, an OCSP answer holds for %s", config.Compact(f.Config.CRLValidity), config.Compact(f.Config.CRLInterval), config.Compact(f.Config.OCSPValidity))
			},
		},
		{
			ID: "identity.lists", Weight: Must,
			Title:  "No revocation list has run out",
			Why:    "Whoever verifies by one lets nobody in any more, or everybody.",
			Change: "start the server and see its log; for the root's list hold a ceremony: sentinel-server keys request --rotate none",
			Rule:   listsHold,
		},
		{
			ID: "identity.authorities", Weight: Must,
			Title:  "The issuing authorities outlive what they issue",
			Why:    "Nothing is renewed once they end.",
			Change: "change them: docs/deployment.md, Changing authorities",
			Rule:   authoritiesLast,
		},
		{
			ID: "identity.issuing", Weight: Should,
			Title:  "Certificates are issued",
			Why:    "While issuing is stopped devices run out of certificates, one after the other.",
			Change: "when the cause is found, two people start it again: sentinel-server ca start-issuing",
			Rule: func(f *Facts) Verdict {
				if v, missing := f.tables(); missing {
					return v
				}
				if !f.Standing.StoppedAt.IsZero() {
					return fail("stopped at %s", day(f.Standing.StoppedAt))
				}
				return pass("not stopped")
			},
		},
		{
			ID: "identity.trust-domain", Weight: Should,
			Title:    "The trust domain is your own",
			Why:      "It stands in every device's certificate; changing it later means enrolling again.",
			Change:   "set SENTINEL_TRUST_DOMAIN before the first device enrolls, for example to fleet.example.com",
			Settings: []string{"SENTINEL_TRUST_DOMAIN"},
			Rule: func(f *Facts) Verdict {
				if f.Config.TrustDomain == "sentinel.internal" {
					return fail("it is the default, %s", f.Config.TrustDomain)
				}
				return pass("%s", f.Config.TrustDomain)
			},
		},
		{
			ID: "identity.first-use", Weight: Should,
			Title:  "Devices were given the fleet root's digest by their owner",
			Why:    "A device that took it from the server at first contact believes whoever answered then.",
			Change: "enroll them again with --fleet-root DIGEST (from: sentinel-server keys show)",
			Rule: func(f *Facts) Verdict {
				if v, missing := f.tables(); missing {
					return v
				}
				if n := f.Standing.FirstUse; n > 0 {
					return fail("%s took it from the server", plural(n, "device"))
				}
				return pass("no device took it from the server")
			},
		},
	}
}

func listsHold(f *Facts) Verdict {
	if v, missing := f.founded(); missing {
		return v
	}
	if len(f.Standing.Lists) <= 1 { // the root's comes with the ceremony
		return notApplicable("the server makes them at its first start")
	}
	first := f.Standing.Lists[0]
	for _, l := range f.Standing.Lists {
		if l.Ends.Before(first.Ends) {
			first = l
		}
	}
	if !f.At.Before(first.Ends) {
		if f.Listening == nil { // the server makes it anew as it starts
			return warn("the one of authority %s ended at %s", first.AuthorityID, day(first.Ends))
		}
		return fail("the one of authority %s ended at %s", first.AuthorityID, day(first.Ends))
	}
	return pass("%s, the first until %s", plural(len(f.Standing.Lists), "list"), day(first.Ends))
}

func authoritiesLast(f *Facts) Verdict {
	if v, missing := f.founded(); missing {
		return v
	}
	var until time.Time
	for _, a := range f.Fleet.Authorities {
		if a.State == "active" && (until.IsZero() || a.NotAfter.Before(until)) {
			until = a.NotAfter
		}
	}
	switch left := until.Sub(f.At); {
	case until.IsZero():
		return fail("none is active")
	case left < f.Config.DeviceCertLifetime:
		return fail("the first ends at %s, before the certificates that it would issue", day(until))
	case left < authoritySoon:
		return warn("the first ends at %s", day(until))
	}
	return pass("the first ends at %s", day(until))
}

// authoritySoon is how long before its end an authority is asked to be changed:
// devices that are away must have heard of the next one by then.
const authoritySoon = 180 * 24 * time.Hour
