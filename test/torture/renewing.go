package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/record"
)

// How a simulated device renews. The server gives six certificates in one's life,
// so that a device that renews as fast as it may is refused now and then.
const (
	renewWithin = 60 * time.Second // of the last time, or of a refusal
	keepOld     = 3                // certificates of before
	useOne      = 4                // of the rounds in which it could begins to use the new certificate
	askOne      = 3                // of the rounds in which it could asks
	changeOne   = 12               // ... gives up the new certificate for another
	insteadOne  = 6                // of the answers that a person is to decide brings another wish
	oldOne      = 60               // ... tries one of before
	hurryPause  = 2 * time.Second  // between two sendings when half of the life is over
)

// renewing is a device's certificates, and what it asks for. It is used by one
// goroutine.
type renewing struct {
	used   *identity
	next   *identity // given, and not known to be accepted
	tried  bool      // next was shown: only it is from now on, until the answer
	old    []*identity
	asking *wish
	after  time.Duration // when the next wish comes
}

// wish is a request that was made: however often it is sent, it is the same.
type wish struct {
	id   string
	by   *identity
	next *identity
	body []byte
	sent time.Duration // the first time: its certificate is no older
}

// shown is the certificate that the next heartbeat is under.
func (r *renewing) shown() *identity {
	if r.tried {
		return r.next
	}
	return r.used
}

// learn takes what heartbeats under the shown certificate came to, as an agent
// does: a new one that was accepted is the one in use, one that is not known is
// given up.
func (d *device) learn(results ...string) {
	if !d.tried {
		return
	}
	unknown := false
	for _, result := range results {
		switch result {
		case record.OK:
			d.leave(d.used)
			d.used, d.next, d.tried = d.next, nil, false
			return
		case string(protocol.CodeCertificateUnknown):
			unknown = true
		}
	}
	if unknown {
		d.leave(d.next)
		d.next, d.tried = nil, false
	}
}

// leave keeps a certificate that must not be accepted any more, to try it.
func (d *device) leave(i *identity) {
	if d.old = append(d.old, i); len(d.old) > keepOld {
		d.old[0].close()
		d.old = d.old[1:]
	}
}

// close ends all its connections.
func (d *device) close() {
	for _, i := range append([]*identity{d.used, d.next}, d.old...) {
		if i != nil {
			i.close()
		}
	}
}

// renewOn does one step towards another certificate, or none.
func (d *device) renewOn(random *rand.Rand) {
	node := func() int { return random.IntN(len(d.s.nodes)) }
	switch {
	case len(d.old) > 0 && random.IntN(oldOne) == 0:
		d.tryOld(d.old[random.IntN(len(d.old))], node(), random.IntN(3) == 0)
	case d.next != nil && !d.tried && (d.hurry() || d.asking == nil && random.IntN(useOne) == 0):
		d.tried, d.asking = true, nil
	case d.asking != nil:
		if random.IntN(askOne) == 0 && d.s.since() > d.after {
			d.sendOn(random)
		}
	case d.next == nil && (d.hurry() || d.s.since() > d.after), d.next != nil && !d.tried && random.IntN(changeOne) == 0:
		d.asking, d.after = d.newWish(d.used), 0
	}
}

// hurry says that half of the life of the certificate in use is over: then the
// device plays no games.
func (d *device) hurry() bool { return d.s.since() > d.used.given+d.s.life/2 }

// later puts off the next wish, or the next time that one is sent.
func (d *device) later(random *rand.Rand) {
	wait := time.Duration(random.Int64N(int64(renewWithin)))
	if d.hurry() {
		wait = hurryPause
	}
	d.after = d.s.since() + wait
}

