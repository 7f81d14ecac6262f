package command

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// agent is a device that obeys, in a time of its own.
type agent struct {
	*fleet

	t       *testing.T
	journal *journal.Journal
	key     crypto.Signer
	nudges  int
	renew   func(ctx context.Context) Reason
	runner  *Runner
	ended   chan error // what Run returned
	stop    func()
}

func newAgent(t *testing.T) *agent {
	t.Helper()
	a := &agent{t: t, fleet: newFleet(t), journal: stateDir(t), key: key(t), renew: func(context.Context) Reason { return "" }}
	a.start(boot)
	return a
}

// start starts the agent, as a restart does.
func (a *agent) start(bootID string) {
	a.t.Helper()
	began := time.Now()
	store, err := OpenStore(a.journal)
	if errors.Is(err, ErrDamaged) {
		store, err = Anew(a.journal, a.now.Add(time.Since(began)))
	}
	if err != nil {
		a.t.Fatal(err)
	}
	state, err := a.journal.State()
	if err != nil {
		a.t.Fatal(err)
	}
	a.runner, err = NewRunner(Options{
		Store: store, Key: func() crypto.Signer { return a.key }, BootID: bootID, Version: "1.2.3",
		Device: func() (Device, error) {
			d := a.device()
			d.Now, d.After = a.now.Add(time.Since(began)), state.Enrolled.CommandsAfter
			return d, nil
		},
		Facts: func() map[string]string {
			return map[string]string{"os": "linux", "bad": "a\x00b", "long": strings.Repeat("x", 999)}
		},
		FactsAgain: func() error { return a.journal.Update(func(s *journal.State) { s.Enrolled.Facts = "" }) },
		Renew:      func(ctx context.Context) Reason { return a.renew(ctx) },
		Now:        func() time.Time { return a.now.Add(time.Since(began)) },
		Timer:      time.After, Nudge: func() { a.nudges++ }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		a.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(a.t.Context())
	done := make(chan struct{})
	a.ended = make(chan error, 1)
	runner, ended := a.runner, a.ended
	go func() {
		defer close(done)
		ended <- runner.Run(ctx)
	}()
	a.stop = func() {
		cancel()
		<-done
	}
}

// deliver is a heartbeat's answer with commands; everything that can be done at
// once is done when it returns.
func (a *agent) deliver(d ...protocol.CommandDelivery) {
	a.t.Helper()
	if err := a.runner.After(a.t.Context(), &protocol.HeartbeatAnswer{Commands: d}); err != nil {
		a.t.Fatal(err)
	}
	synctest.Wait()
}

func (a *agent) order(n int, kind string) {
	a.t.Helper()
	a.deliver(a.Deliver(a.t, a.statement(n, kind)))
}

// beat is a heartbeat that is accepted, whose results the server stores.
func (a *agent) beat() (acks []string, results map[string]*signing.CommandResult) {
	a.t.Helper()
	hb := a.heartbeat()
	results = read(a.t, hb, a.key.Public())
	answer := &protocol.HeartbeatAnswer{}
	for id := range results {
		answer.ResultsStored = append(answer.ResultsStored, id)
	}
	if err := a.runner.After(a.t.Context(), answer); err != nil {
		a.t.Fatal(err)
	}
	return hb.Acks, results
}

func (a *agent) heartbeat() *protocol.Heartbeat {
	a.t.Helper()
	hb := &protocol.Heartbeat{
		Protocol: protocol.Version, DeviceID: "edge-1", EnrollmentID: enrollment, Counter: 1, Epoch: enrollment, BootID: boot,
	}
	if err := a.runner.Before(a.t.Context(), hb); err != nil {
		a.t.Fatal(err)
	}
	return hb
}

// withAgent runs a test in a time of its own.
func withAgent(t *testing.T, test func(t *testing.T, a *agent)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t)
		defer func() { a.stop() }()
		synctest.Wait()
		test(t, a)
	})
}

