package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// view is a handshake with what it is judged by.
type view struct {
	handshake
	host        string
	cas         []*x509.Certificate // those that are pinned
	fingerprint string              // the pin, if that is all that is known
	now         time.Time
	system      bool // the system would trust what is shown
}

const inspected = "have those who run it pass TLS to the server through as it is; if nobody knows of it, tell your security team"

func judgeTLS(v view) Result {
	var record tls.RecordHeaderError
	var alert *net.OpError
	switch {
	case v.proven:
		return ok("proves a pinned CA and the name %s; its certificate is valid until %s", v.host, stamp(v.shown[0].NotAfter))
	case len(v.shown) > 0:
		return judgeShown(v)
	case errors.As(v.err, &record):
		return fail("what answers does not speak TLS", "see that the port is the machine listener's (8443), not the people's (8080)")
	case errors.As(v.err, &alert) && alert.Op == "remote error": // as crypto/tls reports an alert
		return fail(fmt.Sprintf("what answers refuses the TLS of the agent: %v", alert.Err), "something between ends the TLS: have it passed through to the machine listener")
	case late(v.err):
		return fail("no TLS answer in time", "see whether a firewall lets connections begin and drops what follows")
	case errors.Is(v.err, io.EOF), errors.Is(v.err, io.ErrUnexpectedEOF), errors.Is(v.err, syscall.ECONNRESET):
		return fail("the connection is cut as TLS begins", "see whether a firewall or proxy cuts what it cannot look into: have "+v.host+" let through")
	}
	return fail(fmt.Sprintf("TLS fails: %v", v.err), "see what stands between this device and the machine listener")
}

// judgeShown tells apart why a certificate that was shown is not believed.
func judgeShown(v view) Result {
	leaf := v.shown[0]
	if ca := issuerOf(leaf, v.cas); ca != nil {
		return judgeOwn(v, leaf, ca)
	}
	issuer := leaf.Issuer.String()
	switch {
	case v.system:
		return fail("shows a certificate of "+issuer+", which this system trusts and the fleet does not: something between ends the TLS (inspection by a firewall, a proxy or a virus scanner, or a load balancer)", inspected)
	case inspector(issuer) != "":
		return fail("shows a certificate of "+issuer+": it looks as if "+inspector(issuer)+" looks into the TLS", inspected)
	case v.fingerprint != "" && pinned(v.shown, v.fingerprint) == nil:
		return fail("shows the CA "+shownCA(v.shown)+", pinned is "+v.fingerprint,
			"compare --ca-fingerprint and --server with what `sentinel-server enroll-token create` prints; if both are right, do not go on: someone may be in between")
	case sameName(leaf, v.cas):
		return fail("shows a certificate of another CA that has the name of the pinned one ("+issuer+")",
			"ask an operator whether the server was set up anew: then sentinel-agent unenroll, and enroll anew; if not, someone may be in between")
	}
	return fail("shows a certificate of "+issuer+", which is not a pinned CA",
		"check --server: it may be another server's address; if it is right, tell your security team: someone may be in between")
}

// judgeOwn is of a certificate that a pinned CA has issued.
func judgeOwn(v view, leaf, ca *x509.Certificate) Result {
	const clock = "if this device's clock is right, see on the server: sentinel-server status"
	switch {
	case leaf.VerifyHostname(v.host) != nil:
		return fail(fmt.Sprintf("the right CA, another name: the certificate is for %s, not for %s", names(leaf), v.host),
			"use one of these names as --server, or have "+v.host+" added to SENTINEL_MACHINE_NAMES")
	case v.now.After(leaf.NotAfter):
		return fail(fmt.Sprintf("the server's certificate expired at %s, %s ago by this device's clock", stamp(leaf.NotAfter), span(v.now.Sub(leaf.NotAfter))), clock)
	case v.now.Before(leaf.NotBefore):
		return fail(fmt.Sprintf("the server's certificate is not valid before %s, in %s by this device's clock", stamp(leaf.NotBefore), span(leaf.NotBefore.Sub(v.now))), "set this device's clock; "+clock)
	case v.now.After(ca.NotAfter):
		return fail("the pinned CA expired at "+stamp(ca.NotAfter), clock)
	case v.now.Before(ca.NotBefore):
		return fail("the pinned CA is not valid before "+stamp(ca.NotBefore), "set this device's clock; "+clock)
	}
	return fail(fmt.Sprintf("the right CA and name, and yet: %v", v.err), "ask an operator what was changed about the server's certificates")
}

func issuerOf(leaf *x509.Certificate, cas []*x509.Certificate) *x509.Certificate {
	for _, ca := range cas {
		if leaf.CheckSignatureFrom(ca) == nil {
			return ca
		}
	}
	return nil
}

func sameName(leaf *x509.Certificate, cas []*x509.Certificate) bool {
	for _, ca := range cas {
		if string(ca.RawSubject) == string(leaf.RawIssuer) {
			return true
		}
	}
	return false
}

// shownCA is the fingerprint of the issuer in what is shown.
func shownCA(shown []*x509.Certificate) string {
	if len(shown) < 2 {
		return "of " + shown[0].Issuer.String()
	}
	return certs.Fingerprint(shown[1].Raw)
}

func names(c *x509.Certificate) string {
	list := c.DNSNames
	for _, ip := range c.IPAddresses {
		list = append(list, ip.String())
	}
	if len(list) == 0 {
		return "no name"
	}
	return strings.Join(list[:min(len(list), 8)], ", ")
}

// inspectors are words in the names of CAs that products make which look into
// TLS. The list is a hint for the person who reads, and decides nothing.
var inspectors = []string{
	"Zscaler", "Fortinet", "FortiGate", "Palo Alto", "Blue Coat", "Netskope", "Cisco Umbrella", "Check Point", "Forcepoint", "Barracuda",
	"WatchGuard", "SonicWall", "Sophos", "Trellix", "McAfee", "Kaspersky", "ESET SSL", "Bitdefender", "Avast", "mitmproxy", "PortSwigger", "Charles Proxy", "Fiddler",
}

func inspector(issuer string) string {
	for _, name := range inspectors {
		if strings.Contains(strings.ToLower(issuer), strings.ToLower(name)) {
			return name
		}
	}
	return ""
}

// trusted says whether the system, which the agent never asks, would believe what
// is shown.
func trusted(roots func() (*x509.CertPool, error), shown []*x509.Certificate, host string, now time.Time) bool {
	pool, err := roots()
	if err != nil || pool == nil {
		return false
	}
	between := x509.NewCertPool()
	for _, c := range shown[1:] {
		between.AddCert(c)
	}
	_, err = shown[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, DNSName: host, CurrentTime: now})
	return err == nil
}
