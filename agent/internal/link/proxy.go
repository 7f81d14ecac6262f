package link

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// ErrProxy means that the proxy did not open the way to the server.
var ErrProxy = errors.New("the proxy does not let this device through")

// DialVia makes plain connections as the agent's transport does: through the HTTP
// proxy of the settings, or straight to the server when there is none.
func DialVia(proxy *url.URL) func(ctx context.Context, network, address string) (net.Conn, error) {
	direct := &net.Dialer{Timeout: dialTimeout}
	if proxy == nil {
		return direct.DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		port := proxy.Port()
		if port == "" {
			port = "80" // RFC 9110, 4.2.1
		}
		conn, err := direct.DialContext(ctx, network, net.JoinHostPort(proxy.Hostname(), port))
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		err = askProxy(conn, address)
		if !stop() && err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return conn, nil
	}
}

// askProxy asks for a tunnel (RFC 9110, 9.3.6).
func askProxy(conn io.ReadWriter, address string) error {
	if _, err := fmt.Fprintf(conn, "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", address); err != nil {
		return err
	}
	return readTunnel(conn)
}

// readTunnel reads the proxy's answer. Whatever follows it would belong to the
// tunnel, where in TLS the client speaks first: more is not taken for an answer.
func readTunnel(r io.Reader) error {
	answer := bufio.NewReader(io.LimitReader(r, maxHeaderBytes))
	res, err := http.ReadResponse(answer, &http.Request{Method: http.MethodConnect}) //nolint:bodyclose // the tunnel is its body: closing it would read it to the end
	if err != nil {
		return fmt.Errorf("%w: its answer cannot be read: %w", ErrProxy, err)
	}
	switch {
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("%w: it answers %d", ErrProxy, res.StatusCode)
	case answer.Buffered() > 0:
		return fmt.Errorf("%w: it goes on speaking", ErrProxy)
	}
	return nil
}
