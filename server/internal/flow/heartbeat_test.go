package flow_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/trust"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

func (w *world) counter(id string) *device.Counter {
	w.Helper()
	c, err := device.GetCounter(w.Context(), w.d.Read(), id)
	w.must(err)
	return c
}

func (w *world) verdict(id string) trust.Stored {
	w.Helper()
	v, err := trust.Get(w.Context(), w.d.Read(), id)
	w.must(err)
	return v
}

func TestACounterOnlyRises(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		w.must(a.beat())
		a.counter += 500 // beats that were never sent
		w.must(a.beat())
		if c := w.counter("edge-1"); c.Counter != 502 || c.BootID != a.boot {
			w.Fatalf("stored %+v", c)
		}
		for name, n := range map[string]int64{"too far": 502 + protocol.MaxCounterJump + 1, "the largest": protocol.MaxCounter} {
			h := a.heartbeat()
			h.Counter = n
			if err := a.send(h); !errors.Is(err, device.ErrJump) {
				w.Errorf("%s: %v", name, err)
			}
		}
		w.must(a.beat())
		if c := w.counter("edge-1"); c.Counter != a.counter {
			w.Errorf("stored %d, sent %d", c.Counter, a.counter)
		}
	})
}

// HBT-01: a heartbeat that comes again is refused, and one alone holds nobody.
func TestAReplayIsRefusedAndTwoInARowHoldTheDevice(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		captured := a.heartbeat()
		w.must(a.send(captured))
		replay := func() error { c := *captured; _, err := w.Heartbeat(w.Context(), a.identity, &c); return err }
		for range 3 {
			if err := replay(); !errors.Is(err, device.ErrStale) {
				w.Fatalf("a replay: %v", err)
			}
			w.must(a.beat())
		}
		for range 2 {
			if err := replay(); !errors.Is(err, device.ErrStale) {
				w.Fatalf("a replay: %v", err)
			}
		}
		if err := a.beat(); !errors.Is(err, device.ErrHeld) {
			w.Fatalf("after two in a row: %v", err)
		}
		if v := w.verdict("edge-1"); v.Verdict != trust.Untrusted || v.Reasons[0].Code != "held" {
			w.Errorf("verdict %+v", v)
		}
		if w.count("audit_entries", "action = ? AND object_id = 'edge-1'", audit.DeviceHold) != 1 {
			w.Error("the hold is not audited once")
		}
		// An operator resyncs: the device goes on by itself, the captured one stays worthless.
		w.must(w.give(w.Resync, "edge-1", "was a test"))
		var epoch *flow.EpochError
		if err := replay(); !errors.As(err, &epoch) {
			w.Fatalf("a replay after the resync: %v", err)
		}
		a.recover(a.beat())
		w.must(a.beat())
		if err := w.give(w.Resync, "edge-1", "again"); !errors.Is(err, device.ErrNotHeld) {
			w.Errorf("a second resync: %v", err)
		}
	})
}

// recover does what the agent does about an EpochError. A device whose last
// nonce is still the one asked for needs nothing.
func (a *agent) recover(err error) {
	a.w.Helper()
	if err == nil {
		return
	}
	var e *flow.EpochError
	if !errors.As(err, &e) {
		a.w.Fatalf("want a new epoch or nonce, got %v", err)
	}
	a.epoch, a.beatNonce, a.receipt = e.Epoch, e.Nonce, ""
	a.counter = max(a.counter, e.Counter)
	a.w.must(a.beat())
}

// HBT-06: two agents with one identity.
func TestACloneIsNoticedAtItsFirstStaleBeat(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		w.must(a.beat())
		clone := *a
		clone.boot = db.NewID(w.clock.Now())
		w.must(a.beat())
		if err := clone.beat(); !errors.Is(err, device.ErrClone) {
			w.Fatalf("the clone: %v", err)
		}
		if err := a.beat(); !errors.Is(err, device.ErrHeld) {
			w.Fatalf("the original: %v", err)
		}
	})
}

// HBT-06, REL-01: a heartbeat that a node read late, after the agent was started
// anew, is no clone's.
func TestALateHeartbeatOfABootBeforeHoldsNobody(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		w.must(a.beat())
		late := *a
		a.counter++ // sent, and not read by anybody yet
		a.boot = db.NewID(w.clock.Now())
		w.must(a.beat())
		if err := late.beat(); !errors.Is(err, device.ErrStale) {
			w.Fatalf("the late one: %v", err)
		}
		w.must(a.beat())
		w.must(a.beat())
		// The agent before it still runs: it goes on counting.
		late.counter++
		if err := late.beat(); !errors.Is(err, device.ErrClone) {
			w.Fatalf("a second agent: %v", err)
		}
		if err := a.beat(); !errors.Is(err, device.ErrHeld) {
			w.Fatalf("the first one: %v", err)
		}
	})
}

