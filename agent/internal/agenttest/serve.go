package agenttest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Serve answers on a free port of 127.0.0.1 with the certificate, as the machine
// listener does, until the test ends. It returns the address.
func Serve(t testing.TB, cert tls.Certificate, h http.Handler) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(ServeOn(listener, cert, h))
	return listener.Addr().String()
}

// ServeOn serves on a listener until the returned function is called.
func ServeOn(listener net.Listener, cert tls.Certificate, h http.Handler) (stop func()) {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	conf := certs.ServerTLS(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil })
	server := &http.Server{Handler: h, Protocols: &protocols, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(tls.NewListener(listener, conf))
	}()
	return func() {
		_ = server.Close()
		<-done
	}
}

// Answer writes an answer of the protocol.
func Answer(w http.ResponseWriter, status int, v any) {
	write(w, status, "application/json", v)
}

// Refuse writes a problem.
func Refuse(w http.ResponseWriter, status int, p protocol.Problem) {
	p.Type, p.Status = protocol.ProblemType+string(p.Code), status
	if p.Title == "" {
		p.Title = "Refused"
	}
	write(w, status, "application/problem+json", p)
}

func write(w http.ResponseWriter, status int, mediaType string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

// Pipes is a network in memory, for tests whose time is not real: whoever waits
// on it lets time pass.
type Pipes struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// NewPipes makes a network with one listener.
func NewPipes() *Pipes { return &Pipes{accept: make(chan net.Conn), closed: make(chan struct{})} }

// Dial connects to the listener, whatever the address.
func (p *Pipes) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.accept <- there:
		return here, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept is part of net.Listener.
func (p *Pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close is part of net.Listener.
func (p *Pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr is part of net.Listener.
func (p *Pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "pipe"} }
