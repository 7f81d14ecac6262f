package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

func lookUpName(ctx context.Context, s *subject) Result {
	s.aim()
	n := &s.net
	if n.server == "" {
		return skipped(nowhere)
	}
	host, _, err := net.SplitHostPort(n.next)
	if err != nil {
		return fail("the address of the server or the proxy cannot be read", "write it as host:port")
	}
	if _, err := netip.ParseAddr(host); err == nil {
		n.named = true
		return ok("%s is an address; there is no name to look up", host)
	}
	found, err := s.Resolve(ctx, host)
	n.named = err == nil && len(found) > 0
	return judgeName(host, found, cause(ctx, err), n.proxy != nil)
}

func judgeName(host string, found []string, err error, isProxy bool) Result {
	what, setting := "the server", "--server"
	if isProxy {
		what, setting = "the proxy", "--proxy"
	}
	unknown, isDNS := errors.AsType[*net.DNSError](err)
	switch {
	case isDNS && unknown.IsNotFound:
		return fail(fmt.Sprintf("no address is known for %s, the name of %s", host, what),
			"check the spelling in "+setting+", and whether this device asks the right name server: a name of the company's is often known inside only")
	case err != nil:
		return fail(fmt.Sprintf("the name of %s, %s, cannot be looked up: %v", what, host, err),
			"check this device's network and its name servers")
	case len(found) == 0:
		return fail(fmt.Sprintf("no address is known for %s, the name of %s", host, what), "check the spelling in "+setting)
	}
	shown := found[:min(len(found), 4)]
	return ok("%s is %s", host, strings.Join(shown, ", "))
}

func lookAtConnection(ctx context.Context, s *subject) Result {
	n := &s.net
	switch {
	case n.server == "":
		return skipped(nowhere)
	case !n.named:
		return skipped("the name is not known")
	}
	began := s.Now()
	conn, err := n.dial(ctx)
	remote := ""
	if err == nil {
		remote, n.connected = conn.RemoteAddr().String(), true
		_ = conn.Close()
	}
	return judgeConnection(n.next, remote, s.Now().Sub(began), cause(ctx, err), n.proxy != nil)
}

func judgeConnection(address, remote string, took time.Duration, err error, isProxy bool) Result {
	what := "the server's machine listener (8443, not the people's 8080)"
	if isProxy {
		what = "the proxy"
	}
	switch {
	case err == nil:
		return ok("%s answers after %s", remote, took.Round(time.Millisecond))
	case errors.Is(err, errRefused):
		return fail("nothing listens at "+address, "see whether the port is that of "+what+", and whether it runs")
	case late(err):
		return fail("no answer from "+address+" in time", "see whether a firewall drops what goes to "+what)
	}
	return fail(fmt.Sprintf("no connection to %s: %v", address, err), "check this device's network, its routes and its firewall")
}

// late says whether nothing answered in time.
func late(err error) bool {
	var timeout net.Error
	return errors.Is(err, errTooLate) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}

func lookAtProxy(ctx context.Context, s *subject) Result {
	n := &s.net
	switch {
	case n.server == "":
		return skipped(nowhere)
	case n.proxy == nil:
		n.passed = n.connected
		return ok("none is set; the way is direct")
	case !n.connected:
		return skipped("there is no connection to it")
	}
	var a proxyAnswer
	conn, err := n.dial(ctx)
	if err != nil {
		a.err = cause(ctx, err)
	} else {
		a = n.ask(ctx, conn)
		_ = conn.Close()
	}
	n.passed = a.err == nil && a.passes()
	return judgeProxy(n.next, n.address, a)
}

func judgeProxy(proxy, server string, a proxyAnswer) Result {
	switch {
	case a.err != nil && late(a.err):
		return fail("the proxy "+proxy+" does not answer CONNECT in time", "ask those who run it whether it may connect to "+server)
	case a.err != nil:
		return fail(fmt.Sprintf("what listens at %s does not answer as an HTTP proxy: %v", proxy, a.err), "check address and port in --proxy: http://host:port")
	case a.passes():
		return ok("%s lets CONNECT to %s pass", proxy, server)
	case a.status == http.StatusProxyAuthRequired:
		return fail("the proxy "+proxy+" wants a sign-in (407)",
			"have "+server+" let pass without one, or write http://name:password@host:port as SENTINEL_AGENT_PROXY into a settings file of mode 0600")
	case a.status == http.StatusBadGateway, a.status == http.StatusServiceUnavailable, a.status == http.StatusGatewayTimeout:
		return fail(fmt.Sprintf("the proxy %s cannot reach %s (%d)", proxy, server, a.status), "check the name in --server as the proxy sees it, and whether the server runs")
	}
	return fail(fmt.Sprintf("the proxy %s refuses CONNECT to %s (%d)", proxy, server, a.status), "have the proxy allow CONNECT to "+server)
}

