//go:build heavy

package disk

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/rounds"
)

// From full rounds on every single call fails once, below that every tenth write.
const full = 10

// template is a founded server with two devices and two people.
type template struct {
	*servertest.Server
	operator, guard, reviewer *servertest.Person
	edge, victim              *servertest.Device
}

func newTemplate(t *testing.T) *template {
	t.Helper()
	s := servertest.Start(t, servertest.Options{})
	w := &template{Server: s, operator: s.Person("olivia", "operator"), guard: s.Person("sam", "security"), reviewer: s.Person("ben", "approver")}
	w.edge = s.Enroll("edge-1", w.operator.EnrollToken(1), w.reviewer)
	w.victim = s.Enroll("edge-2", w.operator.EnrollToken(1), w.reviewer)
	w.edge.MustBeat()
	w.victim.MustBeat()
	s.Stop()
	return w
}

// copy is a server on a copy of the template's data.
func (w *template) copy(t *testing.T, dir string) *template {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(w.Dir)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return w.at(servertest.Start(t, servertest.Options{Dir: dir}))
}

func (w *template) at(s *servertest.Server) *template {
	return &template{Server: s, operator: w.operator.On(s), guard: w.guard.On(s), reviewer: w.reviewer.On(s), edge: w.edge.At(s), victim: w.victim.At(s)}
}

// acknowledged is what callers were told that is done.
type acknowledged struct {
	counter                     int64
	token, suspended, resumed   bool
	revoked                     bool
	beats, failures, unanswered int
}

// work asks for a bit of everything.
func (w *template) work() (a acknowledged) {
	beat := func() {
		if problem, err := w.edge.Beat(); err == nil && problem == nil {
			a.counter = w.edge.Counter
			a.beats++
		} else {
			a.failures++
		}
	}
	ask := func(p *servertest.Person, path string, in any) bool {
		status, problem, err := p.Do(http.MethodPost, path, in, nil)
		if err != nil {
			a.unanswered++
		}
		return err == nil && problem == nil && status < 300
	}
	because := map[string]string{"reason": "test"}
	beat()
	a.token = ask(w.operator, "/api/enroll-tokens", map[string]any{"note": "disk", "uses": 1, "life_seconds": 3600})
	a.suspended = ask(w.operator, "/api/devices/edge-1/suspend", because)
	_, problem, err := w.guard.TryRelease("resume", "edge-1", w.reviewer)
	if err != nil {
		a.unanswered++
	}
	a.resumed = err == nil && problem == nil
	a.revoked = ask(w.operator, "/api/devices/edge-2/certificate/revoke", because)
	beat()
	return a
}

// judge looks at the server after the disk is well again.
func (w *template) judge(a acknowledged) (faults []string) {
	say := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	d, err := sql.Open("sqlite", "file:"+filepath.Join(w.Dir, "sentinel.db")+"?_pragma=query_only(1)")
	if err != nil {
		return []string{err.Error()}
	}
	defer func() { _ = d.Close() }()
	ask := func(query string) (text string) {
		if err := d.QueryRow(query).Scan(&text); err != nil {
			say("%s: %v", query, err)
		}
		return text
	}
	count := func(table, where string) int { return w.Count(table, where) }
	if verdict := ask("PRAGMA integrity_check"); verdict != "ok" {
		say("damaged: %s", verdict)
	}
	if stored := count("device_counters", fmt.Sprintf("device_id = 'edge-1' AND counter >= %d", a.counter)); stored != 1 {
		say("the counter %d was acknowledged", a.counter)
	}
	tokens, made := count("enroll_tokens", "note = 'disk'"), count("audit_entries", "action = 'enroll-token.create'")
	if tokens+2 != made || a.token && tokens != 1 {
		say("%d tokens and %d entries, acknowledged: %t", tokens, made, a.token)
	}
	suspended := count("audit_entries", "action = 'device.suspend' AND result = 'done'")
	resumed := count("audit_entries", "action = 'device.resume' AND result = 'done'")
	isSuspended := count("devices", "device_id = 'edge-1' AND state = 'suspended'")
	if suspended-resumed != isSuspended || a.suspended && suspended != 1 || a.resumed && resumed != 1 {
		say("%d suspensions, %d resumptions, suspended now: %d", suspended, resumed, isSuspended)
	}
	revoked, entries := count("devices", "device_id = 'edge-2' AND state = 'revoked'"), count("audit_entries", "action = 'certificate.revoke' AND result = 'done'")
	if revoked != entries || a.revoked && revoked != 1 {
		say("%d revoked, %d entries, acknowledged: %t", revoked, entries, a.revoked)
	}
	problem, err := w.victim.Beat()
	if accepted := err == nil && problem == nil; accepted == (revoked == 1) {
		say("the revoked one's heartbeat: %v %v", problem, err)
	}
	if isSuspended == 1 {
		w.guard.Release("resume", "edge-1", w.reviewer)
	}
	if problem, err := w.edge.Beat(); err != nil || problem != nil {
		say("a heartbeat afterwards: %v %v", problem, err)
	}
	return faults
}

// REL-03
func TestEveryWriteFailsOnce(t *testing.T) {
	install()
	first := newTemplate(t)
	for _, kind := range []struct {
		name   string
		call   call
		code   int32
		sticky bool
	}{
		{"a write finds the disk full", write, sqlite3.SQLITE_FULL, false},
		{"the disk stays full", write, sqlite3.SQLITE_FULL, true},
		{"a write fails", write, sqlite3.SQLITE_IOERR_WRITE, false},
		{"a sync fails", syncFile, sqlite3.SQLITE_IOERR_FSYNC, false},
		{"no sync works any more", syncFile, sqlite3.SQLITE_IOERR_FSYNC, true},
		{"a truncation fails", truncate, sqlite3.SQLITE_IOERR_TRUNCATE, false},
	} {
		t.Run(kind.name, func(t *testing.T) {
			passes, hit, refused, stride := 0, 0, 0, 10
			if kind.call != write || rounds.Of(t) >= full { // there are few syncs
				stride = 1
			}
			for n := 1; ; n += stride {
				dir := filepath.Join(t.TempDir(), "data")
				w := first.copy(t, dir)
				breakAt(kind.call, n, kind.sticky, kind.code)
				a := w.work()
				failed := mend()
				passes++
				refused += a.failures
				again := w.at(w.Again())
				again.edge.Counter, again.victim.Counter = w.edge.Counter, w.victim.Counter
				for _, f := range again.judge(a) {
					t.Errorf("at call %d: %s (acknowledged: %+v)", n, f, a)
				}
				again.Stop()
				if failed == 0 {
					if a.beats != 2 || a.failures != 0 || !a.token || !a.suspended || !a.resumed || !a.revoked {
						t.Errorf("nothing failed, and not all was done: %+v", a)
					}
					break
				}
				hit++
			}
			if hit == 0 && kind.call != truncate {
				t.Error("nothing ever failed")
			}
			t.Logf("%d passes, a fault in %d of them, %d heartbeats not accepted", passes, hit, refused)
		})
	}
}
