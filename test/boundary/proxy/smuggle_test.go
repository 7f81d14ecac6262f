//go:build boundary

package proxy

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// ride is a request that hides another one.
type ride struct {
	name string
	text string
}

// rides are the ways of hiding inner, a whole request, in one to path. None of them is
// two requests: who answers twice has read one otherwise than who passed it on.
func rides(path, inner string) (list []ride) {
	head := "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	add := func(name, text string) { list = append(list, ride{name, text}) }
	length := func(s string) string { return fmt.Sprintf("Content-Length: %d\r\n", len(s)) }

	behind := "0\r\n\r\n" + inner // to who goes by chunks it is behind the body
	for _, te := range []string{
		"Transfer-Encoding: chunked", "Transfer-Encoding: Chunked", "Transfer-Encoding : chunked", "Transfer-Encoding:\tchunked", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, identity",
		"Transfer-Encoding: identity, chunked", "Transfer-Encoding: identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: \"chunked\"",
		"Transfer-Encoding: \x0bchunked", "Transfer-Encoding: chunked\x00", "Transfer-Encoding:\r\n chunked", "X: y\nTransfer-Encoding: chunked", "X: y\r\n\tTransfer-Encoding: chunked", "Transfer_Encoding: chunked", " Transfer-Encoding: chunked",
		"\nTransfer-Encoding: chunked",
	} {
		add(fmt.Sprintf("CL.TE by %q", te), head+length(behind)+te+"\r\n\r\n"+behind)
	}
	// To who goes by the length, inner is behind the body; by chunks it is in one.
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(inner), inner)
	for _, te := range []string{"Transfer-Encoding: chunked", "Transfer-Encoding: xchunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding:\r\n chunked", "X: y\nTransfer-Encoding: chunked"} {
		add(fmt.Sprintf("TE.CL by %q", te), head+fmt.Sprintf("Content-Length: %d\r\n", strings.Index(chunk, "\n")+1)+te+"\r\n\r\n"+chunk)
	}
	for _, cl := range []string{"2\r\nContent-Length: 2", "2, 2", "+2", "-2", "0x2", "2a", "2 2", "2;", "18446744073709551618", "", "2\nContent-Length: 200"} {
		add(fmt.Sprintf("a length of %q", cl), head+"Content-Length: "+cl+"\r\n\r\n{}"+inner)
	}
	add("a length of its own in HTTP/1.0", strings.Replace(head, "HTTP/1.1", "HTTP/1.0", 1)+"Content-Length: 2\r\n\r\n{}"+inner)
	add("chunks in HTTP/1.0", strings.Replace(head, "HTTP/1.1", "HTTP/1.0", 1)+"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"+inner)
	for _, size := range []string{"0x2", "-2", "+2", " 2", "fffffffffffffffe", "10000000000000002", "2\r", "", "g"} {
		add(fmt.Sprintf("a chunk of %q", size), head+"Transfer-Encoding: chunked\r\n\r\n"+size+"\r\n{}\r\n0\r\n\r\n"+inner)
	}
	add("a chunk that goes on", head+"Transfer-Encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n"+inner)
	add("a chunk that ends with a bare CR", head+"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r0\r\n\r\n"+inner)
	// The chunk's extension, which ends at a bare LF to some (CVE-2025-22871), holds it all.
	add("an extension with a bare LF", head+"Transfer-Encoding: chunked\r\n\r\n"+fmt.Sprintf("2;a\n%x\r\n", len(inner)+4)+"{}\r\n"+inner+"\r\n0\r\n\r\n")
	trailer := "0\r\nX: y\r\n\r\n"
	add("a length in the trailer", head+"Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n2\r\n{}\r\n0\r\nContent-Length: 500\r\n"+strings.ReplaceAll(inner, "\r\n", " ")+": "+trailer)
	add("an absolute form", "POST http://localhost"+path+" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"+length(behind)+"Transfer-Encoding: chunked\r\n\r\n"+behind)
	add("an absolute form of another scheme", "POST ftp://localhost"+path+"?"+strings.ReplaceAll(inner, "\r\n", "%0d%0a")+" HTTP/1.1\r\nHost: localhost\r\n"+length("{}")+"\r\n{}")
	add("a target with an escaped end of line", "POST "+path+"?x=%20HTTP/1.1%0d%0a"+strings.ReplaceAll(strings.ReplaceAll(inner, "\r\n", "%0d%0a"), " ", "%20")+" HTTP/1.1\r\nHost: localhost\r\n"+length("{}")+"\r\n{}")
	add("a target with a bare LF", "POST "+path+"\n"+inner)
	add("a target with a bare CR", "POST "+path+" HTTP/1.1\rHost: localhost\r\n\r\n"+inner)
	add("a folded line", head+"X: y\r\n "+strings.ReplaceAll(inner, "\r\n", "\r\n ")+"\r\n"+length("{}")+"Connection: close\r\n\r\n{}")
	add("h2c by an upgrade", head+"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"+length("{}")+"\r\n{}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+inner)
	add("h2c without asking", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+inner)
	add("a connection to elsewhere", "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n"+inner)
	add("a body in a GET", "GET /api/health/nothing HTTP/1.1\r\nHost: localhost\r\n"+length(inner)+"\r\n"+inner)
	add("a body in a GET, in chunks", "GET /api/health/nothing HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"+chunk)
	add("a body that is expected", head+"Expect: 100-continue\r\n"+length(inner)+"\r\n"+inner)
	return list
}

