package device_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// REV-05: whatever is not a revocation could be one that was damaged.
func TestAJournalThatIsNotWholeIsRefused(t *testing.T) {
	t.Parallel()
	const good = `{"device_id":"edge-1","at":"2026-03-01T12:00:00Z","by":"alice","reason":"stolen"}` + "\n"
	for name, bad := range map[string]string{
		"an empty line":               "\n",
		"not JSON":                    "revoked edge-1\n",
		"a list":                      "[]\n",
		"no device_id":                `{"at":"2026-03-01T12:00:00Z","by":"a","reason":"x"}` + "\n",
		"a device_id that is none":    `{"device_id":"Edge 1","at":"2026-03-01T12:00:00Z","by":"a","reason":"x"}` + "\n",
		"a member nobody wrote":       `{"device_id":"edge-1","at":"2026-03-01T12:00:00Z","by":"a","reason":"x","undo":true}` + "\n",
		"a member twice":              `{"device_id":"edge-1","device_id":"edge-2"}` + "\n",
		"two on a line":               strings.TrimSuffix(good, "\n") + good,
		"a line of NUL after a crash": strings.Repeat("\x00", 40) + "\n",
	} {
		for where, text := range map[string]string{"alone": bad, "first": bad + good, "last": good + bad, "between": good + bad + good} {
			if list, err := device.ParseJournal([]byte(text)); err == nil {
				t.Errorf("%s, %s: read as %+v", name, where, list)
			}
		}
	}
	list, err := device.ParseJournal([]byte(good + good[:30]))
	if err != nil || len(list) != 1 || list[0].DeviceID != "edge-1" || list[0].Reason != "stolen" {
		t.Errorf("a torn last line: %+v, %v", list, err)
	}
	if list, err := device.ParseJournal(nil); err != nil || list != nil {
		t.Errorf("an empty journal: %v, %v", list, err)
	}
}

func TestTheJournalIsForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := device.NewJournal(dir)
	if list, err := j.Read(); err != nil || list != nil {
		t.Fatalf("no journal yet: %v, %v", list, err)
	}
	if err := j.Add(device.Revocation{DeviceID: "edge-1", At: now, By: "alice", Reason: "line\nbreak"}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "revocations.jsonl"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	list, err := device.NewJournal(dir).Read()
	if err != nil || len(list) != 1 || list[0].Reason != "line\nbreak" || !list[0].At.Equal(now) {
		t.Errorf("read back %+v, %v", list, err)
	}
	blocked := device.NewJournal(filepath.Join(dir, "revocations.jsonl")) // not a directory
	if blocked.Add(device.Revocation{DeviceID: "edge-1"}) == nil {
		t.Error("a revocation that could not be journalled counts as journalled")
	}
}

func FuzzParseJournal(f *testing.F) {
	f.Add([]byte(`{"device_id":"edge-1","at":"2026-03-01T12:00:00Z","by":"alice","reason":"stolen"}` + "\n"))
	f.Add([]byte(`{"device_id":"edge-1"}` + "\n" + `{"device_id":"edge-2","reason":"\u0000"}` + "\n" + `{"dev`))
	f.Add([]byte("\n\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := device.ParseJournal(data)
		if err != nil {
			return
		}
		if len(list) != bytes.Count(data, []byte("\n")) {
			t.Fatalf("%d revocations in %d lines", len(list), bytes.Count(data, []byte("\n")))
		}
		var again []byte
		for _, r := range list {
			if protocol.CheckDeviceID(r.DeviceID) != nil {
				t.Fatalf("read the device_id %q", r.DeviceID)
			}
			line, err := json.Marshal(r)
			if err != nil {
				return // a year that JSON cannot write
			}
			again = append(append(again, line...), '\n')
		}
		same := func(a, b device.Revocation) bool {
			at, bt := a.At, b.At
			a.At, b.At = time.Time{}, time.Time{}
			return a == b && at.Equal(bt)
		}
		back, err := device.ParseJournal(append(again, `{"torn`...))
		if err != nil || !slices.EqualFunc(list, back, same) {
			t.Fatalf("written and read again: %+v, %v", back, err)
		}
	})
}
