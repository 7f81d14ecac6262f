package app_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/proxy"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

const (
	proxySecret  = "mZ1pT8vK0qYB3uJ6xw9Lr2HcN5dGfSa7VeQoXtMbWkRiPzDyCjUhE4FgIlOnAsq+"
	formerSecret = "u7Qk2VYx9c0WbT4mJ1hRzL8sPdG6aN3fEoXiKvMtBqCwHyUrSjDgZlAnFpIeO5T/"
)

// behind is a server with a proxy before it, and the proxy's side of their connections.
type behind struct {
	*testing.T
	*servertest.Server
	machines, people   string // addresses of the proxy's listeners
	operator, reviewer *servertest.Person
	client             *http.Client // one connection to each
	skew               atomic.Int64 // of the server's clock
}

var lastPort atomic.Int64

// freePort is an address that nobody has, below the ports that the system gives to whoever
// connects: one of those could be taken before it is listened on.
func freePort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		address := "127.0.0.1:" + strconv.FormatInt(10_000+(int64(os.Getpid())*61+lastPort.Add(1))%20_000, 10)
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

func newBehind(t *testing.T) *behind {
	t.Helper()
	w := &behind{T: t, machines: freePort(t), people: freePort(t)}
	w.Server = servertest.Start(t, servertest.Options{
		Now: func() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) },
		Settings: map[string]string{
			"SENTINEL_TRUST_PROXY_CERT_HEADERS": "true", "SENTINEL_PROXY_LISTEN": w.machines, "SENTINEL_PROXY_PEOPLE_LISTEN": w.people,
			"SENTINEL_PROXY_SECRET": proxySecret, "SENTINEL_PROXY_SECRET_PREVIOUS": formerSecret,
		},
	})
	w.operator, w.reviewer = w.Person("olivia", "operator"), w.Person("ben", "approver")
	var d net.Dialer
	transport := &http.Transport{MaxConnsPerHost: 1, DialContext: d.DialContext}
	w.client = &http.Client{Transport: transport, Timeout: 20 * time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	return w
}

func (w *behind) device(id string) *servertest.Device {
	w.Helper()
	d := w.Enroll(id, w.operator.EnrollToken(1), w.reviewer)
	d.MustBeat()
	return d
}

// says is what a proxy says of a client, "" for no certificate.
func says(verdict string, leaf []byte, more ...string) http.Header {
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set(proxy.HeaderSecret, proxySecret)
	h.Set(proxy.HeaderAddress, "203.0.113.9")
	if verdict != "" {
		h.Set(proxy.HeaderVerify, verdict)
	}
	if leaf != nil {
		h.Set(proxy.HeaderEscaped, url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf}))))
	}
	for i := 0; i < len(more); i += 2 {
		h.Set(more[i], more[i+1])
	}
	return h
}

// send is a request as it comes, and the code of its refusal, "" for none.
func (w *behind) send(client *http.Client, address, path string, header http.Header, in, out any) (int, protocol.Code) {
	w.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		w.Fatal(err)
	}
	r, err := http.NewRequestWithContext(w.Context(), http.MethodPost, address+path, bytes.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	r.Header = header
	resp, err := client.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	var p protocol.Problem
	if resp.StatusCode >= 300 {
		_ = json.Unmarshal(data, &p)
		if p.Code == "" {
			p.Code = "no problem"
		}
	} else if out != nil {
		if err := json.Unmarshal(data, out); err != nil {
			w.Fatal(err)
		}
	}
	return resp.StatusCode, p.Code
}

// beat is a heartbeat that the proxy brings.
func (w *behind) beat(header http.Header, h *protocol.Heartbeat) (protocol.HeartbeatAnswer, protocol.Code) {
	w.Helper()
	var answer protocol.HeartbeatAnswer
	_, code := w.send(w.client, "http://"+w.machines, protocol.PathHeartbeat, header, h, &answer)
	return answer, code
}

