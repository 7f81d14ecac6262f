//go:build boundary

package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// variant is one way of saying that one is somebody else: what stands in the head of a
// request beside what must, or a request of its own.
type variant struct {
	name string
	head []string                                             // lines, as they are on the wire
	raw  func(path string, head []string, body string) string // nil: an ordinary POST
}

const (
	claimed = "198.51.100.77" // an address that nobody here has
	okay    = "X-SSL-Client-Verify: SUCCESS"
	from    = "X-Sentinel-Client: " + claimed
)

// variants are all of them, for a victim's certificate.
func variants(der []byte) (list []variant) {
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	one := strings.ReplaceAll(strings.TrimSpace(text), "\n", " ")
	b64 := base64.StdEncoding.EncodeToString(der)
	escaped := url.PathEscape(text)
	seq := ":" + b64 + ":"
	forms := map[string]string{
		"escaped PEM": escaped, "escaped in small letters": strings.ReplaceAll(strings.ReplaceAll(escaped, "%0A", "%0a"), "%2B", "%2b"), "escaped twice": url.PathEscape(escaped),
		"escaped with plus": url.QueryEscape(text), "PEM in one line": one, "PEM with tabs": strings.ReplaceAll(strings.TrimSpace(text), "\n", "\t"), "base64": b64, "base64url": base64.URLEncoding.EncodeToString(der),
		"a byte sequence": seq, "a byte sequence with a parameter": seq + ";a=1", "a list": seq + ", " + seq, "hexadecimal": hex.EncodeToString(der), "quoted": `"` + escaped + `"`, "an element of XFCC": `Hash=00;Cert="` + escaped + `";Subject="CN=x"`,
	}
	add := func(name string, head ...string) { list = append(list, variant{name: name, head: head}) }
	for _, header := range []string{"X-SSL-Client-Cert", "Client-Cert", "x-ssl-client-cert", "X_SSL_CLIENT_CERT"} {
		for form, value := range forms {
			add(header+" as "+form, okay, from, header+": "+value)
		}
	}
	for _, header := range []string{
		"CLIENT-CERT", "client_cert", "Client-Cert-Chain", "X-SSL-CLIENT-CERT", "X-Ssl-Client-Cert", "SSL-Client-Cert", "X-Client-Cert", "X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert",
		"X-ARR-ClientCert", "X-Amzn-Mtls-Clientcert", "HTTP_X_SSL_CLIENT_CERT", "X-SSL-Client-Cert ", "X-SSL-Client-Cert\t", "X.SSL.Client.Cert",
	} {
		add(header+" of a habit", okay, from, header+": "+escaped)
	}
	for _, verdict := range []string{"", "SUCCESS", "success", "SUCCESS, SUCCESS", "NONE", "0", "FAILED:certificate has expired", "FAILED:certificate is not yet valid", "FAILED:certificate revoked", "SUCCESS\tNONE"} {
		add("a verdict of "+verdict, "X-SSL-Client-Verify: "+verdict, from, "X-SSL-Client-Cert: "+escaped)
	}
	add("a verdict alone", okay)
	add("no verdict", from, "X-SSL-Client-Cert: "+escaped)
	add("two verdicts", okay, okay, from, "X-SSL-Client-Cert: "+escaped)
	add("two certificates", okay, from, "X-SSL-Client-Cert: "+escaped, "X-SSL-Client-Cert: "+escaped)
	add("both forms", okay, from, "X-SSL-Client-Cert: "+escaped, "Client-Cert: "+seq)
	add("one with an underscore, one without", okay, "X_SSL_Client_Verify: SUCCESS", from, "X-SSL-Client-Cert: x", "X_SSL_Client_Cert: "+escaped)
	add("a folded line", okay, from, "X-SSL-Client-Cert: "+escaped[:40], " "+escaped[40:])
	add("a line that begins with a space", okay, from, " X-SSL-Client-Cert: "+escaped)
	add("a name and no value", okay, from, "X-SSL-Client-Cert")
	add("a NUL byte", okay, from, "X-SSL-Client-Cert: "+escaped+"\x00")
	add("a bare CR", okay, from, "X-Other: a\rX-SSL-Client-Cert: "+escaped)
	add("a bare LF", okay, from, "X-Other: a\nX-SSL-Client-Cert: "+escaped)
	for _, key := range []string{"", "x", strings.Repeat("x", 64), "null", proxySecret[:32]} {
		add("the proxy's key is "+key, "X-Sentinel-Proxy-Key: "+key, okay, from, "X-SSL-Client-Cert: "+escaped)
	}
	add("two keys of the proxy", "X-Sentinel-Proxy-Key: x", "X-Sentinel-Proxy-Key: y", okay, from, "X-SSL-Client-Cert: "+escaped)
	for _, size := range []int{4 << 10, 7 << 10, 30 << 10, 70 << 10, 1 << 20} {
		add(fmt.Sprintf("%d octets before it", size), okay, from, "X-SSL-Client-Cert: "+strings.Repeat("A", size)+escaped)
	}
	add("a thousand headers", append(strings.Split(strings.Repeat("X-Other: x\n", 1000), "\n")[:1000], okay, from, "X-SSL-Client-Cert: "+escaped)...)
	for _, header := range []string{"X-Forwarded-For", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP", "X-Cluster-Client-IP", "X-Originating-IP", "X-Remote-Addr", "X-Sentinel-Client", "X_Sentinel_Client", "Fastly-Client-IP"} {
		add(header+" says an address", header+": "+claimed)
	}
	add("Forwarded says an address", "Forwarded: for="+claimed+";proto=https;by=127.0.0.1")
	add("two addresses", from, "X-Sentinel-Client: 198.51.100.78")
	add("lists that never end", "X-Sentinel-Lists-End: 253402300799", okay, from, "X-SSL-Client-Cert: "+escaped)
	for _, name := range []string{"X-SSL-Client-Verify", "X-SSL-Client-Verify, X-SSL-Client-Cert, X-Sentinel-Client", "X-Sentinel-Client, X-Sentinel-Proxy-Key", "X-Sentinel-Lists-End, close"} {
		add("Connection takes "+name+" away", "Connection: "+name, okay, from, "X-SSL-Client-Cert: "+escaped)
	}
	add("the user and the scheme of habits", "X-Forwarded-Proto: https", "X-Forwarded-User: edge-b", "X-Remote-User: edge-b", "Remote-User: edge-b", "X-SSL-Client-S-DN: CN=edge-b", "X-SSL-Client-Fingerprint: 00")
	add("an upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__", "Connection: Upgrade, HTTP2-Settings", okay, from, "X-SSL-Client-Cert: "+escaped)

	own := func(name string, raw func(path string, head []string, body string) string) {
		list = append(list, variant{name, []string{okay, from, "X-SSL-Client-Cert: " + escaped}, raw})
	}
	chunked := func(more, trailer string) func(string, []string, string) string {
		return func(path string, _ []string, body string) string {
			return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n" + more + "\r\n" +
				fmt.Sprintf("%x\r\n%s\r\n0\r\n%s\r\n", len(body), body, trailer)
		}
	}
	claim := okay + "\r\n" + from + "\r\nX-SSL-Client-Cert: " + escaped + "\r\n"
	own("in the trailer", chunked("", claim))
	own("in a trailer that is announced", chunked("Trailer: X-SSL-Client-Verify, X-SSL-Client-Cert, X-Sentinel-Client\r\nTE: trailers\r\n", claim))
	own("in the trailer and the head", chunked(claim, claim))
	post := func(path, version string, head []string, body, more string) string {
		return "POST " + path + " " + version + "\r\nHost: localhost\r\nContent-Type: application/json\r\n" + strings.Join(head, "\r\n") + "\r\n" + more + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
	}
	own("HTTP/1.0", func(path string, head []string, body string) string { return post(path, "HTTP/1.0", head, body, "") })
	own("an absolute form", func(path string, head []string, body string) string {
		return post("https://localhost"+path, "HTTP/1.1", head, body, "")
	})
	own("another host's absolute form", func(path string, head []string, body string) string {
		return post("http://sentinel_machines"+path, "HTTP/1.1", head, body, "")
	})
	own("a path that is written otherwise", func(_ string, head []string, body string) string {
		return post("//api/./x/../heartbeat", "HTTP/1.1", head, body, "")
	})
	own("two hosts", func(path string, head []string, body string) string {
		return post(path, "HTTP/1.1", head, body, "Host: console\r\n")
	})
	// PRX-05: a second request rides in the body of the first.
	ride := func(path string, head []string, body string) string {
		return post(path, "HTTP/1.1", head, body, "")
	}
	for _, transfer := range []string{"Transfer-Encoding: chunked", "Transfer-Encoding : chunked", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, identity", "Transfer-Encoding:\tchunked", "Transfer-encoding: CHUNKED\r\nTransfer-Encoding: x", "X: y\nTransfer-Encoding: chunked"} {
		own("a second request behind "+strings.ReplaceAll(transfer, "\r\n", " and "), func(path string, head []string, body string) string {
			inner := "0\r\n\r\n" + ride(path, head, body)
			return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + transfer + fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n", len(inner)) + inner
		})
	}
	own("two lengths", func(path string, head []string, body string) string {
		inner := "{}" + ride(path, head, body)
		return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n" + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(inner)) + inner
	})
	own("a length with a sign", func(path string, head []string, body string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: +2\r\n\r\n{}" + ride(path, head, body)
	})
	own("a chunk with an extension that ends early", func(path string, head []string, body string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2;\n{}\r\n0\r\n\r\n" + ride(path, head, body)
	})
	own("a body in a request without one", func(path string, head []string, body string) string {
		return "GET /api/health/live HTTP/1.1\r\nHost: localhost\r\n" + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(ride(path, head, body))) + ride(path, head, body)
	})
	return list
}