// strays counts the answers of the server behind the first; NGINX itself says 400 to a
// rest that is no request, and 100 is no answer yet.
func strays(answers []answer) (n int) {
	for _, a := range answers {
		if a.byServer() {
			n++
		}
	}
	return max(0, n-1)
}

// PRX-05: what NGINX takes for one request, the server takes for one; nothing of it gets
// to another's connection.
func TestNoRequestRidesOnAnother(t *testing.T) {
	w := newWorld(t, options{})
	w.install()
	d, victim := w.Enroll("edge-a", w.operator.EnrollToken(1), w.reviewer), w.Enroll("edge-b", w.operator.EnrollToken(1), w.reviewer)
	d.MustBeat()
	victim.MustBeat()
	a := &attack{world: w}
	pair := tls.Certificate{Certificate: victim.Chain, PrivateKey: victim.Key}
	bystander := w.caller(&pair)
	probe := a.probe(victim)
	undisturbed := func(name string) {
		t.Helper()
		for range 2 { // more than one connection to the server is kept
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.settings["SENTINEL_MACHINE_URL"]+protocol.PathHeartbeat, strings.NewReader(probe))
			w.must(err)
			r.Header.Set("Content-Type", "application/json")
			resp, err := bystander.Do(r)
			w.must(err)
			if got := read(resp); got.code != protocol.CodeEpochChanged && got.code != protocol.CodeRateLimited {
				t.Errorf("%s: the bystander hears %d %s %.200s", name, got.status, got.code, got.body)
			}
		}
	}
	conf := d.Transport().TLSClientConfig.Clone()
	conf.ServerName = "localhost"
	hidden := a.probe(victim)
	inner := "POST " + protocol.PathHeartbeat + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(hidden), hidden)
	list := rides(protocol.PathHeartbeat, inner)
	for _, r := range list {
		answers := tell(t, w.machines, conf, r.text)
		if n := strays(answers); n > 0 {
			t.Errorf("%s, by a device: %d answers of the server, the last is %d %s", r.name, n+1, answers[len(answers)-1].status, answers[len(answers)-1].code)
		}
		for _, got := range answers {
			if got.status != http.StatusContinue && got.status < 400 || got.code == protocol.CodeEpochChanged {
				t.Errorf("%s, by a device: %d %s %.200s", r.name, got.status, got.code, got.body)
			}
		}
		undisturbed(r.name)
	}

	people := w.browser().Transport.(*http.Transport).TLSClientConfig.Clone()
	people.ServerName = "localhost"
	login := `{"name":"hidden","password":"a wrong password of some length"}`
	inner = "POST /api/admin/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(login), login)
	for _, r := range rides("/api/admin/login", inner) {
		answers := tell(t, w.console, people, r.text)
		if n := strays(answers); n > 0 {
			t.Errorf("%s, by a person: %d answers of the server", r.name, n+1)
		}
		undisturbed(r.name)
	}
	t.Logf("%d ways on each side", len(list))
}

// stream is a request in HTTP/2, as octets: what a client's library would never send.
func stream(id uint32, header [][2]string, body string) []byte {
	var block []byte
	number := func(n int) { // RFC 7541 section 5.1, a prefix of 7 bits
		if n < 127 {
			block = append(block, byte(n))
			return
		}
		block = append(block, 127)
		for n -= 127; n >= 128; n /= 128 {
			block = append(block, byte(n%128|128))
		}
		block = append(block, byte(n))
	}
	for _, h := range header { // literals without indexing (section 6.2.2)
		block = append(block, 0)
		for _, s := range h {
			number(len(s))
			block = append(block, s...)
		}
	}
	frame := func(kind, flags byte, payload []byte) []byte {
		f := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
		f = append(f, flags)
		f = binary.BigEndian.AppendUint32(f, id)
		return append(f, payload...)
	}
	out := frame(1, 4, block) // HEADERS, END_HEADERS
	return append(out, frame(0, 1, []byte(body))...)
}

