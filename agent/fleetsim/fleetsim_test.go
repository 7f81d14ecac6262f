package main

import (
	"bytes"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver, named "pgx"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
)

// onBoth runs f on SQLite (the URL is empty) and on an empty PostgreSQL database.
func onBoth(t *testing.T, f func(t *testing.T, database string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); f(t, "") })
	t.Run("postgres", func(t *testing.T) { t.Parallel(); f(t, postgres(t)) })
}

func postgres(t *testing.T) string {
	t.Helper()
	server, err := url.Parse(os.Getenv("SENTINEL_TEST_POSTGRES"))
	if err != nil || server.Host == "" {
		t.Fatal("no PostgreSQL is named in SENTINEL_TEST_POSTGRES; run: make test")
	}
	admin, err := sql.Open("pgx", server.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	name := "fleetsim_" + strings.ToLower(rand.Text())
	if _, err := admin.Exec("CREATE DATABASE " + name + " TEMPLATE template0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	server.Path = "/" + name
	return server.String()
}

// world is a server that lets devices in by itself.
type world struct {
	*servertest.Server
	token string
}

func newWorld(t *testing.T, database string) *world {
	t.Helper()
	s := servertest.Start(t, servertest.Options{Database: database, Settings: map[string]string{"SENTINEL_REQUIRE_NEW_DEVICE_APPROVAL": "false"}})
	return &world{s, s.Person("olivia", "operator").EnrollToken(1000)}
}

// sim runs one command line and reads its report.
func (w *world) sim(t *testing.T, args ...string) (code int, r report, complaint string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = execute(append([]string{"--server", w.MachineURL, "--ca-fingerprint", w.CAFingerprint, "--fleet-root", w.RootDigest,
		"--token", w.token, "--output", "json"}, args...), &out, &errs)
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
	}
	return code, r, errs.String()
}

func TestAFleetEnrollsOnceAndBeats(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, database string) {
		w, dir := newWorld(t, database), t.TempDir()
		code, r, complaint := w.sim(t, "--devices", "20", "--dir", dir, "--duration", "0s")
		if code != 0 || r.Enrolled != 20 || w.Count("devices", "state = 'active'") != 20 {
			t.Fatalf("%d: %+v\n%s", code, r, complaint)
		}

		code, r, complaint = w.sim(t, "--devices", "20", "--dir", dir, "--duration", "5m", "--rounds", "10", "--interval", "100ms", "--storm", "1s",
			"--cpu-of", strconv.Itoa(os.Getpid()))
		if code != 0 || r.Enrolled != 0 {
			t.Fatalf("%d: %+v\n%s", code, r, complaint)
		}
		for kind, n := range r.Errors {
			if kind != "no answer" || n > 20 { // what was on its way when the storm came
				t.Errorf("%d errors: %s", n, kind)
			}
		}
		if r.Heartbeats < 20*10 || r.P50 <= 0 || r.P99 < r.P50 || r.Longest < r.P99 {
			t.Errorf("these are no figures of a fleet: %+v", r)
		}
		if r.Storm == nil || r.Storm.Back != 20 || r.Storm.Lost != 0 {
			t.Errorf("after the storm: %+v", r.Storm)
		}
		if len(r.CPU) != 1 || r.CPU[0].Seconds <= 0 || r.CPUPerHeartbeat <= 0 {
			t.Errorf("CPU: %+v", r.CPU)
		}
		if n := w.Count("device_counters", "counter > 0 AND gate = 0"); n != 20 {
			t.Errorf("%d devices have beaten", n)
		}
	})
}

// Every kind of bad device is refused, and nobody else notices. HBT-01, HBT-02
func TestBadDevicesAreRefusedAndOthersUnharmed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, database string) {
		w := newWorld(t, database)
		code, r, complaint := w.sim(t, "--devices", "20", "--memory", "--duration", "5m", "--rounds", "3", "--interval", "200ms", "--bad", "0.5")
		if code != 0 {
			t.Fatalf("%d: %s", code, complaint)
		}
		if r.Bad != 10 || len(r.Errors) != 0 || r.Heartbeats != 10*3 {
			t.Errorf("the honest ones: %+v", r)
		}
		for kind, code := range map[string]string{
			"replay": "counter-stale", "counter": "counter-stale", "certificate": "certificate-unknown", "identity": "identity-mismatch", "slow": "hung up",
		} {
			b := r.BadActs[kind]
			if b == nil || b.Sent == 0 || b.Accepted != 0 || b.Refused[code] == 0 {
				t.Errorf("%s: %+v", kind, b)
			}
		}
		// Two of each kind; those whose counter went back in a row are held, nobody else is.
		if n := w.Count("devices", "held_reason <> ''"); n != 2 || r.BadActs["counter"].Refused["device-held"] == 0 {
			t.Errorf("%d devices are held", n)
		}
		if n := w.Count("device_counters", "device_id <= ? AND gate = 0 AND refused = 0", deviceID("sim", 10)); n != 10 {
			t.Errorf("%d of the honest devices are unharmed", n)
		}
	})
}

func TestARunIsBounded(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"too many devices":       {"--devices", "100001"},
		"too long":               {"--duration", "25h"},
		"another machine":        {"--server", "https://192.0.2.1:8443"},
		"no TLS":                 {"--server", "http://localhost:8443"},
		"no place for its state": {"--memory=false"},
		"an unknown kind":        {"--bad-kinds", "polite"},
		"a storm after the end":  {"--storm", "1m", "--duration", "30s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			code := execute(append([]string{"--server", "https://localhost:1", "--memory"}, args...), &out, &errs)
			if code != 1 || !strings.Contains(errs.String(), "try: ") || out.Len() > 0 {
				t.Errorf("%d: %s%s", code, out.String(), errs.String())
			}
		})
	}
}

func TestTheHistogramIsNearlyExact(t *testing.T) {
	t.Parallel()
	var h histogram
	for i := range 10_000 {
		h.add(time.Duration(i+1) * 10 * time.Microsecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 50 * time.Millisecond, 0.99: 99 * time.Millisecond, 1: 100 * time.Millisecond} {
		if got := h.quantile(q); got < want || got > want+want/16 {
			t.Errorf("%v: %v, not about %v", q, got, want)
		}
	}
	for us := range uint64(5000) {
		if s := slot(us); top(s) < us || s > 0 && top(s-1) >= us {
			t.Fatalf("%d is in slot %d, which ends at %d", us, s, top(s))
		}
	}
}

func TestTheMemoryIsForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	if code, r, complaint := w.sim(t, "--devices", "1", "--memory", "--duration", "5m", "--rounds", "1", "--interval", "0s", "--prefix", "gone"); code != 0 || r.Heartbeats == 0 {
		t.Fatalf("%d: %+v %s", code, r, complaint)
	}
	left, err := filepath.Glob("/dev/shm/fleetsim-*/devices/gone-00001")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