// A device put back to a snapshot has a counter below the stored one: after a
// resync it goes on above it.
func TestAResyncLiftsADeviceAboveTheStoredCounter(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		w.must(a.beat())
		snapshot := *a
		for range 5 {
			w.must(a.beat())
		}
		for range 2 {
			if err := snapshot.beat(); !errors.Is(err, device.ErrStale) {
				w.Fatalf("from the snapshot: %v", err)
			}
		}
		w.must(w.give(w.Resync, "edge-1", "restored from a snapshot"))
		snapshot.recover(snapshot.beat())
		if c := w.counter("edge-1"); c.Counter != 7 {
			w.Errorf("the counter went to %d", c.Counter)
		}
		// The other copy is stale now, and may not come back by the same way.
		if err := a.beat(); err == nil {
			w.Error("both copies go on")
		}
	})
}

// HBT-03: the same counter at the same instant.
func TestOneOfManyEqualCountersIsAccepted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		h := a.heartbeat()
		var accepted atomic.Int32
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				c := *h
				if _, err := w.Heartbeat(context.Background(), a.identity, &c); err == nil {
					accepted.Add(1)
				}
			})
		}
		wg.Wait()
		if accepted.Load() != 1 {
			w.Fatalf("%d accepted", accepted.Load())
		}
	})
}

// HBT-09: the certificate says who it is, not the body.
func TestADeviceSpeaksForItselfOnly(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, b := w.enrolled("edge-1"), w.enrolled("edge-2")
		w.must(a.beat())
		h := a.heartbeat()
		if _, err := w.Heartbeat(w.Context(), b.identity, h); !errors.Is(err, flow.ErrIdentity) {
			w.Errorf("another's body: %v", err)
		}
		h = b.heartbeat()
		h.EnrollmentID = a.enrollmentID
		if err := b.send(h); !errors.Is(err, device.ErrEnrollment) {
			w.Errorf("another's enrollment: %v", err)
		}
		stolen := a.identity
		stolen.Fingerprint = b.identity.Fingerprint
		h = a.heartbeat()
		if _, err := w.Heartbeat(w.Context(), stolen, h); !errors.Is(err, device.ErrCertificate) {
			w.Errorf("a certificate that is not on record: %v", err)
		}
		stolen.DeviceID = "edge-9"
		h.DeviceID = "edge-9"
		if _, err := w.Heartbeat(w.Context(), stolen, h); !errors.Is(err, device.ErrUnknown) {
			w.Errorf("a device that is not on record: %v", err)
		}
		w.must(a.beat())
		w.must(b.beat())
	})
}

func TestARevokedDeviceIsRefusedForGood(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, b := w.enrolled("edge-1"), w.enrolled("edge-2")
		w.must(a.beat())
		if v := w.verdict("edge-1"); v.Verdict != trust.Trusted {
			w.Fatalf("before: %+v", v)
		}
		if err := w.Revoke(w.Context(), w.by, "edge-1", ""); !errors.Is(err, flow.ErrReason) {
			w.Errorf("without a reason: %v", err)
		}
		w.must(w.Revoke(w.Context(), w.by, "edge-1", "stolen"))
		if err := a.beat(); !errors.Is(err, device.ErrRevoked) {
			w.Fatalf("after: %v", err)
		}
		v := w.verdict("edge-1")
		if v.Verdict != trust.Untrusted || v.Reasons[0].Code != "revoked" || !contains(v.Reasons[0].Text, "stolen") {
			w.Errorf("verdict %+v", v)
		}
		// REV-07: no way leads back.
		for name, err := range map[string]error{
			"resume":  w.give(w.Resume, "edge-1", "x"),
			"suspend": w.Suspend(w.Context(), w.by, "edge-1", "x"),
			"resync":  w.give(w.Resync, "edge-1", "x"),
		} {
			if !errors.Is(err, device.ErrFinal) {
				w.Errorf("%s: %v", name, err)
			}
		}
		w.must(w.Revoke(w.Context(), w.by, "edge-1", "again")) // is journalled again, and nothing else
		if w.count("audit_entries", "action = ?", audit.CertRevoke) != 1 {
			w.Error("one revocation, one entry")
		}
		if list, err := w.journal.Read(); err != nil || len(list) != 2 || list[0].DeviceID != "edge-1" || list[0].Reason != "stolen" {
			w.Errorf("journal %+v, %v", list, err)
		}
		w.must(b.beat())
		if err := w.Revoke(w.Context(), w.by, "nobody", "x"); !errors.Is(err, device.ErrUnknown) {
			w.Errorf("a device that does not exist: %v", err)
		}
	})
}