// PRX-01, PRX-05: HTTP/2, which people speak, becomes HTTP/1.1 before the server: what
// ends a line there never stood in one here.
func TestNoRequestRidesOnAnotherInHTTP2(t *testing.T) {
	w := newWorld(t, options{})
	w.install()
	conf := w.browser().Transport.(*http.Transport).TLSClientConfig.Clone()
	conf.ServerName, conf.NextProtos = "localhost", []string{"h2"}
	login := func(name string) string {
		return fmt.Sprintf(`{"name":"%s","password":"a wrong password of some length"}`, name)
	}
	hidden := "POST /api/admin/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(login("hidden")), login("hidden"))
	good := [][2]string{{":method", "POST"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", "/api/admin/login"}, {"content-type", "application/json"}}
	with := func(more ...string) [][2]string {
		list := good[:len(good):len(good)]
		for i := 0; i < len(more); i += 2 {
			list = append(list, [2]string{more[i], more[i+1]})
		}
		return list
	}
	instead := func(name, value string) [][2]string {
		list := append([][2]string{}, good...)
		for i := range list {
			if list[i][0] == name {
				list[i][1] = value
			}
		}
		return list
	}
	send := func(header [][2]string, body string) string {
		conn, err := tls.Dial("tcp", w.console, conf)
		w.must(err)
		defer func() { _ = conn.Close() }()
		if conn.ConnectionState().NegotiatedProtocol != "h2" {
			t.Fatal("people speak no HTTP/2")
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		octets := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
		octets = append(octets, 0, 0, 0, 4, 0, 0, 0, 0, 0) // SETTINGS
		_, _ = conn.Write(append(octets, stream(1, header, body)...))
		var told strings.Builder
		for { // until the stream or the connection ends
			var f [9]byte
			if _, err := io.ReadFull(conn, f[:]); err != nil {
				return told.String()
			}
			payload := make([]byte, int(f[0])<<16|int(f[1])<<8|int(f[2]))
			if _, err := io.ReadFull(conn, payload); err != nil {
				return told.String()
			}
			if f[3] == 0 {
				told.Write(payload)
			}
			if (f[3] == 0 || f[3] == 1) && f[4]&1 != 0 || f[3] == 3 || f[3] == 7 { // END_STREAM, RST_STREAM, GOAWAY
				return told.String()
			}
		}
	}
	if told := send(with("content-length", fmt.Sprint(len(login("plain")))), login("plain")); !strings.Contains(told, `"code":`) {
		t.Fatalf("an ordinary request: %q", told)
	}
	claim := "y\r\nX-Sentinel-Client: " + claimed + "\r\nX: "
	for name, c := range map[string]struct {
		header [][2]string
		body   string
	}{
		"chunked":                       {with("transfer-encoding", "chunked"), "0\r\n\r\n" + hidden},
		"chunked, with a length":        {with("transfer-encoding", "chunked", "content-length", "2"), "{}" + hidden},
		"a length that is too small":    {with("content-length", "2"), "{}" + hidden},
		"a length that is too great":    {with("content-length", "500"), "{}"},
		"two lengths":                   {with("content-length", "2", "content-length", "3"), "{}" + hidden},
		"a value with an end of line":   {with("x-a", claim), login("h2")},
		"a value with a bare LF":        {with("x-a", "y\nX-Sentinel-Client: "+claimed), login("h2")},
		"a value with a NUL":            {with("x-a", "y\x00X-Sentinel-Client: "+claimed), login("h2")},
		"a name with an end of line":    {with("x-a: y\r\nx-sentinel-client: "+claimed+"\r\nx-b", "z"), login("h2")},
		"a name with a colon":           {with("x-sentinel-client: "+claimed+", x", "z"), login("h2")},
		"a name in great letters":       {with("X-Sentinel-Client", claimed), login("h2")},
		"the address itself":            {with("x-sentinel-client", claimed, "x-forwarded-for", claimed), login("h2")},
		"the lists":                     {with("x-sentinel-lists-end", "1"), login("h2")},
		"a connection that takes away":  {with("connection", "x-sentinel-client", "x-sentinel-client", claimed), login("h2")},
		"a path with an end of line":    {instead(":path", "/api/admin/login HTTP/1.1\r\nX-Sentinel-Client: "+claimed+"\r\nX: "), login("h2")},
		"a path with a space":           {instead(":path", "/api/admin/login HTTP/1.1 x"), login("h2")},
		"a method with an end of line":  {instead(":method", "POST / HTTP/1.1\r\nHost: localhost\r\n\r\nPOST"), login("h2")},
		"a host with an end of line":    {instead(":authority", "localhost\r\nX-Sentinel-Client: "+claimed), login("h2")},
		"a scheme with an end of line":  {instead(":scheme", "https\r\nX-Sentinel-Client: "+claimed), login("h2")},
		"a host beside the authority":   {with("host", "localhost\r\nX-Sentinel-Client: "+claimed), login("h2")},
		"an upgrade":                    {with("upgrade", "websocket", "connection", "upgrade"), hidden},
		"a method that asks for a link": {instead(":method", "CONNECT"), hidden},
	} {
		if told := send(c.header, c.body); strings.Count(told, `"code":`) > 1 {
			t.Errorf("%s: it is answered twice: %q", name, told)
		}
	}
	w.Round()
	for what, where := range map[string]string{"come from the address that was claimed": "source LIKE '198.51.100.%'", "are of the hidden request": "actor_id LIKE '%hidden%' OR object_id LIKE '%hidden%'"} {
		if n := w.Count("audit_entries", where); n != 0 {
			t.Errorf("%d entries of the audit log %s", n, what)
		}
	}
	if n := w.Count("audit_entries", "source = '127.0.0.1' AND result = 'refused'"); n == 0 {
		t.Error("nobody's address is known")
	}
}
