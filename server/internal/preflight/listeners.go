package preflight

import (
	"crypto/x509"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Certificates that end within this are warned of.
const certificateSoon = 21 * 24 * time.Hour

// listenerChecks are about what really answers.
func listenerChecks() []Check {
	return []Check{
		{
			ID: "network.bound", Weight: Must,
			Title:  "What was set to be reached from this host only is, and one user holds both listeners",
			Why:    "A second program on the port, or a listener on every address, undoes what the settings say.",
			Change: "find the program with: ss -ltnp; stop it, or set SENTINEL_PEOPLE_LISTEN and SENTINEL_MACHINE_LISTEN to other ports",
			Rule:   bound,
		},
		{
			ID: checkTLS, Weight: Must,
			Title:  "Nothing older than TLS 1.2 is taken, and nothing older than TLS 1.3 from devices",
			Why:    "Older versions are broken, and a downgrade needs only one that is taken.",
			Change: "let nothing but this server, or a proxy with ssl_protocols TLSv1.2 TLSv1.3, answer at this address",
			Rule: func(f *Facts) Verdict {
				if v, unseen := f.unseen(); unseen {
					return v
				}
				people, machine := f.Listening.People, f.Listening.Machine
				var old, seen []string
				for _, l := range []struct {
					name string
					Listener
					allowed []string
				}{{"people", people, []string{"1.2", "1.3"}}, {"machines", machine, []string{"1.3"}}} {
					if !l.Answers || l.name == "people" && !l.TLS && f.Config.PeopleTLSCertFile == "" {
						continue
					}
					seen = append(seen, l.name+": "+or(strings.Join(l.Versions, ", "), "none"))
					if len(l.Versions) == 0 || slices.ContainsFunc(l.Versions, func(v string) bool { return !slices.Contains(l.allowed, v) }) {
						old = append(old, l.name)
					}
				}
				if len(old) > 0 {
					return fail("versions of TLS that are taken: %s", strings.Join(seen, "; "))
				}
				return pass("%s", strings.Join(seen, "; "))
			},
		},
		{
			ID: "network.no-resumption", Weight: Must,
			Title:  "The machine listener resumes no session",
			Why:    "A resumed session brings the certificate of an earlier handshake, which may be revoked since.",
			Change: "let nothing but this server answer at SENTINEL_MACHINE_LISTEN; a proxy there needs session tickets off",
			Rule: machines(func(_ *Facts, l *Listener) Verdict {
				if l.Resumes {
					return fail("a session was resumed at %s", l.Address)
				}
				return pass("no session is resumed at %s", l.Address)
			}),
		},
		{
			ID: "network.machine-certificate", Weight: Must,
			Title:  "The machine listener shows a certificate that devices believe",
			Why:    "Devices believe what their fleet root names, for the exact host, and nothing else.",
			Change: "let nothing but this server answer at SENTINEL_MACHINE_LISTEN, and see its log if its own certificate cannot be renewed",
			Rule:   machines(machineCertificate),
		},
		{
			ID: "network.machine-identity", Weight: Must,
			Title:  "Without a certificate the machine listener gives nothing",
			Why:    "A device's certificate is the only proof of who it is.",
			Change: "let nothing but this server answer at SENTINEL_MACHINE_LISTEN",
			Rule:   machines(refuses("a heartbeat without a certificate")),
		},
		{
			ID: "network.people-certificate", Weight: Must,
			Title:  "The people listener shows a certificate for the address that people open",
			Why:    "People who learn to click through a warning click through the next one, too.",
			Change: "put a certificate for the host of SENTINEL_PEOPLE_URL into SENTINEL_PEOPLE_TLS_CERT_FILE, and restart the server",
			Rule:   people(peopleCertificate),
		},
		{
			ID: "network.metrics", Weight: Must,
			Title:  "Metrics need their token",
			Why:    "They tell how large the fleet is and when it is in trouble.",
			Change: "let nothing but this server answer at SENTINEL_PEOPLE_LISTEN; a proxy must not add the token by itself",
			Rule:   people(refuses("/metrics without its token")),
		},
	}
}

func because(wrong string) string {
	if wrong == "" {
		return ""
	}
	return " (" + wrong + ")"
}

// listenerRule judges a listener that answers.
type listenerRule func(f *Facts, l *Listener) Verdict

// people and machines are the rule for one of the two listeners. It waits while nothing
// answers there.
func people(rule listenerRule) func(*Facts) Verdict {
	return whileItAnswers(rule, func(l *Listening) *Listener { return &l.People })
}

func machines(rule listenerRule) func(*Facts) Verdict {
	return whileItAnswers(rule, func(l *Listening) *Listener { return &l.Machine })
}

func whileItAnswers(rule listenerRule, of func(*Listening) *Listener) func(*Facts) Verdict {
	return func(f *Facts) Verdict {
		v, unseen := f.unseen()
		if unseen {
			return v
		}
		l := of(f.Listening)
		if !l.Answers {
			return waits(checkRunning)
		}
		return rule(f, l)
	}
}

// refuses is the rule that a request without credentials, which was made, is refused.
func refuses(request string) listenerRule {
	return func(_ *Facts, l *Listener) Verdict {
		if l.Open != 401 {
			return fail("%s is answered with %d, and should be with 401%s", request, l.Open, because(l.Wrong))
		}
		return pass("%s is refused (401)", request)
	}
}

// unseen is the verdict where nobody asked at the addresses, or nothing answers at
// either.
func (f *Facts) unseen() (v Verdict, unseen bool) {
	switch {
	case f.Listening == nil:
		return notApplicable("looked at by 'sentinel-server preflight' while the server runs"), true
	case !f.Listening.People.Answers && !f.Listening.Machine.Answers:
		return waits(checkRunning), true
	}
	return v, false
}

func bound(f *Facts) Verdict {
	if v, unseen := f.unseen(); unseen {
		return v
	}
	if f.Listening.Sockets == nil {
		return notApplicable("this system does not say who listens where")
	}
	owner := -1
	var seen []string
	for _, listen := range []string{f.Config.PeopleListen, f.Config.MachineListen} {
		for _, s := range f.Listening.Sockets {
			if !strings.HasSuffix(listen, ":"+itoa(s.Port)) {
				continue
			}
			seen = append(seen, s.Address+" (user "+itoa(s.Owner)+")")
			if onLoopback(listen) && !onLoopback(s.Address) {
				return fail("%s should be reached from this host only, and something listens at %s (user %d)", listen, s.Address, s.Owner)
			}
			if owner >= 0 && owner != s.Owner {
				return fail("two users listen on the ports of this server: %s", strings.Join(seen, ", "))
			}
			owner = s.Owner
		}
	}
	if f.Files.DataDir.Found && owner >= 0 && f.Files.DataDir.Owner >= 0 && owner != f.Files.DataDir.Owner {
		return fail("user %d listens (%s), and the data directory belongs to user %d", owner, strings.Join(seen, ", "), f.Files.DataDir.Owner)
	}
	return pass("%s", strings.Join(seen, ", "))
}

func machineCertificate(f *Facts, l *Listener) Verdict {
	if _, broken := f.broken("SENTINEL_MACHINE_URL", "SENTINEL_MACHINE_NAMES"); broken {
		return waits(checkDeviceURL)
	}
	if v, missing := f.founded(); missing {
		return v
	}
	if l.Certificate == nil {
		return waits(checkTLS)
	}
	roots := x509.NewCertPool()
	for _, a := range f.Fleet.Authorities {
		if a.Kind == "server" {
			if ca, err := x509.ParseCertificate(a.Certificate); err == nil {
				roots.AddCert(ca)
			}
		}
	}
	host := hostOf(f.Config.MachineURL)
	_, err := l.Certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: f.At, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return fail("devices that look for %s do not believe what is shown at %s", host, l.Address)
	}
	return pass("for %s, until %s", host, day(l.Certificate.NotAfter))
}

// peopleCertificate asks for host and dates; which authorities browsers believe is
// not known here.
func peopleCertificate(f *Facts, l *Listener) Verdict {
	switch {
	case !l.TLS:
		return notApplicable("the reverse proxy's: this listener serves plain HTTP on this host")
	case l.Certificate == nil:
		return fail("no certificate is shown at %s%s", l.Address, because(l.Wrong))
	}
	if _, broken := f.broken("SENTINEL_PEOPLE_URL"); broken {
		return waits(checkPeopleURL)
	}
	host, c := hostOf(f.Config.PeopleURL), l.Certificate
	switch {
	case c.VerifyHostname(host) != nil:
		return fail("it does not name %s", host)
	case f.At.Before(c.NotBefore):
		return fail("it is not valid before %s", day(c.NotBefore))
	case !f.At.Before(c.NotAfter):
		return fail("it ended at %s", day(c.NotAfter))
	case c.NotAfter.Sub(f.At) < certificateSoon:
		return warn("for %s, and it ends at %s", host, day(c.NotAfter)).todo("renew it before, and restart the server")
	}
	return pass("for %s, until %s", host, day(c.NotAfter))
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