// newWish makes a request, signed by one of the device's keys and by the new one.
func (d *device) newWish(by *identity) *wish {
	w := &wish{id: newID(), by: by}
	next, err := d.s.newIdentity(w.id)
	if err != nil {
		d.s.figures.failf("%v", err)
		return nil
	}
	w.next = next
	csr, err := certs.NewRequest(d.id, next.key)
	if err == nil {
		var envelope *signing.Envelope
		envelope, err = signing.SignRenewal(context.Background(), signing.Renewal{
			RequestID: w.id, DeviceID: d.id, EnrollmentID: d.enrollment, Current: certs.Fingerprint(by.chain[0]), CSR: csr,
		}, by.key, next.key)
		if err == nil {
			w.body, err = envelope.Marshal()
		}
	}
	if err != nil {
		d.s.figures.failf("%v", err)
		return nil
	}
	return w
}

// answered is what one sending of a wish came to.
type answered struct {
	result string
	chain  [][]byte
}

// send sends a wish to a node.
func (d *device) send(w *wish, node int) answered {
	op := record.Op{Kind: record.Renew, Device: d.id, Request: w.id, Shown: w.by.request, Node: node, Begin: d.s.since()}
	var a protocol.RenewAnswer
	op.Result, op.Text, _ = d.post(w.by, node, protocol.PathRenew, w.body, &a)
	if op.Result == record.OK {
		switch {
		case a.RequestID != w.id:
			d.s.figures.failf("%s asked for %s and was answered about %s", d.id, w.id, a.RequestID)
		case a.State == protocol.EnrollIssued && len(a.Certificates) > 0:
			op.Issued = certs.Fingerprint(a.Certificates[0])
		default:
			op.Result = string(a.State)
		}
	}
	d.s.note(op)
	return answered{op.Result, a.Certificates}
}

// sendOn sends the wish once, again after the answer, or by two nodes at a time.
func (d *device) sendOn(random *rand.Rand) {
	w, nodes := d.asking, len(d.s.nodes)
	if w.sent == 0 {
		w.sent = d.s.since()
	}
	node := random.IntN(nodes)
	var first answered
	second := answered{result: record.Unknown}
	switch random.IntN(5) {
	case 0:
		var both sync.WaitGroup
		both.Go(func() { second = d.send(w, (node+1)%nodes) })
		first = d.send(w, node)
		both.Wait()
	case 1:
		first = d.send(w, node)
		second = d.send(w, random.IntN(nodes))
	default:
		first = d.send(w, node)
	}
	if first.result != record.OK && second.result != record.Unknown {
		first = second
	}
	switch protocol.Code(first.result) {
	case record.OK:
		if d.next != nil {
			d.leave(d.next)
		}
		w.next.chain, w.next.given = first.chain, w.sent
		d.next, d.asking = w.next, nil
		d.later(random)
	case record.Pending:
		if random.IntN(insteadOne) == 0 {
			d.asking = d.newWish(d.used)
		}
	case record.Unknown, protocol.CodeRateLimited, protocol.CodeDeviceHeld, protocol.CodeDeviceSuspended:
		// The same again.
	case record.Rejected:
		d.asking = nil
	case protocol.CodeRenewalEarly:
		if d.next != nil { // there is one to go on with
			d.asking = nil
		}
		d.later(random)
	default:
		d.asking = nil
		d.later(random)
	}
}

// tryOld shows a certificate whose time is over: that of before, or one that was
// never used and was replaced.
func (d *device) tryOld(i *identity, node int, renew bool) {
	if renew {
		if w := d.newWish(i); w != nil {
			d.send(w, node)
		}
		return
	}
	d.beat(i, node, d.counter.Add(1), false)
}

// reviewOn decides about what devices ask for.
func (l *load) reviewOn(ctx context.Context, random *rand.Rand) {
	for pause(ctx, time.Duration(random.Int64N(int64(2*reviewPause)))) {
		node := random.IntN(len(l.s.nodes))
		for _, w := range l.s.reviewer.waiting(node) {
			kind := record.Approve
			if random.IntN(4) == 0 {
				kind = record.Reject
			}
			l.s.reviewer.decide(random.IntN(len(l.s.nodes)), kind, w)
		}
	}
}