func TestAPingIsAcknowledgedDoneAndReportedUntilTheServerHasIt(t *testing.T) {
	t.Parallel()
	withAgent(t, func(t *testing.T, a *agent) {
		s := a.statement(1, "ping")
		s.Parameters = map[string]signing.Parameter{"echo": signing.Text("$(touch /tmp/x) `id`")}
		a.deliver(a.Deliver(t, s))
		if a.nudges == 0 {
			t.Error("nothing asked for a heartbeat soon")
		}
		first := a.heartbeat() // whose answer is lost
		acks, results := a.beat()
		r := results[id(1)]
		if !slices.Equal(acks, []string{id(1)}) || !slices.Equal(first.Acks, acks) || r == nil {
			t.Fatalf("acks %v, results %v", acks, results)
		}
		if r.Status != signing.Succeeded || r.Output["echo"] != "$(touch /tmp/x) `id`" || r.Output["agent_version"] != "1.2.3" || r.StatementDigest == "" {
			t.Errorf("%+v", r)
		}
		if acks, results := a.beat(); len(acks)+len(results) != 0 {
			t.Errorf("said again: %v, %v", acks, results)
		}
	})
}

// CMD-01: what was captured does nothing, however often and in whatever start it
// comes again; what ended is answered with the outcome that it had.
func TestACommandThatComesAgainIsAnsweredAndNotDone(t *testing.T) {
	t.Parallel()
	withAgent(t, func(t *testing.T, a *agent) {
		runs := 0
		a.renew = func(context.Context) Reason { runs++; return "" }
		d := a.Deliver(t, a.statement(1, "rotate-certificate"))
		a.deliver(d, d, d)
		_, first := a.beat()
		for n := range 1000 {
			if n%250 == 0 {
				a.stop()
				a.start(nextBoot)
			}
			a.deliver(d)
		}
		_, again := a.beat()
		if runs != 1 || again[id(1)] == nil || first[id(1)] == nil || !again[id(1)].At.Equal(first[id(1)].At) {
			t.Fatalf("ran %d times; first %+v, then %+v", runs, first[id(1)], again[id(1)])
		}
		if _, results := a.beat(); len(results) != 0 {
			t.Errorf("said once more: %v", results)
		}
	})
}

func TestARefusalIsToldWithItsReasonAndBeginsNothing(t *testing.T) {
	t.Parallel()
	withAgent(t, func(t *testing.T, a *agent) {
		late := a.statement(1, "ping")
		late.NotBefore, late.NotAfter = day.Add(-time.Hour), day
		a.deliver(a.Deliver(t, late), protocol.CommandDelivery{ActionID: id(2), Statement: []byte(`"x"`)}, protocol.CommandDelivery{ActionID: "no id"})
		acks, results := a.beat()
		if len(acks) != 0 || len(results) != 2 || results[id(1)].Reason != string(Expired) || results[id(2)].Reason != string(Malformed) || results[id(1)].Status != signing.Refused {
			t.Fatalf("acks %v, results %v", acks, results)
		}
		if begun, _, _ := a.runner.Store.Known(id(1)); begun {
			t.Error("it was begun")
		}
		if _, results := a.beat(); len(results) != 0 {
			t.Errorf("said again: %v", results)
		}
	})
}

