package protocol

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func heartbeats() []Heartbeat {
	id := "0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b3d"
	plain := Heartbeat{Protocol: Version, DeviceID: "edge-1", EnrollmentID: id, Counter: 1, Epoch: id, BootID: id, AgentVersion: "1.0.0"}
	list := []Heartbeat{plain}
	for _, change := range []func(h *Heartbeat){
		func(h *Heartbeat) { h.PolicyVersion = 7 },
		func(h *Heartbeat) { h.RootVersion = 7 },
		func(h *Heartbeat) { h.FirstUse = true },
		func(h *Heartbeat) { h.Nonce = strings.Repeat("n", 54) },
		func(h *Heartbeat) { h.Receipt = strings.Repeat("r", 54) },
		func(h *Heartbeat) {
			h.PolicyVersion, h.RootVersion, h.FirstUse, h.Nonce, h.Receipt = 1, 2, true, "n", "r"
		},
		func(h *Heartbeat) { h.Counter = MaxCounter },
		func(h *Heartbeat) { h.Counter = math.MaxInt64 },
		func(h *Heartbeat) { h.Counter = -1 },
		func(h *Heartbeat) { h.AgentVersion = "1.0.0 <b>&\"\\\u00e9\u2028" },
		func(h *Heartbeat) { h.AgentVersion = "1.0.0<" },
		func(h *Heartbeat) { h.DeviceID = "" },
		func(h *Heartbeat) { h.Facts = Facts{"os": "linux"} },
		func(h *Heartbeat) { h.Acks = []string{id} },
		func(h *Heartbeat) { h.Results = []json.RawMessage{json.RawMessage(`{"payload":""}`)} },
	} {
		h := plain
		change(&h)
		list = append(list, h)
	}
	return list
}

func TestAHeartbeatIsReadAlikeWithoutReflection(t *testing.T) {
	t.Parallel()
	plainly := 0
	for _, h := range heartbeats() {
		body, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		var got Heartbeat
		if err := DecodeHeartbeat(body, &got); err != nil || !reflect.DeepEqual(got, h) {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
		if r := (reader{rest: string(body)}); r.heartbeat(&got) {
			plainly++
		}
	}
	if plainly != 9 {
		t.Errorf("%d are read plainly", plainly)
	}
}

// Whatever is read without reflection is what Decode says, and what it refuses is left
// to it.
func FuzzHeartbeat(f *testing.F) {
	for _, h := range heartbeats() {
		body, err := json.Marshal(h)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
		f.Add(bytes.Replace(body, []byte(`"counter":1`), []byte(`"counter":01`), 1))
		f.Add(bytes.Replace(body, []byte(`}`), []byte(`,"counter":2}`), 1))
		f.Add(bytes.Replace(body, []byte(`,"epoch"`), []byte(` ,"Epoch"`), 1))
		f.Add(append(body, ' '))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got, want Heartbeat
		a, b := DecodeHeartbeat(data, &got), Decode(data, &want)
		if (a == nil) != (b == nil) || b == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %+v, %v, and %+v, %v", data, got, a, want, b)
		}
	})
}

func FuzzHeartbeatAnswer(f *testing.F) {
	f.Add(int64(7), "e", "n", "r", int64(1764271234), int64(123456000), 0, 60, int64(1), int64(2), true, false)
	f.Add(int64(-7), "<", "\\", "\x00", int64(-1<<40), int64(0), 3600, -60, int64(0), int64(0), false, true)
	f.Add(int64(1), "e", "n", "r", int64(1764271234), int64(0), 0, 60, int64(1), int64(2), false, false)
	f.Add(int64(1), "\u2028", "&", "\"", int64(0), int64(1), 0, 60, int64(1), int64(2), false, false)
	f.Fuzz(func(t *testing.T, counter int64, epoch, nonce, receipt string, seconds, nanoseconds int64, east, interval int, policy, root int64, renew, more bool) {
		at := time.Unix(seconds, nanoseconds).UTC()
		if east != 0 {
			at = at.In(time.FixedZone("x", east%86400))
		}
		a := &HeartbeatAnswer{Counter: counter, Epoch: epoch, ServerTime: at, IntervalSeconds: interval, Nonce: nonce, Receipt: receipt, PolicyVersion: policy, RootVersion: root, Renew: renew}
		if more {
			a.ResultsStored = []string{epoch}
		}
		want, err := json.Marshal(a)
		got, fails := a.Encode()
		if (err == nil) != (fails == nil) || !bytes.Equal(got, want) {
			t.Fatalf("%s, %v, and %s, %v", got, fails, want, err)
		}
	})
}

func BenchmarkHeartbeatPlainly(b *testing.B) {
	h := heartbeats()[6]
	body, err := json.Marshal(h)
	if err != nil {
		b.Fatal(err)
	}
	a := &HeartbeatAnswer{Counter: 7, Epoch: h.Epoch, ServerTime: time.Now().UTC(), IntervalSeconds: 60, Nonce: strings.Repeat("n", 54), Receipt: strings.Repeat("r", 54), PolicyVersion: 1, RootVersion: 1}
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var h Heartbeat
			if err := DecodeHeartbeat(body, &h); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.Encode(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write with reflection", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(a); err != nil {
				b.Fatal(err)
			}
		}
	})
}
