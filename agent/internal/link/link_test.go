package link

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

func TestAHealthyDeviceSpeaksAtTheIntervalAndKeepsWhatItIsTold(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.run(10*time.Minute + time.Second)
		if len(w.beats) != 11 || w.at[0] != 0 || w.at[10] != 10*time.Minute {
			t.Fatalf("spoke at %v", w.at)
		}
		first, second := w.beats[0], w.beats[1]
		if first.Facts["os"] != "linux" || first.Epoch != agenttest.Epoch || first.BootID != boot || !first.FirstUse || first.Nonce != "" {
			t.Errorf("first: %+v", first)
		}
		if second.Facts != nil || second.Nonce != "nonce" || second.Receipt != "receipt" {
			t.Errorf("second: %+v", second)
		}
		if body, _ := json.Marshal(second); len(body) > 1024 {
			t.Errorf("a heartbeat with nothing new has %d bytes", len(body))
		}
		if e := w.kept(); e.Accepted == nil || e.Accepted.Counter != 11 || e.Counter != 11 || e.Refusal != nil {
			t.Errorf("kept %+v", e)
		}
	})
}

func TestTheServerSetsThePaceWithinBounds(t *testing.T) {
	t.Parallel()
	for asked, want := range map[int]time.Duration{1: 5 * time.Second, 20: 20 * time.Second, 1 << 30: time.Hour, 0: time.Minute} {
		t.Run(fmt.Sprintf("%d seconds asked", asked), func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) {
				w.answer = func(rw http.ResponseWriter, hb protocol.Heartbeat, _ int) {
					agenttest.Answer(rw, 200, protocol.HeartbeatAnswer{Counter: hb.Counter, Epoch: hb.Epoch, IntervalSeconds: asked})
				}
				w.run(want + time.Second)
				if len(w.at) != 2 || w.at[1] != want {
					t.Errorf("spoke at %v", w.at)
				}
			})
		})
	}
}

func TestFactsGoOutUntilTheyAreAcceptedAndWhenTheyChange(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = func(rw http.ResponseWriter, hb protocol.Heartbeat, nth int) {
			if nth < 3 {
				agenttest.Refuse(rw, 503, protocol.Problem{Code: protocol.CodeNotReady})
				return
			}
			accept(rw, hb)
		}
		w.run(90 * time.Second)
		w.facts = protocol.Facts{"os": "linux", "hostname": "edge", "spoilt": "a\x00b", "empty": ""}
		w.run(90 * time.Second) // a restart
		w.run(90 * time.Second) // another
		var with []int
		for i, hb := range w.beats {
			if hb.Facts != nil {
				with = append(with, i)
			}
		}
		if !slices.Equal(with, []int{0, 1, 2, 4}) {
			t.Fatalf("facts went out in heartbeats %v of %d", with, len(w.beats))
		}
		if f := w.beats[4].Facts; len(f) != 2 || f["hostname"] != "edge" {
			t.Errorf("the second time: %v", f)
		}
	})
}

func TestAfterAChangeOfEpochItGoesOnAtOnceInTheNewOne(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = func(rw http.ResponseWriter, hb protocol.Heartbeat, _ int) {
			if hb.Epoch != agenttest.NextEpoch || hb.Nonce == "" {
				agenttest.Refuse(rw, 409, protocol.Problem{Code: protocol.CodeEpochChanged, Epoch: agenttest.NextEpoch, Nonce: "after restore"})
				return
			}
			accept(rw, hb)
		}
		w.run(30 * time.Second)
		if len(w.beats) != 2 || w.at[1] != 0 || w.beats[1].Counter != 2 || w.beats[1].Nonce != "after restore" {
			t.Fatalf("spoke at %v: %+v", w.at, w.beats)
		}
		if e := w.kept(); e.Epoch != agenttest.NextEpoch || e.Refusal != nil {
			t.Errorf("kept %+v", e)
		}
	})
}

