package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
)

// cutter stands between the servers and PostgreSQL and loses the answer to a
// COMMIT now and then: the connection is cut before the commit has passed (it
// never happens), or after PostgreSQL has answered it (it did). Who asked cannot
// tell the two apart.
type cutter struct {
	net.Listener
	target string

	mu     sync.Mutex
	random *rand.Rand
	one    int // of so many commits is cut; 0 cuts none
	before atomic.Int64
	after  atomic.Int64
}

func newCutter(target string, random *rand.Rand) (*cutter, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &cutter{Listener: l, target: target, random: random}
	go c.serve()
	return c, nil
}

func (c *cutter) port() int {
	a, _ := c.Addr().(*net.TCPAddr)
	return a.Port
}

// cutOneOf says how many commits pass for each that does not.
func (c *cutter) cutOneOf(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.one = n
}

func (c *cutter) serve() {
	for {
		conn, err := c.Accept()
		if err != nil {
			return
		}
		go c.pass(conn)
	}
}

// fate of a commit.
type fate int

const (
	passes fate = iota
	cutBefore
	cutAfter
)

func (c *cutter) decide() fate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.one == 0 || c.random.IntN(c.one) != 0 {
		return passes
	}
	return cutBefore + fate(c.random.IntN(2))
}

func (c *cutter) pass(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", c.target)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var silent atomic.Bool // the answer to a commit that is cut is not passed on
	answered := make(chan struct{}, 1)
	go func() {
		chunk := make([]byte, 32<<10)
		for {
			n, err := server.Read(chunk)
			if silent.Load() {
				answered <- struct{}{}
				return
			}
			if err == nil {
				_, err = client.Write(chunk[:n])
			}
			if err != nil {
				_ = client.Close()
				_ = server.Close()
				answered <- struct{}{}
				return
			}
		}
	}()
	for first := true; ; first = false {
		message, err := readMessage(client, first)
		if err != nil {
			return
		}
		fate := passes
		if isCommit(message) {
			fate = c.decide()
		}
		if fate == cutBefore {
			c.before.Add(1)
			return
		}
		if fate == cutAfter {
			silent.Store(true)
		}
		if _, err := server.Write(message); err != nil {
			return
		}
		if fate == cutAfter {
			<-answered
			c.after.Add(1)
			return
		}
	}
}

// maxMessage bounds what is kept of a message of the caller's.
const maxMessage = 16 << 20

// readMessage reads one message of PostgreSQL's protocol, as a frontend sends it:
// a byte for its type, except in the first, then its length with itself.
func readMessage(r io.Reader, first bool) ([]byte, error) {
	head := make([]byte, 5)
	if first {
		head = head[:4]
	}
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(head[len(head)-4:])
	if length < 4 || length > maxMessage {
		return nil, io.ErrUnexpectedEOF
	}
	message := make([]byte, len(head)+int(length)-4)
	copy(message, head)
	_, err := io.ReadFull(r, message[len(head):])
	return message, err
}

// isCommit recognises a simple query that commits, and the execution of a prepared
// one cannot be one: the driver commits by a simple query.
func isCommit(message []byte) bool {
	return len(message) > 5 && message[0] == 'Q' && bytes.EqualFold(bytes.TrimRight(message[5:], "\x00; "), []byte("commit"))
}