func TestASuspendedDeviceComesBackByResumeOnly(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		w.must(a.beat())
		w.must(w.Suspend(w.Context(), w.by, "edge-1", "being repaired"))
		if err := a.beat(); !errors.Is(err, device.ErrSuspended) {
			w.Fatalf("while suspended: %v", err)
		}
		if err := w.Suspend(w.Context(), w.by, "edge-1", "again"); !errors.Is(err, device.ErrAlready) {
			w.Errorf("twice: %v", err)
		}
		if v := w.verdict("edge-1"); v.Reasons[0].Code != "suspended" {
			w.Errorf("verdict %+v", v)
		}
		w.must(w.give(w.Resume, "edge-1", "repaired"))
		w.must(a.beat())
		if v := w.verdict("edge-1"); v.Verdict != trust.Trusted {
			w.Errorf("verdict %+v", v)
		}
	})
}

func TestAVerdictLapsesWithTheCertificate(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		w.enrolled("edge-1")
		v := w.verdict("edge-1")
		if v.Verdict != trust.Trusted || !v.HoldsUntil.Equal(w.clock.Now().Add(standard.CertificateLife)) {
			w.Fatalf("fresh: %+v", v)
		}
		w.clock.Add(standard.CertificateLife - time.Microsecond)
		w.must(w.Reevaluate(w.Context()))
		if v := w.verdict("edge-1"); v.Verdict != trust.Trusted {
			w.Fatalf("in its last moment: %+v", v)
		}
		w.clock.Add(time.Microsecond)
		w.must(w.Reevaluate(w.Context()))
		if v := w.verdict("edge-1"); v.Verdict != trust.Untrusted || v.Reasons[0].Code != "certificate-expired" {
			w.Fatalf("after its end: %+v", v)
		}
		w.clock.Add(-time.Hour) // the clock was ahead, and is set right
		w.must(w.Reevaluate(w.Context()))
		if v := w.verdict("edge-1"); v.Verdict != trust.Trusted || v.EvaluatedAt != db.At(w.clock.Now()) {
			w.Fatalf("after the clock was set right: %+v", v)
		}
	})
}

// REL-08, HBT-07, BKP-02, REV-05: the database comes from a backup.
func TestARestoreBringsNothingBackToLife(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		honest, thief := w.enrolled("edge-1"), w.enrolled("edge-2")
		secret, _ := w.token(enroll.NewToken{Uses: 9})
		waiting := w.agent("edge-3")
		w.must(waiting.ask(secret))
		w.must(honest.beat())
		w.must(thief.beat())
		w.must(w.RaiseMark(w.Context()))
		restore := w.backup()

		var captured []*protocol.Heartbeat
		for range 20 {
			h := honest.heartbeat()
			w.must(honest.send(h))
			captured = append(captured, h)
		}
		w.must(w.Revoke(w.Context(), w.by, "edge-2", "stolen"))
		w.must(w.RaiseMark(w.Context()))
		restore()

		in, err := w.d.Instance(w.Context())
		w.must(err)
		if err := w.outside.Check(in); !errors.Is(err, db.ErrRestored) {
			w.Fatalf("the node does not notice: %v", err)
		}
		// Even if a node were started all the same, a receipt gives it away.
		if err := honest.beat(); !errors.Is(err, device.ErrBehind) {
			w.Fatalf("a device that knows more: %v", err)
		}
		if err := thief.beat(); !errors.Is(err, device.ErrBehind) {
			w.Fatalf("nobody is let in from then on: %v", err)
		}
		journal, err := w.journal.Read()
		w.must(err)
		done, err := flow.MarkRestored(w.Context(), w.d, w.outside, authz.Host("test"), journal)
		w.must(err)
		if len(done.Revoked) != 1 || done.Revoked[0] != "edge-2" {
			w.Errorf("revoked again: %v", done.Revoked)
		}
		in, err = w.d.Instance(w.Context())
		w.must(err)
		w.must(w.outside.Check(in))
		for _, h := range captured {
			c := *h
			var epoch *flow.EpochError
			if _, err := w.Heartbeat(w.Context(), honest.identity, &c); !errors.As(err, &epoch) {
				w.Fatalf("a captured heartbeat: %v", err)
			}
		}
		if err := thief.beat(); !errors.Is(err, device.ErrRevoked) {
			w.Errorf("the revoked device: %v", err)
		}
		honest.recover(honest.beat())
		w.must(honest.beat())
		if err := w.agent("edge-4").ask(secret); !errors.Is(err, enroll.ErrTokenRevoked) {
			w.Errorf("a token of before: %v", err)
		}
		if r, err := waiting.poll(); err != nil || r.State != protocol.EnrollExpired {
			w.Errorf("a review of before: %+v, %v", r, err)
		}
	})
}