// PRX-03, PKI-09: over one connection of the proxy's, each device is who its own
// certificate says.
func TestOverOneConnectionEachDeviceIsItself(t *testing.T) {
	t.Parallel()
	w := newBehind(t)
	a, b := w.device("edge-a"), w.device("edge-b")
	for range 3 {
		for _, d := range []*servertest.Device{a, b} {
			if answer, code := w.beat(says("SUCCESS", d.Chain[0]), d.Heartbeat()); code != "" || answer.Counter != d.Counter {
				t.Fatalf("%s: %s, %+v", d.ID, code, answer)
			}
		}
	}
	if _, code := w.beat(says("SUCCESS", a.Chain[0]), b.Heartbeat()); code != protocol.CodeIdentityMismatch {
		t.Errorf("one with the other's certificate: %q", code)
	}
	if _, code := w.beat(says("NONE", nil), a.Heartbeat()); code != protocol.CodeCertificateMissing {
		t.Errorf("without a certificate: %q", code)
	}
	w.operator.Revoke("edge-a")
	if _, code := w.beat(says("SUCCESS", a.Chain[0]), a.Heartbeat()); code != protocol.CodeDeviceRevoked {
		t.Errorf("revoked: %q", code)
	}
	if _, code := w.beat(says("SUCCESS", b.Chain[0]), b.Heartbeat()); code != "" {
		t.Errorf("the other: %q", code)
	}
}

// PKI-11: what was found out about one certificate is not said of the next.
func TestOnlyTheDeviceOfARetiredAuthorityIsToldToRenew(t *testing.T) {
	t.Parallel()
	w := newBehind(t)
	old := w.device("edge-old")
	if err := w.Publish(nil, certs.KindDevice); err != nil {
		t.Fatal(err)
	}
	if err := w.Activate(certs.KindDevice, false); err != nil {
		t.Fatal(err)
	}
	young := w.device("edge-young")
	for range 3 {
		for d, want := range map[*servertest.Device]bool{old: true, young: false} {
			if answer, code := w.beat(says("SUCCESS", d.Chain[0]), d.Heartbeat()); code != "" || answer.Renew != want {
				t.Errorf("%s: %q, told to renew: %t", d.ID, code, answer.Renew)
			}
		}
	}
}

// PRX-03: the proxy's word is one thing, and what this server finds another.
func TestWhatTheProxyVerifiedIsVerifiedAgain(t *testing.T) {
	t.Parallel()
	w := newBehind(t)
	d := w.device("edge-1")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := w.DeviceCA()
	now := time.Now()
	sign := func(from time.Time, life time.Duration, change func(*x509.Certificate)) []byte {
		template := certs.DeviceTemplate{DeviceID: d.ID, TrustDomain: "sentinel.internal", PublicKey: key.Public()}
		template.NotBefore, template.NotAfter = certs.Validity(from, life)
		der, err := certs.IssueDevice(ca, template)
		if err != nil {
			t.Fatal(err)
		}
		if change == nil {
			return der
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		change(c)
		if der, err = x509.CreateCertificate(rand.Reader, c, ca.Certificate, key.Public(), ca.Signer); err != nil {
			t.Fatal(err)
		}
		return der
	}
	self, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: ca.Certificate.SerialNumber, Subject: ca.Certificate.Subject, NotBefore: now, NotAfter: now.Add(time.Hour)},
		&x509.Certificate{Subject: ca.Certificate.Subject}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	before := w.Count("device_counters", "counter > 1")
	for name, c := range map[string]struct {
		leaf    []byte
		verdict string
		want    protocol.Code
	}{
		"not on record":             {sign(now, time.Hour, nil), "SUCCESS", protocol.CodeCertificateUnknown},
		"of nobody's authority":     {self, "SUCCESS", protocol.CodeCertificateUnknown},
		"the authority's own":       {ca.Certificate.Raw, "SUCCESS", protocol.CodeCertificateUnknown},
		"for servers":               {sign(now, time.Hour, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), "SUCCESS", protocol.CodeCertificateUnknown},
		"for signing":               {sign(now, time.Hour, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }), "SUCCESS", protocol.CodeCertificateUnknown},
		"of another name, too":      {sign(now, time.Hour, func(c *x509.Certificate) { c.DNSNames = []string{"edge-2"} }), "SUCCESS", protocol.CodeCertificateUnknown},
		"ended, by its word good":   {sign(now.Add(-30*time.Minute), 20*time.Minute, nil), "SUCCESS", protocol.CodeCertificateUnknown},
		"ended, by its word, too":   {sign(now.Add(-30*time.Minute), 20*time.Minute, nil), "FAILED:certificate has expired", protocol.CodeCertificateUnknown},
		"not begun, by its word":    {sign(now.Add(time.Hour), time.Hour, nil), "SUCCESS", protocol.CodeCertificateNotYet},
		"in date, by its word not":  {d.Chain[0], "FAILED:certificate has expired", protocol.CodeMalformed},
		"revoked, by its word":      {d.Chain[0], "FAILED:certificate revoked", protocol.CodeMalformed},
		"none verified":             {d.Chain[0], "NONE", protocol.CodeMalformed},
		"verified, and not the one": {nil, "SUCCESS", protocol.CodeMalformed},
	} {
		h := d.Heartbeat()
		if _, code := w.beat(says(c.verdict, c.leaf), h); code != c.want {
			t.Errorf("%s: %q, not %q", name, code, c.want)
		}
	}
	if w.Count("device_counters", "counter > 1") != before {
		t.Error("something was counted")
	}
}

