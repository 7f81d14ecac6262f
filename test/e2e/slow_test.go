package e2e

import (
	"crypto/tls"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
)

// HBT-11: whoever sends a byte now and then is cut off, and is nobody's delay.
func TestSlowCallersAreCutOffAndDelayNobody(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	operator, reviewer := s.Person("olivia", "operator"), s.Person("ben", "approver")
	honest := s.Enroll("honest", operator.EnrollToken(1), reviewer)
	config := honest.Transport().TLSClientConfig

	const (
		each     = 50
		headCut  = 10 * time.Second // as the server's limit for a request's head
		bodyCut  = 15 * time.Second // and for a whole request
		leniency = 4 * time.Second  // on a busy machine
	)
	var attack sync.WaitGroup
	drip := func(kind, head string, limit time.Duration) {
		for range each {
			attack.Go(func() {
				conn, err := tls.Dial("tcp", s.Host(), config)
				if err != nil {
					t.Errorf("%s: %v", kind, err)
					return
				}
				if held := heldOpen(conn, head, limit+leniency); held < 0 {
					t.Errorf("%s: a connection was open for more than %v", kind, limit+leniency)
				}
			})
		}
	}
	drip("a slow head", "POST /api/enroll HTTP/1.1\r\nHost: x\r\nX-Slow: ", headCut)
	drip("a slow body", "POST /api/enroll HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", bodyCut)
	over := make(chan struct{})
	go func() { attack.Wait(); close(over) }()

	var took []time.Duration
	for {
		begin := time.Now()
		honest.MustBeat()
		took = append(took, time.Since(begin))
		select {
		case <-over:
			slices.Sort(took)
			p99 := took[len(took)*99/100]
			t.Logf("%d heartbeats beside %d slow connections: median %v, p99 %v", len(took), 2*each, took[len(took)/2], p99)
			if p99 > time.Second {
				t.Errorf("the p99 of honest heartbeats was %v", p99)
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// heldOpen sends head and then a byte every quarter of a second. It says for how
// long the server bore it, or -1 for longer than limit.
func heldOpen(conn net.Conn, head string, limit time.Duration) time.Duration {
	defer func() { _ = conn.Close() }()
	begin := time.Now()
	cut := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, conn)
		close(cut)
	}()
	if _, err := io.WriteString(conn, head); err != nil {
		return time.Since(begin)
	}
	every := time.NewTicker(250 * time.Millisecond)
	defer every.Stop()
	over := time.After(limit)
	for {
		select {
		case <-cut:
			return time.Since(begin)
		case <-over:
			return -1
		case <-every.C:
			if _, err := conn.Write([]byte("a")); err != nil {
				return time.Since(begin)
			}
		}
	}
}