// CMD-01: a device that cannot tell any more what it did stays in reach, does nothing
// that it may have done, and says so; what is made later it does.
func TestADeviceWhoseJournalIsLostDoesWhatIsMadeLater(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(path string) error{
		"gone":    os.Remove,
		"spoilt":  func(path string) error { return os.WriteFile(path, []byte("garbage\n"), 0o600) },
		"too old": func(path string) error { return os.WriteFile(path, emptyJournal(t), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withAgent(t, func(t *testing.T, a *agent) {
				runs := 0
				a.renew = func(context.Context) Reason { runs++; return "" }
				a.order(1, "rotate-certificate")
				a.beat()
				path := filepath.Join(a.journal.Dir(), fileName)
				for start := range 3 { // a new journal is one like any other, and may be lost like it
					a.stop()
					if err := lose(path); err != nil {
						t.Fatal(err)
					}
					a.start(nextBoot)
					a.order(1, "rotate-certificate")
					_, results := a.beat()
					if r := results[id(1)]; runs != 1+start || r == nil || r.Status != signing.Unknown || r.Reason != string(JournalLost) {
						t.Fatalf("after loss %d it ran %d times, and says %+v", start, runs, r)
					}
					a.stop()
					a.now = a.now.Add(signing.ClockSkew + time.Minute)
					a.start(boot)
					later := a.statement(2+start, "rotate-certificate")
					later.NotBefore = a.now
					a.deliver(a.Deliver(t, later))
					_, results = a.beat()
					if r := results[id(2+start)]; runs != 2+start || r == nil || r.Status != signing.Succeeded {
						t.Fatalf("what was made after loss %d: ran %d times, %+v", start, runs, r)
					}
				}
				state, err := a.journal.State()
				if err != nil || state.Enrolled.Commands != 4 {
					t.Errorf("%d commands were begun, %v", state.Enrolled.Commands, err)
				}
			})
		})
	}
}

// emptyJournal is that of a device that never began anything.
func emptyJournal(t *testing.T) []byte {
	t.Helper()
	j := stateDir(t)
	open(t, j)
	data, err := os.ReadFile(filepath.Join(j.Dir(), fileName))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// CMD-12: what blocks, panics or is never taken holds up nothing else.
func TestOneBadCommandHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	t.Run("a handler that never ends", func(t *testing.T) {
		t.Parallel()
		withAgent(t, func(t *testing.T, a *agent) {
			hang := make(chan struct{})
			defer close(hang)
			a.renew = func(context.Context) Reason { <-hang; return "" }
			a.deliver(a.Deliver(t, a.statement(1, "rotate-certificate")), a.Deliver(t, a.statement(2, "ping")))
			if acks, _ := a.beat(); !slices.Equal(acks, []string{id(1)}) { // heartbeats go on
				t.Errorf("acks %v", acks)
			}
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if _, results := a.beat(); results[id(1)].Reason != string(TimedOut) || results[id(2)].Status != signing.Succeeded {
				t.Errorf("%v", results)
			}
		})
	})
	t.Run("a handler that panics", func(t *testing.T) {
		t.Parallel()
		withAgent(t, func(t *testing.T, a *agent) {
			a.renew = func(context.Context) Reason { panic("boom") }
			a.deliver(a.Deliver(t, a.statement(1, "rotate-certificate")), a.Deliver(t, a.statement(2, "ping")))
			if _, results := a.beat(); results[id(1)] == nil || results[id(1)].Reason != string(Crashed) || results[id(2)].Status != signing.Succeeded {
				t.Errorf("%v", results)
			}
		})
	})
	t.Run("outcomes that the server never takes", func(t *testing.T) {
		t.Parallel()
		withAgent(t, func(t *testing.T, a *agent) {
			for n := range 10 {
				a.order(n, "ping")
			}
			told := map[string]bool{}
			for range 3 {
				hb := a.heartbeat()
				if len(hb.Results) > protocol.MaxResults {
					t.Fatalf("%d results", len(hb.Results))
				}
				for id := range read(t, hb, a.key.Public()) {
					told[id] = true
				}
			}
			if len(told) != 10 {
				t.Errorf("told %d of 10", len(told))
			}
		})
	})
	t.Run("a heartbeat that the server cannot read", func(t *testing.T) {
		t.Parallel()
		withAgent(t, func(t *testing.T, a *agent) {
			a.order(1, "ping")
			a.runner.Refused(t.Context(), protocol.CodeMalformed)
			if hb := a.heartbeat(); len(hb.Acks)+len(hb.Results) != 0 {
				t.Error("the next one is as bad")
			}
			a.deliver()
			if _, results := a.beat(); results[id(1)] == nil {
				t.Error("nothing is told any more")
			}
		})
	})
}

