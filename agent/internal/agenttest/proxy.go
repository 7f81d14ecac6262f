package agenttest

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// Proxy is an HTTP proxy on a free port of 127.0.0.1 that answers every CONNECT
// with a status line such as "200 OK", and lets pass when that is a 200. It
// returns its address.
func Proxy(t testing.TB, status string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go answerConnect(conn, status)
		}
	}()
	return listener.Addr().String()
}

func answerConnect(conn net.Conn, status string) {
	defer func() { _ = conn.Close() }()
	from := bufio.NewReader(conn)
	req, err := http.ReadRequest(from)
	if err != nil || req.Method != http.MethodConnect {
		return
	}
	if !strings.HasPrefix(status, "200") {
		_, _ = io.WriteString(conn, "HTTP/1.1 "+status+"\r\nContent-Length: 0\r\n\r\n")
		return
	}
	to, err := net.Dial("tcp", req.Host) //nolint:noctx // ends with the connection
	if err != nil {
		return
	}
	defer func() { _ = to.Close() }()
	_, _ = io.WriteString(conn, "HTTP/1.1 "+status+"\r\n\r\n")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(to, from)
		_ = to.Close()
	}()
	_, _ = io.Copy(conn, to)
	_ = conn.Close()
	<-done
}
