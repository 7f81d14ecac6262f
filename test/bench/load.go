package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/cputime"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// caller is a device with its connection to one server. It writes HTTP/1.1 by hand:
// what the load costs must leave the machine to what is measured.
type caller struct {
	*identity
	address string
	config  *tls.Config
	conn    *tls.Conn
	in      *bufio.Reader
	counter int64
	epoch   string
	nonce   string
	receipt string
	bootID  string
	sign    bool // send a signature for the reference that checks one
}

// crew is the devices of a fleet as callers of one server.
type crew struct {
	callers []*caller
	began   time.Time       // of the run
	took    []time.Duration // of the last measurement
}

func newCrew(b *bench, f *fleet, address string, sign bool) *crew {
	c := &crew{began: b.began}
	pool := x509.NewCertPool()
	for _, id := range f.identities {
		conf := certs.ClientTLS([]*x509.Certificate{f.identities[0].serverCA}, "localhost",
			func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &id.certificate, nil })
		if len(c.callers) == 0 {
			pool = conf.RootCAs
		}
		conf.RootCAs = pool // one for all
		c.callers = append(c.callers, &caller{identity: id, address: address, config: conf, epoch: id.Enrolled.Epoch, sign: sign,
			bootID: "0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b3d"})
	}
	return c
}

func (s *site) crew() *crew { return newCrew(s.b, s.fleet, s.machine, false) }

func (c *caller) connect(ctx context.Context) error {
	raw, err := (&net.Dialer{Timeout: 2 * time.Minute}).DialContext(ctx, "tcp", c.address)
	if err != nil {
		return err
	}
	conn := tls.Client(raw, c.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return err
	}
	c.conn, c.in = conn, bufio.NewReaderSize(conn, 2048)
	return nil
}

func (c *caller) hangUp() {
	if c.conn != nil {
		_ = c.conn.NetConn().Close() // without a word, as devices that lose their network
		c.conn, c.in = nil, nil
	}
}

// answer is what is read of the server's.
type answer struct {
	Counter int64         `json:"counter"`
	Epoch   string        `json:"epoch"`
	Nonce   string        `json:"nonce"`
	Receipt string        `json:"receipt"`
	Code    protocol.Code `json:"code"`
}

// beat is one heartbeat, on a connection that is opened when there is none.
func (c *caller) beat(ctx context.Context) error {
	if c.conn == nil {
		if err := c.connect(ctx); err != nil {
			return err
		}
	}
	c.counter++
	body, err := json.Marshal(protocol.Heartbeat{
		Protocol: protocol.Version, DeviceID: c.DeviceID, EnrollmentID: c.EnrollmentID, Counter: c.counter, Epoch: c.epoch,
		BootID: c.bootID, AgentVersion: "0.0.0-bench", PolicyVersion: 1, RootVersion: 1, Nonce: c.nonce, Receipt: c.receipt,
	})
	if err != nil {
		return err
	}
	var a answer
	if err := c.post(protocol.PathHeartbeat, body, &a); err != nil {
		c.hangUp()
		return err
	}
	if a.Code != "" {
		return fmt.Errorf("%s: refused: %s", c.DeviceID, a.Code)
	}
	if a.Counter != c.counter {
		return fmt.Errorf("%s: the answer is about heartbeat %d, not %d", c.DeviceID, a.Counter, c.counter)
	}
	c.nonce, c.receipt = a.Nonce, a.Receipt
	return nil
}

const requestFor = time.Minute

func (c *caller) post(path string, body []byte, a *answer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json, application/problem+json\r\nUser-Agent: sentinel-agent/0.0.0-bench\r\n", path)
	if c.sign {
		sum := sha256.Sum256(body)
		sig, err := c.signer().Sign(rand.Reader, sum[:], sha256Hash)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "Evidence: %s\r\n", base64.StdEncoding.EncodeToString(sig))
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(body))
	b.Write(body)
	if err := c.conn.SetDeadline(time.Now().Add(requestFor)); err != nil {
		return err
	}
	if _, err := c.conn.Write(b.Bytes()); err != nil {
		return err
	}
	length := -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if v, ok := cutHeader(line, "Content-Length:"); ok {
			if length, err = strconv.Atoi(string(v)); err != nil {
				return err
			}
		}
	}
	if length < 0 || length > protocol.MaxAnswerBody {
		return errors.New("an answer without a length")
	}
	data := make([]byte, length)
	if _, err := io.ReadFull(c.in, data); err != nil {
		return err
	}
	return json.Unmarshal(data, a)
}

func cutHeader(line []byte, name string) ([]byte, bool) {
	if len(line) < len(name) || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name):]), true
}

// all has every caller do something, so many at once, and returns the first error.
func (c *crew) all(ctx context.Context, atOnce int, f func(context.Context, *caller) error) error {
	work := make(chan *caller)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for range min(atOnce, len(c.callers)) {
		wg.Go(func() {
			for one := range work {
				if err := f(ctx, one); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, one := range c.callers {
		if ctx.Err() != nil {
			break
		}
		work <- one
	}
	close(work)
	wg.Wait()
	return context.Cause(ctx)
}

// warm opens every connection with one heartbeat, so that what is written once in
// a device's life is not measured.
func (c *crew) warm(ctx context.Context) error {
	return c.all(ctx, 64, func(ctx context.Context, one *caller) error { return one.beat(ctx) })
}

func (c *crew) hangUp() {
	for _, one := range c.callers {
		one.hangUp()
	}
}

// measured is one measurement.
type measured struct {
	operations int64
	perSecond  float64
	cpu        float64 // µs an operation, of server and database
	p99        float64 // ms
}

// load has atOnce workers go round their devices for a while. The CPU is that of the
// processes named.
func (c *crew) load(ctx context.Context, d time.Duration, atOnce int, pids []int, f func(context.Context, *caller) error) (measured, error) {
	atOnce = min(atOnce, len(c.callers))
	var operations atomic.Int64
	took := make([][]time.Duration, atOnce)
	errs := make([]error, atOnce)
	run, stop := context.WithTimeout(ctx, d)
	defer stop()
	before, begin := cputime.Of(pids...), time.Now()
	var wg sync.WaitGroup
	for w := range atOnce {
		wg.Go(func() {
			for i := w; run.Err() == nil; i += atOnce {
				if i >= len(c.callers) {
					i = w
				}
				start := time.Now()
				if err := f(ctx, c.callers[i]); err != nil {
					errs[w] = err
					return
				}
				took[w] = append(took[w], time.Since(start))
				operations.Add(1)
			}
		})
	}
	wg.Wait()
	elapsed, used := time.Since(begin), cputime.Of(pids...)-before
	if err := errors.Join(errs...); err != nil {
		return measured{}, err
	}
	n := operations.Load()
	c.took = slices.Concat(took...)
	return measured{
		operations: n, perSecond: float64(n) / elapsed.Seconds(), cpu: float64(used.Microseconds()) / float64(n),
		p99: float64(quantile(c.took, 0.99).Microseconds()) / 1000,
	}, nil
}

func quantile(took []time.Duration, q float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(len(took)-1, int(q*float64(len(took))))]
}