// CMD-04: what was begun when the agent ended is not tried again, and said to be
// unknown; a restart is what happened.
func TestWhatACrashInterruptedIsUnknownAndARestartSucceeded(t *testing.T) {
	t.Parallel()
	withAgent(t, func(t *testing.T, a *agent) {
		runs := 0
		a.renew = func(ctx context.Context) Reason { runs++; <-ctx.Done(); return "stopped" }
		d := a.Deliver(t, a.statement(1, "rotate-certificate"))
		a.deliver(d)
		a.stop()
		a.start(nextBoot)
		a.deliver(d)
		_, results := a.beat()
		if r := results[id(1)]; runs != 1 || r == nil || r.Status != signing.Unknown || r.Reason != string(Interrupted) {
			t.Fatalf("ran %d times: %+v", runs, r)
		}
		s := a.statement(2, "restart-agent")
		s.Parameters = map[string]signing.Parameter{"delay-seconds": signing.Number(30)}
		a.deliver(a.Deliver(t, s))
		a.order(3, "ping") // goes on until then
		if _, results := a.beat(); results[id(3)] == nil || results[id(2)] != nil {
			t.Errorf("before the restart: %v", results)
		}
		time.Sleep(29 * time.Second)
		synctest.Wait()
		if len(a.ended) != 0 {
			t.Fatal("too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := <-a.ended; !errors.Is(err, ErrRestart) {
			t.Fatalf("ended with %v", err)
		}
		a.stop()
		a.start(boot)
		if _, results := a.beat(); results[id(2)] == nil || results[id(2)].Status != signing.Succeeded {
			t.Errorf("after the restart: %v", results)
		}
	})
}

// CMD-07: a device that comes back late does nothing that has expired.
func TestADeviceThatComesBackDoesNothingStale(t *testing.T) {
	t.Parallel()
	withAgent(t, func(t *testing.T, a *agent) {
		var queued []protocol.CommandDelivery
		for n := range 50 {
			s := a.statement(n, "ping")
			s.NotAfter = day.Add(signing.MaxCommandLife)
			queued = append(queued, a.Deliver(t, s))
		}
		a.now = day.AddDate(0, 0, 90)
		for batch := range slices.Chunk(queued, protocol.MaxCommands) {
			a.deliver(batch...)
			for range 2 {
				_, results := a.beat()
				for _, r := range results {
					if r.Reason != string(Expired) {
						t.Errorf("%+v", r)
					}
				}
			}
		}
		if n := len(a.runner.Store.list(func(*entry) bool { return true })); n != 0 || a.runner.Store.begun != 0 {
			t.Errorf("%d were begun", a.runner.Store.begun)
		}
	})
}

func TestEachKindIsDoneSoManyTimesAnHour(t *testing.T) {
	t.Parallel()
	for kind, most := range hourly {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			withAgent(t, func(t *testing.T, a *agent) {
				n := 0
				count := func() (done, refused int) {
					for range most + 2 {
						s := a.statement(n, kind)
						if s.NotAfter = day.Add(24 * time.Hour); kind == "restart-agent" {
							s.Parameters = map[string]signing.Parameter{"delay-seconds": signing.Number(300)}
						}
						a.deliver(a.Deliver(t, s))
						if begun, _, _ := a.runner.Store.Known(id(n)); begun {
							done++
						}
						n++
						for _, results := a.beat(); len(results) > 0; _, results = a.beat() {
							for _, r := range results {
								if r.Reason == string(RateLimited) {
									refused++
								}
							}
						}
					}
					return done, refused
				}
				if done, refused := count(); done != most || refused != 2 {
					t.Fatalf("%d done, %d refused", done, refused)
				}
				a.stop()
				a.start(nextBoot) // forgets nothing
				if done, _ := count(); done != 0 {
					t.Errorf("%d more after a restart", done)
				}
				a.stop()
				a.now = a.now.Add(61 * time.Minute)
				a.start(boot)
				if done, _ := count(); done != most {
					t.Errorf("%d in the next hour", done)
				}
			})
		})
	}
}