func (v variant) bytes(body string) string {
	path := protocol.PathHeartbeat
	if v.raw != nil {
		return v.raw(path, v.head, body)
	}
	return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + strings.Join(v.head, "\r\n") + fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// tell sends octets and returns every answer; a connection that ends is an answer, too.
func tell(t *testing.T, address string, conf *tls.Config, request string) (list []answer) {
	t.Helper()
	conn, err := tls.Dial("tcp", address, conf)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	go func() { _, _ = conn.Write([]byte(request)) }() // it may be answered before it was read
	r := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodPost})
		if err != nil {
			return list
		}
		list = append(list, read(resp))
		// What follows without another request was none of ours.
		_ = conn.SetReadDeadline(time.Now().Add(150 * time.Millisecond))
	}
}

// caller is who sends a variant, and what its own identity is told.
type caller struct {
	who  string
	conf *tls.Config
	body string
	told protocol.Code
}

// refusals are the statuses of a request that was not understood, or that somebody may
// not send: nobody's identity is in them.
var refusals = map[int]bool{
	http.StatusBadRequest: true, http.StatusNotFound: true, http.StatusRequestEntityTooLarge: true, http.StatusRequestURITooLong: true,
	http.StatusUnsupportedMediaType: true, http.StatusRequestHeaderFieldsTooLarge: true, http.StatusNotImplemented: true,
}

