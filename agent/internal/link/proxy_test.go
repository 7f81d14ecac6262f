package link

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
)

func TestOnlyATunnelIsATunnel(t *testing.T) {
	t.Parallel()
	for answer, ok := range map[string]bool{
		"HTTP/1.1 200 Connection established\r\n\r\n":              true,
		"HTTP/1.0 200 OK\r\nVia: proxy\r\n\r\n":                    true,
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n":             true, // RFC 9110, 9.3.6: to be ignored
		"HTTP/1.1 200 OK\r\n\r\nhello":                             false,
		"HTTP/1.1 204 No Content\r\n\r\n":                          false,
		"HTTP/1.1 301 Moved\r\nLocation: http://evil.test\r\n\r\n": false,
		"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno":    false,
		"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n":       false,
		"SSH-2.0-x\r\n": false,
		"":              false,
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHeaderBytes): false,
	} {
		if err := readTunnel(strings.NewReader(answer)); (err == nil) != ok || err != nil && !errors.Is(err, ErrProxy) {
			t.Errorf("%.40q: %v", answer, err)
		}
	}
}

// A proxy that says nothing holds nobody for ever.
func TestAProxyThatDoesNotAnswerIsLeft(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.ReadFull(conn, make([]byte, len("CONNECT")))
		cancel()
		_, _ = io.Copy(io.Discard, conn) // until the device hangs up
		_ = conn.Close()
	}()
	conn, err := DialVia(&url.URL{Scheme: "http", Host: l.Addr().String()})(ctx, "tcp", "server.test:8443")
	if conn != nil || err == nil {
		t.Fatalf("a connection: %v", err)
	}
}

func FuzzProxyAnswer(f *testing.F) {
	for _, seed := range []string{"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", "HTTP/9.9 -1\r\n\r\n", "\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		if err := readTunnel(bytes.NewReader(answer)); err == nil && !bytes.Contains(answer, []byte(" 200")) {
			t.Errorf("%q is taken for a tunnel", answer)
		}
	})
}
