package main

import (
	"context"
	"net"
	"sync"
	"time"
)

// line makes connections and can drop all of them, as a cut cable or a restarted
// load balancer does.
type line struct {
	dialer net.Dialer
	mu     sync.Mutex
	open   map[*tracked]struct{}
}

func newLine() *line {
	return &line{dialer: net.Dialer{Timeout: time.Minute}, open: map[*tracked]struct{}{}}
}

type tracked struct {
	net.Conn
	line *line
}

func (l *line) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := l.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &tracked{conn, l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[c] = struct{}{}
	return c, nil
}

// Close is part of net.Conn.
func (c *tracked) Close() error {
	c.line.mu.Lock()
	delete(c.line.open, c)
	c.line.mu.Unlock()
	return c.Conn.Close()
}

// dropAll closes every connection without a word.
func (l *line) dropAll() {
	l.mu.Lock()
	list := make([]net.Conn, 0, len(l.open))
	for c := range l.open {
		list = append(list, c.Conn)
	}
	clear(l.open)
	l.mu.Unlock()
	for _, c := range list {
		_ = c.Close()
	}
}