// atOnce does something with every variant, a few at a time.
func atOnce(list []variant, do func(v variant)) {
	var all sync.WaitGroup
	work := make(chan variant)
	for range 16 {
		all.Go(func() {
			for v := range work {
				do(v)
			}
		})
	}
	for _, v := range list {
		work <- v
	}
	close(work)
	all.Wait()
}

// attack is the two devices of an attack.
type attack struct {
	*world
	own, victim *servertest.Device
}

// probe is a heartbeat that is never counted: its epoch is nobody's. Whoever is taken for
// the device is told the epoch; whoever is taken for another one that it is another's.
func (a *attack) probe(d *servertest.Device) string {
	a.Helper()
	h := *d.Heartbeat()
	d.Counter--
	h.Epoch = "0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b3d"
	data, err := json.Marshal(h)
	a.must(err)
	return string(data)
}

// PRX-01, PRX-03, PRX-04, PRX-05, PRX-06: the second line of the boundary. Whatever
// stands in a request, the caller is who its connection proved, and comes from where it
// comes.
func TestNoHeaderChangesWhoTheCallerIs(t *testing.T) {
	w := newWorld(t, options{})
	w.install()
	a := &attack{w, w.Enroll("edge-a", w.operator.EnrollToken(1), w.reviewer), w.Enroll("edge-b", w.operator.EnrollToken(1), w.reviewer)}
	a.own.MustBeat()
	a.victim.MustBeat()
	of := func(d *servertest.Device) *tls.Config {
		conf := w.NewDevice("nobody").Transport().TLSClientConfig.Clone()
		if d != nil {
			conf = d.Transport().TLSClientConfig.Clone()
		}
		conf.ServerName = "localhost"
		return conf
	}
	counters := func() string { return fmt.Sprint(w.counter("edge-a"), w.counter("edge-b")) }
	before := counters()
	list := variants(a.victim.Chain[0])
	asOwn, asVictim := a.probe(a.own), a.probe(a.victim)
	callers := []caller{
		{"nobody as the victim", of(nil), asVictim, protocol.CodeCertificateMissing},
		{"the attacker as the victim", of(a.own), asVictim, protocol.CodeIdentityMismatch},
		{"the attacker as itself", of(a.own), asOwn, protocol.CodeEpochChanged},
	}
	for where, address := range map[string]string{"through NGINX": w.machines, "at the server itself": w.Direct()} {
		t.Run(where, func(t *testing.T) {
			atOnce(list, func(v variant) {
				for _, c := range callers {
					answers := tell(t, address, c.conf, v.bytes(c.body))
					for len(answers) > 0 && answers[0].code == protocol.CodeRateLimited { // one device's heartbeats come one by one
						answers = tell(t, address, c.conf, v.bytes(c.body))
					}
					for i, got := range answers {
						if live := got.status < 400 && strings.Contains(got.body, "live"); i == 0 && live {
							continue // the health that was asked for
						}
						if !refusals[got.status] && got.code != c.told {
							t.Errorf("%s, %s: answer %d is %d %s %.200s", v.name, c.who, i+1, got.status, got.code, got.body)
						}
					}
				}
			})
		})
	}
	t.Logf("%d variants, each by %d callers in 2 places", len(list), len(callers))
	if len(list) < 100 {
		t.Errorf("only %d variants", len(list))
	}
	if after := counters(); after != before {
		t.Errorf("the counters were %s and are %s", before, after)
	}
	w.Round()
	if n := w.Count("audit_entries", "source LIKE '198.51.100.%'"); n != 0 {
		t.Errorf("%d entries of the audit log come from the address that was claimed", n)
	}
	if n := w.Count("audit_entries", "actor_kind = 'device' AND actor_id = 'edge-b' AND result = 'refused'"); n != 0 {
		t.Errorf("%d refusals are the victim's", n)
	}
	a.own.Hangup()
	a.victim.Hangup()
	a.own.MustBeat()
	a.victim.MustBeat()
}