// AGT-13: a device whose certificate has ended hears of the way back.
func TestADeviceWhoseCertificateEndedIsToldSoThroughTheProxy(t *testing.T) {
	t.Parallel()
	w := newBehind(t)
	d := w.device("edge-1")
	w.skew.Store(int64(8 * 24 * time.Hour))
	if _, code := w.beat(says("FAILED:certificate has expired", d.Chain[0]), d.Heartbeat()); code != protocol.CodeCertificateExpired {
		t.Errorf("%q", code)
	}
}

// PRX-01, PRX-08: who does not prove to be the proxy is refused there, and elsewhere
// nobody speaks for it.
func TestNobodyElseSpeaksForTheProxy(t *testing.T) {
	t.Parallel()
	w := newBehind(t)
	d := w.device("edge-1")
	former := says("SUCCESS", d.Chain[0], proxy.HeaderSecret, formerSecret)
	if _, code := w.beat(former, d.Heartbeat()); code != "" {
		t.Errorf("with the secret of before: %q", code)
	}
	for name, secret := range map[string]string{"none": "", "another": strings.Repeat("x", len(proxySecret)), "part of it": proxySecret[:32]} {
		header := says("SUCCESS", d.Chain[0], proxy.HeaderSecret, secret, "X-Forwarded-For", "127.0.0.1")
		if status, code := w.send(w.client, "http://"+w.machines, protocol.PathHeartbeat, header, d.Heartbeat(), nil); status != http.StatusForbidden || code != "forbidden" {
			t.Errorf("the secret is %s: %d %q", name, status, code)
		}
		if status, _ := w.send(w.client, "http://"+w.people, "/api/admin/login", header, map[string]string{}, nil); status != http.StatusForbidden {
			t.Errorf("for people the secret is %s: %d", name, status)
		}
	}
	bare := w.NewDevice("nobody") // shows no certificate
	direct := &http.Client{Transport: bare.Transport()}
	for _, name := range proxy.Headers {
		header := http.Header{"Content-Type": {"application/json"}, http.CanonicalHeaderKey(name): {"x"}}
		if status, code := w.send(direct, "https://localhost:"+port(t, w.Direct()), protocol.PathHeartbeat, header, d.Heartbeat(), nil); status != http.StatusBadRequest || code != protocol.CodeMalformed {
			t.Errorf("%s at the devices' own listener: %d %q", name, status, code)
		}
		if status, code := w.send(w.client, w.PeopleURL, "/api/admin/login", header, map[string]string{}, nil); status != http.StatusBadRequest || code != protocol.CodeMalformed {
			t.Errorf("%s at the people's own listener: %d %q", name, status, code)
		}
	}
	for reason, least := range map[string]int{"not-the-proxy": 1, "speaks-for-the-proxy": 1} {
		if n := w.Count("audit_entries", "reason = ? AND result = 'refused'", reason); n < least {
			t.Errorf("the audit log has %d entries of %s", n, reason)
		}
	}
}

