package main

import (
	"io"
	"net"
	"sync/atomic"
)

// wire passes one server's connections on and counts the bytes of both ways.
type wire struct {
	listener net.Listener
	target   string
	bytes    atomic.Int64
	turns    atomic.Int64 // from asking to answering
}

func newWire(target string) (*wire, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{listener: l, target: target}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go w.pass(conn)
		}
	}()
	return w, nil
}

func (w *wire) pass(device net.Conn) {
	defer func() { _ = device.Close() }()
	server, err := net.Dial("tcp", w.target)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var asked atomic.Bool
	go func() {
		defer func() { _ = server.Close() }()
		_, _ = io.Copy(server, io.TeeReader(device, counting(func(n int) { w.bytes.Add(int64(n)); asked.Store(true) })))
	}()
	_, _ = io.Copy(device, io.TeeReader(server, counting(func(n int) {
		w.bytes.Add(int64(n))
		if asked.Swap(false) {
			w.turns.Add(1)
		}
	})))
}

type counting func(n int)

func (c counting) Write(p []byte) (int, error) { c(len(p)); return len(p), nil }

// answers are the turns after the handshake's own.
func (w *wire) answers() int64 { return w.turns.Load() - 1 }

func (w *wire) count() int64 { return w.bytes.Load() }

func (w *wire) url() string {
	_, port, _ := net.SplitHostPort(w.listener.Addr().String())
	return "https://localhost:" + port
}

func (w *wire) close() { _ = w.listener.Close() }