// PRX-04: people, too, come from where they come.
func TestNoHeaderChangesWhereAPersonComesFrom(t *testing.T) {
	w := newWorld(t, options{})
	w.install()
	list := variants(w.DeviceCA().Certificate.Raw)
	client := w.browser()
	conf := client.Transport.(*http.Transport).TLSClientConfig.Clone()
	conf.ServerName = "localhost"
	atOnce(list, func(v variant) {
		if v.raw != nil {
			return
		}
		body := fmt.Sprintf(`{"name":"nobody-%d","password":"a wrong password of some length"}`, len(v.name))
		for _, got := range tell(t, w.console, conf, strings.Replace(v.bytes(body), protocol.PathHeartbeat, "/api/admin/login", 1)) {
			if got.status < 400 || got.status >= 500 {
				t.Errorf("%s: %d %s", v.name, got.status, got.code)
			}
		}
	})
	w.Round()
	if n := w.Count("audit_entries", "source LIKE '198.51.100.%'"); n != 0 {
		t.Errorf("%d entries of the audit log come from the address that was claimed", n)
	}
	if n := w.Count("audit_entries", "source = '127.0.0.1' AND result = 'refused'"); n == 0 {
		t.Error("nobody's address is known")
	}
}

// PRX-08: another user of the host is not the proxy, whatever it is.
func TestAnotherUsersNGINXIsNotTheProxy(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT CHECKED: only root can run NGINX as another user")
	}
	w := newWorld(t, options{})
	w.install()
	d := w.Enroll("edge-1", w.operator.EnrollToken(1), w.reviewer)
	d.MustBeat()
	dir := filepath.Join(w.dir, "other")
	w.must(os.Mkdir(dir, 0o755))
	other := freePort(t)
	w.must(os.Mkdir(filepath.Join(dir, "sites"), 0o755))
	conf, err := os.ReadFile(filepath.Join(w.dir, "sites", "sentinel.conf"))
	w.must(err)
	conf = bytes.ReplaceAll(conf, []byte(w.machines), []byte(other))
	people, _, found := bytes.Cut(conf, []byte("# People.\n"))
	if !found {
		t.Fatal("the configuration has no side for people")
	}
	w.must(os.WriteFile(filepath.Join(dir, "sites", "sentinel.conf"), people, 0o600))
	w.startNGINX(filepath.Join(dir, "nginx.conf"), "daemon")
	tlsConf := d.Transport().TLSClientConfig.Clone()
	tlsConf.ServerName = "localhost"
	body := (&attack{world: w}).probe(d)
	request := "POST /api/heartbeat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
	for address, want := range map[string]int{w.machines: http.StatusConflict, other: http.StatusBadGateway} {
		got := tell(t, address, tlsConf, request)
		if len(got) != 1 || got[0].status != want {
			t.Errorf("%s: %+v, not %d", address, got, want)
		}
	}
}