// PRX-01: while no proxy is believed, its headers are as if they were not there.
func TestWithoutAProxyTheHeadersAreIgnored(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	w := &behind{T: t, Server: s, client: http.DefaultClient, operator: s.Person("olivia", "operator"), reviewer: s.Person("ben", "approver")}
	d := w.device("edge-1")
	bare := &http.Client{Transport: w.NewDevice("nobody").Transport()}
	own := &http.Client{Transport: d.Transport()}
	header := says("SUCCESS", d.Chain[0], proxy.HeaderAddress, "203.0.113.9", "X-Forwarded-For", "203.0.113.9")
	if _, code := w.send(bare, w.MachineURL, protocol.PathHeartbeat, header, d.Heartbeat(), nil); code != protocol.CodeCertificateMissing {
		t.Errorf("with the headers alone: %q", code)
	}
	if _, code := w.send(own, w.MachineURL, protocol.PathHeartbeat, header, d.Heartbeat(), nil); code != "" {
		t.Errorf("with its own certificate beside them: %q", code)
	}
	if n := w.Count("audit_entries", "source LIKE '203.%'"); n != 0 {
		t.Errorf("%d entries come from the address that was claimed", n)
	}
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// PRX-04: the address of a client is what the proxy says, on both sides, and is what
// the limits go by.
func TestTheAddressIsTheOneThatTheProxySays(t *testing.T) {
	t.Parallel()
	w := newBehind(t)
	person := func(address string) http.Header {
		return says("", nil, proxy.HeaderAddress, address, "X-Forwarded-For", "198.51.100.1", "Forwarded", "for=198.51.100.1")
	}
	login := func(name, address string) int {
		status, _ := w.send(w.client, "http://"+w.people, "/api/admin/login", person(address), map[string]string{"name": name, "password": "a wrong password of some length"}, nil)
		return status
	}
	if got := login("someone", "203.0.113.20"); got != http.StatusUnauthorized {
		t.Fatalf("a wrong password: %d", got)
	}
	if n := w.Count("audit_entries", "source = '203.0.113.20'"); n == 0 {
		t.Error("the audit log has another address")
	}
	limited := false
	for range 200 {
		if limited = login("nobody", "203.0.113.21") == http.StatusTooManyRequests; limited {
			break
		}
	}
	if !limited {
		t.Error("an address is never limited")
	}
	if got := login("another", "192.0.2.22"); got != http.StatusUnauthorized {
		t.Errorf("another address is limited with it: %d", got)
	}
	h := w.NewDevice("edge-9").Request("no-such-token")
	w.send(w.client, "http://"+w.machines, protocol.PathEnroll, says("NONE", nil, proxy.HeaderAddress, "2001:db8::9"), h, nil)
	w.Round()
	if n := w.Count("audit_entries", "source = '2001:db8::9'"); n == 0 {
		t.Error("a device's address is not the one that the proxy says")
	}
	if n := w.Count("audit_entries", "source LIKE '198.51.%'"); n != 0 {
		t.Errorf("%d entries have an address from another header", n)
	}
}

// PRX-03: eight words of a proxy with six certificates each: only SUCCESS lets in, and
// only the one certificate that this server finds to be in order.
func TestOnlySuccessAndOurOwnVerificationLetIn(t *testing.T) {
	t.Parallel()
	w := newBehind(t)
	d, gone := w.device("edge-1"), w.device("edge-2")
	w.operator.Revoke("edge-2")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca, now := w.DeviceCA(), time.Now()
	issue := func(from time.Time, life time.Duration) []byte {
		template := certs.DeviceTemplate{DeviceID: d.ID, TrustDomain: "sentinel.internal", PublicKey: key.Public()}
		template.NotBefore, template.NotAfter = certs.Validity(from, life)
		der, err := certs.IssueDevice(ca, template)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	self, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: ca.Certificate.SerialNumber, Subject: ca.Certificate.Subject, NotBefore: now, NotAfter: now.Add(time.Hour)},
		&x509.Certificate{Subject: ca.Certificate.Subject}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificates := map[string][]byte{
		"in order": d.Chain[0], "of a revoked device": gone.Chain[0], "ended": issue(now.Add(-30*time.Minute), 20*time.Minute),
		"not begun": issue(now.Add(time.Hour), time.Hour), "of nobody's": self, "missing": nil,
	}
	tried := 0
	for _, verdict := range []string{"SUCCESS", "NONE", "FAILED", "FAILED:certificate has expired", "FAILED:certificate is not yet valid", "FAILED:certificate revoked", "success", ""} {
		for name, leaf := range certificates {
			for _, form := range []string{proxy.HeaderEscaped, proxy.HeaderCert} {
				h := d.Heartbeat()
				if name == "of a revoked device" {
					h = gone.Heartbeat()
				}
				header := says(verdict, leaf)
				if form == proxy.HeaderCert && leaf != nil {
					header.Del(proxy.HeaderEscaped)
					header.Set(form, ":"+base64.StdEncoding.EncodeToString(leaf)+":")
				}
				_, code := w.beat(header, h)
				if in := code == ""; in != (verdict == "SUCCESS" && name == "in order") {
					t.Errorf("%q with a certificate that is %s, as %s: %q", verdict, name, form, code)
				}
				tried++
			}
		}
	}
	if tried != 8*6*2 {
		t.Errorf("%d were tried", tried)
	}
}

// PRX-06: what cannot be a certificate is refused on the wire, whatever its length, and
// costs no memory that stays.
func TestAHeaderThatIsNoCertificateIsRefusedOnTheWire(t *testing.T) { // alone, since it looks at the heap
	w := newBehind(t)
	var d *servertest.Device
	var text string
	for n := 1; !strings.Contains(text, "+"); n++ { // one in a hundred certificates has none
		d = w.device("edge-" + strconv.Itoa(n))
		text = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.Chain[0]}))
	}
	good := url.PathEscape(text)
	sequence := ":" + base64.StdEncoding.EncodeToString(d.Chain[0]) + ":"
	body, err := json.Marshal(d.Heartbeat())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(lines ...string) (status int) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(t.Context(), "tcp", w.machines)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		head := "POST " + protocol.PathHeartbeat + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n" + proxy.HeaderSecret + ": " + proxySecret + "\r\n" + proxy.HeaderAddress + ": 203.0.113.9\r\n" +
			proxy.HeaderVerify + ": SUCCESS\r\n" + strings.Join(lines, "\r\n") + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
		go func() { _, _ = io.WriteString(conn, head+string(body)) }() // it may be answered before it was read
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%.80q: %v", lines, err)
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	pemIs, seqIs := proxy.HeaderEscaped+": ", proxy.HeaderCert+": "
	cases := map[string][]string{
		"two blocks": {pemIs + good + good}, "two lines": {pemIs + good, pemIs + good}, "two forms": {pemIs + good, seqIs + sequence}, "junk behind": {pemIs + good + "AAAA"}, "junk before": {pemIs + "AAAA" + good},
		"a plus for a space": {pemIs + strings.ReplaceAll(good, "%20", "+")}, "a plus that is a space": {pemIs + strings.ReplaceAll(good, "+", "%20")}, "all of it as a form": {pemIs + url.QueryEscape(text)}, "escaped twice": {pemIs + url.PathEscape(good)},
		"cut in the middle": {pemIs + good[:len(good)/2]}, "without its end": {pemIs + good[:strings.Index(good, "-----END")]}, "cut in an escape": {pemIs + good[:len(good)-1]}, "in one line": {pemIs + strings.ReplaceAll(text, "\n", " ")},
		"base64 alone": {pemIs + base64.StdEncoding.EncodeToString(d.Chain[0])}, "nothing": {pemIs}, "spaces": {pemIs + "%20%20"}, "a NUL": {pemIs + strings.Replace(good, "%0A", "%00%0A", 1)}, "another kind": {pemIs + strings.ReplaceAll(good, "CERTIFICATE", "PKCS7")},
		"a trusted one": {pemIs + strings.ReplaceAll(good, "CERTIFICATE", "TRUSTED%20CERTIFICATE")}, "headers in it": {pemIs + strings.Replace(good, "-----%0A", "-----%0AA:%20b%0A%0A", 1)}, "no sequence": {seqIs + strings.Trim(sequence, ":")}, "a string": {seqIs + `"` + sequence + `"`},
		"a list": {seqIs + sequence + ", " + sequence}, "a parameter": {seqIs + sequence + ";a=1"}, "a sequence that is cut": {seqIs + sequence[:len(sequence)-5]}, "a sequence of nothing": {seqIs + "::"}, "a sequence of the chain": {proxy.HeaderChain + ": " + sequence},
		"base64 without its end": {seqIs + ":" + base64.RawStdEncoding.EncodeToString(append([]byte{0}, d.Chain[0]...)) + ":"}, "PEM as a sequence": {seqIs + ":" + base64.StdEncoding.EncodeToString([]byte(text)) + ":"}, "bits that count for nothing": {seqIs + ":" + "MB==" + ":"},
	}
	for _, size := range []int{30 << 10, 50 << 10, 100 << 10, 1 << 20} {
		cases["of "+strconv.Itoa(size)+" octets"] = []string{pemIs + strings.Repeat("A", size)}
	}
	if len(cases) < 30 {
		t.Errorf("only %d cases", len(cases))
	}
	for name, lines := range cases {
		if status := ask(lines...); status < 400 || status >= 500 {
			t.Errorf("%s: %d", name, status)
		}
	}
	memory := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := memory()
	for range 200 {
		ask(pemIs + strings.Repeat("A", 1<<20))
	}
	if after := memory(); after > before+64<<20 { // 200 MiB were sent
		t.Errorf("the heap rose from %d to %d MiB", before>>20, after>>20)
	}
	if status := ask(pemIs + good); status >= 500 || status == http.StatusBadRequest {
		t.Errorf("the certificate itself: %d", status)
	}
}