func TestAfterAResyncItGoesOnAboveTheServersCounter(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ told, next int64 }{
		"above its own":                {500, 501},
		"below its own":                {0, 2},
		"as far as a heartbeat may":    {1 + protocol.MaxCounterJump, 2 + protocol.MaxCounterJump},
		"further than a heartbeat may": {2 + protocol.MaxCounterJump, 2},
		"the end of the range":         {protocol.MaxCounter, 2},
		"below nothing":                {-5, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) {
				w.answer = func(rw http.ResponseWriter, hb protocol.Heartbeat, _ int) {
					if hb.Nonce == "" {
						agenttest.Refuse(rw, 409, protocol.Problem{Code: protocol.CodeEpochChanged, Epoch: agenttest.NextEpoch, Nonce: "fresh", Counter: c.told})
						return
					}
					accept(rw, hb)
				}
				w.run(30 * time.Second)
				if len(w.beats) != 2 || w.beats[1].Counter != c.next {
					t.Fatalf("went on with %+v", w.beats)
				}
			})
		})
	}
}

func TestAServerThatIsNeverInItsEpochIsNotHammered(t *testing.T) {
	t.Parallel()
	for name, epoch := range map[string]string{"another each time": agenttest.NextEpoch, "none at all": "", "not an id": "\x1b[2J"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) {
				w.random = 0.5
				w.answer = func(rw http.ResponseWriter, hb protocol.Heartbeat, nth int) {
					if nth > 1000 { // a device that hammers would never let time pass
						accept(rw, hb)
						return
					}
					agenttest.Refuse(rw, 409, protocol.Problem{Code: protocol.CodeEpochChanged, Epoch: epoch})
				}
				w.run(time.Hour)
				if n := len(w.beats); n > 60 {
					t.Errorf("%d heartbeats in an hour", n)
				}
				if e := w.kept(); epoch != agenttest.NextEpoch && e.Epoch != agenttest.Epoch {
					t.Errorf("took %q for an epoch", e.Epoch)
				}
			})
		})
	}
}

func TestALastingRefusalSlowsTheDeviceDownAndIsKeptForStatus(t *testing.T) {
	t.Parallel()
	for code, want := range map[protocol.Code][]time.Duration{
		protocol.CodeDeviceSuspended: {0, 5 * time.Minute, 10 * time.Minute},
		protocol.CodeDeviceHeld:      {0, 5 * time.Minute, 10 * time.Minute},
		protocol.CodeCounterStale:    {0, 5 * time.Minute, 10 * time.Minute},
		protocol.CodeDeviceRevoked:   {0, time.Hour, 2 * time.Hour},
		protocol.CodeDeviceUnknown:   {0, time.Hour, 2 * time.Hour},
		"new-in-a-later-version":     {0, 5 * time.Minute, 10 * time.Minute},
	} {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) {
				w.answer = refuseAll(403, protocol.Problem{Code: code})
				w.run(want[2] + time.Second)
				if !slices.Equal(w.at, want) {
					t.Errorf("spoke at %v, want %v", w.at, want)
				}
				if e := w.kept(); e.Refusal == nil || e.Refusal.Code != code || !e.Refusal.At.Equal(w.began) {
					t.Errorf("kept %+v, want it as first seen", e.Refusal)
				}
				w.answer = nil // it was lifted
				w.run(time.Second)
				if e := w.kept(); e.Refusal != nil || e.Accepted == nil {
					t.Errorf("after it was lifted: %+v", e)
				}
			})
		})
	}
}

func TestOverloadIsAnsweredWithPatience(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.random = 0.5
		w.answer = func(rw http.ResponseWriter, hb protocol.Heartbeat, nth int) {
			if nth > 1 {
				accept(rw, hb)
				return
			}
			rw.Header().Set("Retry-After", "120")
			agenttest.Refuse(rw, 429, protocol.Problem{Code: protocol.CodeRateLimited})
		}
		w.run(3 * time.Minute)
		if wait := w.at[1] - w.at[0]; wait < 2*time.Minute || wait > 2*time.Minute+time.Second {
			t.Errorf("came back after %v", wait)
		}
		if w.kept().Refusal != nil {
			t.Error("overload is shown as a refusal")
		}
	})
}