// PRX-01, PRX-08: on an address the secret decides, and what nobody verified is nobody's.
func TestOnAnAddressTheSecretDecides(t *testing.T) {
	w := newWorld(t, options{secret: true})
	w.install()
	d := w.Enroll("edge-1", w.operator.EnrollToken(1), w.reviewer)
	d.MustBeat()
	leaf, err := x509.ParseCertificate(d.Chain[0])
	w.must(err)
	for name, change := range map[string]func(h http.Header){
		"nothing":             func(h http.Header) { h.Del("X-Sentinel-Proxy-Key") },
		"another secret":      func(h http.Header) { h.Set("X-Sentinel-Proxy-Key", strings.Repeat("y", len(proxySecret))) },
		"part of the secret":  func(h http.Header) { h.Set("X-Sentinel-Proxy-Key", proxySecret[:32]) },
		"the secret and more": func(h http.Header) { h.Set("X-Sentinel-Proxy-Key", proxySecret+"x") },
		"the secret twice":    func(h http.Header) { h.Add("X-Sentinel-Proxy-Key", proxySecret) },
		"the secret in small": func(h http.Header) { h.Set("X-Sentinel-Proxy-Key", strings.ToLower(proxySecret)) },
	} {
		for _, address := range []string{w.settings["SENTINEL_PROXY_LISTEN"], w.settings["SENTINEL_PROXY_PEOPLE_LISTEN"]} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+protocol.PathHeartbeat, strings.NewReader((&attack{world: w}).probe(d)))
			w.must(err)
			for key, value := range map[string]string{
				"Content-Type": "application/json", "X-Sentinel-Proxy-Key": proxySecret, "X-SSL-Client-Verify": "SUCCESS", "X-Sentinel-Client": claimed, "X-Forwarded-For": "127.0.0.1",
				"X-SSL-Client-Cert": url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}))),
			} {
				r.Header.Set(key, value)
			}
			change(r.Header)
			resp, err := http.DefaultClient.Do(r)
			w.must(err)
			if got := read(resp); got.status != http.StatusForbidden {
				t.Errorf("%s, at %s: %d %s", name, address, got.status, got.code)
			}
		}
	}
}