func lookAtTLS(ctx context.Context, s *subject) Result {
	n := &s.net
	switch {
	case n.server == "":
		return skipped(nowhere)
	case !n.passed:
		return skipped("there is no way to the server")
	case n.trustErr != nil:
		return skipped(fmt.Sprintf("%v: give --ca-fingerprint", n.trustErr))
	}
	now := func() time.Time { return s.disk.time(s.Now()) }
	h := n.shake(ctx, n.cas, now)
	if n.fingerprint != "" {
		if ca := pinned(h.shown, n.fingerprint); ca != nil {
			n.cas = []*x509.Certificate{ca}
			h = n.shake(ctx, n.cas, now)
		}
	}
	n.proven = h.proven
	v := view{handshake: h, host: n.host, cas: n.cas, fingerprint: n.fingerprint, now: now()}
	if !h.proven && h.shown != nil { // the pool may take a while to read
		v.system, _ = within(ctx, func() bool { return trusted(s.Roots, h.shown, n.host, v.now) })
	}
	return judgeTLS(v)
}

func lookAtServer(ctx context.Context, s *subject) Result {
	n := &s.net
	switch {
	case n.server == "":
		return skipped(nowhere)
	case !n.proven:
		return skipped("nobody there proves to be the server")
	}
	a := n.live(ctx, s.Now, func() time.Time { return s.disk.time(s.Now()) })
	n.date, n.against = a.date, a.against
	return judgeServer(a)
}

func judgeServer(a answer) Result {
	switch {
	case a.err != nil && late(a.err):
		return fail("the server does not answer in time", "see on the server: sentinel-server status")
	case a.err != nil:
		return fail(fmt.Sprintf("no answer to GET %s: %v", pathLive, a.err), app.Advise(a.err))
	case a.status == http.StatusOK:
		return ok("answers GET %s with 200 after %s", pathLive, a.took.Round(time.Millisecond))
	case a.status == http.StatusTooManyRequests, a.status == http.StatusServiceUnavailable:
		return warn(fmt.Sprintf("answers GET %s with %d: it is there, and busy", pathLive, a.status), "wait a little, then try again")
	}
	return fail(fmt.Sprintf("answers GET %s with %d", pathLive, a.status),
		"see that the address is the machine listener's, and that what is in front of it passes /api on")
}

// times are what this device's clock can be held against.
type times struct {
	now     time.Time
	floor   time.Time     // what signed documents prove has come; zero for none
	date    time.Time     // the server's; zero for none
	against time.Duration // this device's clock minus it
}

func (s *subject) times() times {
	t := times{now: s.now, date: s.net.date, against: s.net.against}
	if e := s.disk.state.Enrolled; e != nil {
		t.floor = e.TimeFloor
	}
	return t
}

// clockFine is what a heartbeat does not notice.
const clockFine = time.Minute

func judgeClock(t times) Result {
	const set = "set this device's clock, and see that it is kept right (NTP)"
	if behind := t.floor.Sub(t.now); !t.floor.IsZero() && behind > 0 {
		return fail(fmt.Sprintf("this device's clock says %s, %d seconds before what signed documents prove has come (%s)", stamp(t.now), seconds(behind), stamp(t.floor)), set)
	}
	if t.date.IsZero() {
		if t.floor.IsZero() {
			return skipped("there is nothing to hold it against")
		}
		return ok("not before the time that signed documents prove (%s); the server's is not known", stamp(t.floor))
	}
	word := "ahead of"
	if t.against < 0 {
		word = "behind"
	}
	apart := max(t.against, -t.against)
	found := fmt.Sprintf("this device's clock is %d seconds %s the server's", seconds(apart), word)
	switch {
	case apart > signing.ClockSkew:
		return fail(found, set+"; if this one is right, the server's is not")
	case apart > clockFine:
		return warn(found, set)
	}
	return ok("%s", found)
}

func seconds(d time.Duration) int64 { return int64(d.Round(time.Second) / time.Second) }
