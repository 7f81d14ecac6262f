package main

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// balancer is the one address of all nodes for agents, as a load balancer is that
// does not look into TLS: it passes a connection on to the next node that takes it.
type balancer struct {
	net.Listener
	targets []string
	next    atomic.Int64
}

func newBalancer(targets []string) (*balancer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &balancer{Listener: l, targets: targets}
	go b.serve()
	return b, nil
}

func (b *balancer) port() int {
	a, _ := b.Addr().(*net.TCPAddr)
	return a.Port
}

func (b *balancer) serve() {
	for {
		conn, err := b.Accept()
		if err != nil {
			return
		}
		go b.pass(conn)
	}
}

func (b *balancer) pass(client net.Conn) {
	defer func() { _ = client.Close() }()
	for range b.targets {
		server, err := net.DialTimeout("tcp", b.targets[int(b.next.Add(1))%len(b.targets)], time.Second)
		if err != nil {
			continue
		}
		go func() {
			_, _ = io.Copy(server, client)
			_ = server.Close()
			_ = client.Close()
		}()
		_, _ = io.Copy(client, server)
		_ = server.Close()
		return
	}
}