// backup copies what a backup would and returns what puts it back. It works on
// the rows, so that both databases do the same.
func (w *world) backup() (restore func()) {
	tables := []string{"instance", "devices", "device_counters", "certificates", "enroll_tokens", "enrollments", "approvals", "trust_verdicts"}
	copyAll := func(from, to string, fresh bool) {
		w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error {
			for _, table := range tables {
				sql := fmt.Sprintf("CREATE TABLE %s%s AS SELECT * FROM %s%s", to, table, from, table)
				if !fresh {
					sql = fmt.Sprintf("UPDATE %[1]s SET %[2]s FROM backup_%[1]s AS b WHERE b.%[3]s = %[1]s.%[3]s", table, columns[table], keys[table])
				}
				if _, err := tx.ExecContext(ctx, sql); err != nil {
					return fmt.Errorf("%s: %w", table, err)
				}
			}
			return nil
		}))
	}
	copyAll("", "backup_", true)
	return func() { copyAll("backup_", "", false) }
}

var (
	keys = map[string]string{"instance": "id", "devices": "device_id", "device_counters": "device_id", "certificates": "fingerprint",
		"enroll_tokens": "id", "enrollments": "id", "approvals": "id", "trust_verdicts": "device_id"}
	columns = map[string]string{
		"instance": "epoch = b.epoch, mark = b.mark, behind_since = b.behind_since", "devices": "state = b.state, state_reason = b.state_reason",
		"device_counters": "fingerprint = b.fingerprint, next_fingerprint = b.next_fingerprint, counter = b.counter, gate = b.gate, epoch = b.epoch, boot_id = b.boot_id", "certificates": "revoked_at = b.revoked_at",
		"enroll_tokens": "uses = b.uses, revoked_at = b.revoked_at", "enrollments": "state = b.state", "approvals": "state = b.state",
		"trust_verdicts": "verdict = b.verdict, reasons = b.reasons",
	}
)

func TestTheJournalOfRevocationsSurvivesATornLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := device.NewJournal(dir)
	for _, id := range []string{"a", "b"} {
		if err := j.Add(device.Revocation{DeviceID: id, Reason: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	appendRaw(t, filepath.Join(dir, "revocations.jsonl"), `{"device_id":"c","at":"2026-`)
	list, err := device.NewJournal(dir).Read()
	if err != nil || len(list) != 2 {
		t.Fatalf("torn: %v, %v", list, err)
	}
	again := device.NewJournal(dir)
	if err := again.Add(device.Revocation{DeviceID: "d", Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	if list, err = again.Read(); err != nil || len(list) != 3 || list[2].DeviceID != "d" {
		t.Fatalf("after the next one: %v, %v", list, err)
	}
	appendRaw(t, filepath.Join(dir, "revocations.jsonl"), "not a revocation\n")
	if _, err := again.Read(); err == nil {
		t.Fatal("a damaged journal was read as if it were whole")
	}
}

// untilOneWaits returns once a transaction of the PostgreSQL database waits for another.
func (w *world) untilOneWaits(ctx context.Context) error {
	for waiting := 0; waiting == 0; {
		if err := w.d.Read().NewRaw("SELECT COUNT(*) FROM pg_locks AS l JOIN pg_stat_activity AS s ON s.pid = l.pid WHERE s.datname = current_database() AND NOT l.granted").
			Scan(ctx, &waiting); err != nil {
			return err
		}
	}
	return nil
}

// REV-01: who decides about a device later has seen what changed before. A heartbeat
// that meets a revocation under way does not put back that the device is trusted.
func TestAHeartbeatDecidesByWhatWasDecidedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, dbtest.PostgresURL(t), nil) // SQLite has one writer
	a := w.enrolled("edge-1")
	w.must(a.beat())
	h := a.heartbeat()
	h.AgentVersion = "2.0.0"
	beaten := make(chan error, 1)
	var once sync.Once
	w.must(w.d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error { // as RevokedElsewhere does
		if err := execute("UPDATE certificates SET revoked_at = 1, revoked_reason = 'elsewhere' WHERE fingerprint = ?", a.identity.Fingerprint)(ctx, tx); err != nil {
			return err
		}
		if err := execute("UPDATE trust_verdicts SET verdict = 'untrusted' WHERE device_id = 'edge-1'")(ctx, tx); err != nil {
			return err
		}
		once.Do(func() { go func() { beaten <- a.send(h) }() })
		return w.untilOneWaits(ctx)
	}))
	w.must(<-beaten)
	if v := w.verdict("edge-1"); v.Verdict != trust.Untrusted {
		t.Errorf("the verdict is %s", v.Verdict)
	}
}