func TestAnAnswerThatIsNoneIsNotTaken(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(http.ResponseWriter, protocol.Heartbeat, int){
		"about another heartbeat": func(w http.ResponseWriter, hb protocol.Heartbeat, _ int) {
			agenttest.Answer(w, 200, protocol.HeartbeatAnswer{Counter: hb.Counter - 1, Epoch: agenttest.NextEpoch, Nonce: "x"})
		},
		"with no epoch": func(w http.ResponseWriter, hb protocol.Heartbeat, _ int) {
			agenttest.Answer(w, 200, protocol.HeartbeatAnswer{Counter: hb.Counter, Nonce: "x"})
		},
		"with an endless nonce": func(w http.ResponseWriter, hb protocol.Heartbeat, _ int) {
			agenttest.Answer(w, 200, protocol.HeartbeatAnswer{Counter: hb.Counter, Epoch: agenttest.NextEpoch, Nonce: strings.Repeat("x", protocol.MaxOpaque+1)})
		},
		"endless": func(w http.ResponseWriter, _ protocol.Heartbeat, _ int) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(strings.Repeat(" ", protocol.MaxAnswerBody+1)))
		},
		"not JSON by its type": func(w http.ResponseWriter, hb protocol.Heartbeat, _ int) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprintf(w, `{"counter":%d,"epoch":%q,"nonce":"x"}`, hb.Counter, agenttest.NextEpoch)
		},
		"a way elsewhere": func(w http.ResponseWriter, _ protocol.Heartbeat, _ int) {
			w.Header().Set("Location", "https://s.test:8443/api/heartbeat")
			w.WriteHeader(http.StatusTemporaryRedirect)
		},
		"an error page": func(w http.ResponseWriter, _ protocol.Heartbeat, _ int) {
			http.Error(w, "bad gateway", http.StatusBadGateway)
		},
		"a hang-up": func(http.ResponseWriter, protocol.Heartbeat, int) {
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) {
				w.random, w.answer = 0.5, answer
				w.run(time.Minute)
				if e := w.kept(); e.Accepted != nil || e.Nonce != "" || e.Epoch != agenttest.Epoch || e.Refusal != nil {
					t.Errorf("kept %+v", e)
				}
				if n := len(w.beats); n < 3 || n > 10 {
					t.Errorf("%d heartbeats in a minute", n)
				}
			})
		})
	}
}

func TestASilentServerIsGivenUpOn(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(http.ResponseWriter){
		"before it answers": func(http.ResponseWriter) {},
		"in its answer": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte("{"))
			_ = http.NewResponseController(w).Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) {
				w.random = 0.5
				w.answer = func(rw http.ResponseWriter, hb protocol.Heartbeat, nth int) {
					if nth == 1 {
						begin(rw)
						time.Sleep(10 * time.Minute)
					}
					accept(rw, hb)
				}
				w.run(11 * time.Minute)
				if len(w.at) < 2 || w.at[1] > w.at[0]+requestTimeout+time.Second {
					t.Errorf("spoke at %v", w.at)
				}
			})
		})
	}
}

func TestTheServersClockMovesNothing(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		before := w.kept().TimeFloor
		w.answer = func(rw http.ResponseWriter, hb protocol.Heartbeat, nth int) {
			far := time.Now().AddDate(100*(1-2*(nth%2)), 0, 0)
			agenttest.Answer(rw, 200, protocol.HeartbeatAnswer{Counter: hb.Counter, Epoch: hb.Epoch, ServerTime: far, IntervalSeconds: 60})
		}
		w.run(3 * time.Minute)
		e := w.kept()
		if !e.TimeFloor.Equal(before) || e.Accepted.At.After(time.Now()) {
			t.Errorf("the floor went from %v to %v, accepted at %v", before, e.TimeFloor, e.Accepted.At)
		}
	})
}

func TestOnceSendsOneAndSaysWhatCameOfIt(t *testing.T) {
	t.Parallel()
	j := enrolledJournal(t, time.Now())
	w := &world{t: t, began: time.Now(), journal: j}
	fleet := agenttest.NewFleet(t, time.Now())
	address := agenttest.Serve(t, fleet.ServerCertificate(t, "127.0.0.1"), w)
	transport, err := NewTransport(Target{Server: "https://" + address, CAs: fleet.CAs(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	l := w.link(NewClient("https://"+address, transport))
	if err := l.Once(t.Context()); err != nil || len(w.beats) != 1 {
		t.Fatalf("%v after %d", err, len(w.beats))
	}
	w.answer = refuseAll(403, protocol.Problem{Code: protocol.CodeDeviceRevoked})
	if err := l.Once(t.Context()); React(err) != Rarely {
		t.Fatalf("got %v", err)
	}
}