func TestTheHourlyLimitsFitIntoTheJournal(t *testing.T) {
	t.Parallel()
	sum := 0
	for _, kind := range signing.AlwaysAllowed {
		if hourly[kind] == 0 {
			t.Errorf("%s has no limit", kind)
		}
		sum += hourly[kind]
	}
	if n := sum * int(signing.MaxCommandLife/time.Hour); n >= maxEntries {
		t.Errorf("%d in a week", n)
	}
	for _, kind := range signing.Kinds() {
		if kinds[kind].do == nil {
			t.Errorf("%s is known and nothing does it", kind)
		}
	}
}

func TestFactsAreCollectedAnewAndFit(t *testing.T) {
	t.Parallel()
	withAgent(t, func(t *testing.T, a *agent) {
		if err := a.journal.Update(func(s *journal.State) { s.Enrolled.Facts = signing.Digest(nil) }); err != nil {
			t.Fatal(err)
		}
		a.order(1, "collect-facts")
		_, results := a.beat()
		if r := results[id(1)]; r == nil || r.Status != signing.Succeeded || len(r.Output) != 1 || r.Output["os"] != "linux" {
			t.Errorf("%+v", r)
		}
		if s, _ := a.journal.State(); s.Enrolled.Facts != "" {
			t.Error("the next heartbeat has no facts")
		}
	})
	big := map[string]string{}
	for n := range 40 {
		big[fmt.Sprintf("%064d", n)] = strings.Repeat("<", protocol.MaxFactValue)
	}
	r := outcome(1)
	r.Output = fit(big)
	env, err := signing.SignResult(t.Context(), r, key(t))
	if err != nil {
		t.Fatal(err)
	}
	if data, err := env.Marshal(); err != nil || len(data) > protocol.MaxResult || len(r.Output) == 0 {
		t.Errorf("%d bytes, %d members, %v", len(data), len(r.Output), err)
	}
}

func TestARotationThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	withAgent(t, func(t *testing.T, a *agent) {
		a.renew = func(context.Context) Reason { return "renewal-early" }
		a.order(1, "rotate-certificate")
		if _, results := a.beat(); results[id(1)] == nil || results[id(1)].Status != signing.Failed || results[id(1)].Reason != "renewal-early" {
			t.Errorf("%v", results)
		}
	})
}

// An outcome is signed by the key that the heartbeat is sent with, whatever it was
// when the command ended.
func TestOutcomesAreSignedByTheKeyOfTheDay(t *testing.T) {
	t.Parallel()
	withAgent(t, func(t *testing.T, a *agent) {
		a.order(1, "ping")
		_ = a.heartbeat()
		a.key = key(t)
		if _, results := a.beat(); results[id(1)] == nil {
			t.Error("not told")
		}
	})
}

// A disk that is full does nothing without a record, and what was done is recorded
// once there is room.
func TestAFullDiskLosesNoOutcome(t *testing.T) {
	t.Parallel()
	withAgent(t, func(t *testing.T, a *agent) {
		boom, writes, runs := errors.New("full"), 0, 0
		a.renew = func(context.Context) Reason { runs++; return "" }
		a.runner.Store.append = func(path string, data []byte, mode fs.FileMode) error {
			if writes++; writes == 1 || writes == 3 { // the first begin, and the outcome after the second
				return boom
			}
			return files.Append(path, data, mode)
		}
		d := a.Deliver(t, a.statement(1, "rotate-certificate"))
		a.deliver(d)
		if acks, results := a.beat(); runs != 0 || len(acks)+len(results) != 0 {
			t.Fatalf("ran %d times without a record", runs)
		}
		a.deliver(d)
		if runs != 1 {
			t.Fatalf("ran %d times", runs)
		}
		time.Sleep(retryDisk + time.Second)
		synctest.Wait()
		if _, results := a.beat(); results[id(1)] == nil || results[id(1)].Status != signing.Succeeded || runs != 1 {
			t.Errorf("ran %d times: %v", runs, results)
		}
	})
}
