package audit

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// golden is an entry with its canonical bytes, computed apart from this code:
// old entries are proven by this form, so it never changes.
func golden() *Row {
	r := &Row{
		ID: "0195a5c0-0000-7000-8000-000000000001", At: db.At(noon), ActorKind: Person, ActorID: "alice", Action: DeviceSuspend,
		ObjectKind: "device", ObjectID: "edge-1", Source: "192.0.2.1", RequestID: "r1", Result: Done, Reason: "lost", Details: `{"a":"b"}`,
		Entry: []byte(`sentinel-secure-x audit entry v1
id 0195a5c0-0000-7000-8000-000000000001
at 1772366400000000
actor_kind bed8599be60273f6813b38a54c183ec089d59afba38b3eea1d09f8b5c0809f83
actor_id 29ea6c245a55d2db895da0fa6d30a5f88a90c6789ef1f706d1baf9e448a19eb0
action 5eacf7c313bb8fa5daf9cfd9e247a43b42feaa32345d07346566ddb8d730a315
object_kind e0812218466d300d91a90401c86b566fa1329db3f0ba90e169391c16ee863670
object_id 9cc7c291656baf4c72834c2a1e312091dfc492fb039d38a13804c7845d7e469a
source cbc7d5a24013aa561a7ac38e9c968e78df122488eeb51cf6b50135bd2f1a3163
request_id 4ea51da44a3ff785d2e9e1123af5f06fb92b4e43cb25e19cf90c9627fade044e
result e7bc07821e236cae06a6413c545cf18f37aeda350044fe3839e2bf27fdc19c4b
reason b872738f89bc8d54bf9ee41ea09265b0b73a009e9d5f7fdb3472f26989c6ece3
details 4e5b19281b91698c7611023def4e5109d5e64bb3723b114c0d38f0286d442dbe
`),
	}
	for i := range saltSize * len(fieldNames) {
		r.Salts = append(r.Salts, byte(i))
	}
	return r
}

// AUD-01
func TestAnEntryIsProvenAsLongAsNothingInItChanged(t *testing.T) {
	t.Parallel()
	if r := golden(); !r.Proven() {
		t.Fatalf("the canonical form changed:\n%s", r.canonical())
	}
	for name, change := range map[string]func(r *Row){
		"id":             func(r *Row) { r.ID = strings.Replace(r.ID, "1", "2", 1) },
		"time":           func(r *Row) { r.At++ },
		"kind of actor":  func(r *Row) { r.ActorKind = Device },
		"actor":          func(r *Row) { r.ActorID = "bob" },
		"action":         func(r *Row) { r.Action = DeviceResume },
		"kind of object": func(r *Row) { r.ObjectKind = "" },
		"object":         func(r *Row) { r.ObjectID = "edge-2" },
		"source":         func(r *Row) { r.Source = "192.0.2.10" },
		"request":        func(r *Row) { r.RequestID = "" },
		"result":         func(r *Row) { r.Result = Refused },
		"reason":         func(r *Row) { r.Reason += " " },
		"details":        func(r *Row) { r.Details = "{}" },
		"a salt":         func(r *Row) { r.Salts[7] ^= 1 },
		"salts cut":      func(r *Row) { r.Salts = r.Salts[:saltSize] },
		"no salts":       func(r *Row) { r.Salts = nil },
		"the bytes":      func(r *Row) { r.Entry[100] ^= 1 },
		"no bytes":       func(r *Row) { r.Entry = nil },
		"two exchanged":  func(r *Row) { r.ObjectKind, r.ObjectID = r.ObjectID, r.ObjectKind },
		"a shifted border": func(r *Row) {
			r.ActorID, r.Source = "alice192.", "0.2.1"
		},
	} {
		r := golden()
		r.Salts, r.Entry = bytes.Clone(r.Salts), bytes.Clone(r.Entry)
		change(r)
		if r.Proven() {
			t.Errorf("%s: still proven", name)
		}
	}
}

func TestWhatIsWrittenReadsBackProven(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *book) {
		long := strings.Repeat("ö", 1000)
		many := map[string]string{}
		for i := range 100 {
			many["key-"+strings.Repeat("x", i)] = strings.Repeat("v", 300)
		}
		for name, e := range map[string]Entry{
			"plain":            {Action: DeviceSuspend, ObjectKind: "device", ObjectID: "edge-1", Reason: "lost", Details: map[string]string{"b": "2", "a": "1"}},
			"no details":       {Action: SignOut},
			"long text":        {Action: SignOut, ObjectID: long, Reason: long, Details: map[string]string{long: long}},
			"many details":     {Action: SignOut, Details: many},
			"NUL and bad UTF8": {Action: SignOut, ObjectID: "a\x00b", Reason: "\xff\xfe\x00", Details: map[string]string{"k\x00": "\x00\xff"}}, // AUD-05
			"forged lines":     {Action: SignOut, ObjectID: "x\nid 1\nat 2", Reason: "y\r\nresult done"},
		} {
			w.put(person(name), e)
			rows := w.list(Filter{ActorID: name})
			if len(rows) != 1 || !rows[0].Proven() {
				w.Fatalf("%s: %+v", name, rows)
			}
			r := rows[0]
			if r.Result != Done || len(r.Reason) > maxField || len(r.ObjectID) > maxField || len(r.Details) > 2*maxDetails || strings.Contains(r.Reason+r.ObjectID+r.Details, "\x00") {
				w.Errorf("%s: stored %+v", name, r)
			}
			if bytes.Count(r.Entry, []byte("\n")) != 3+len(fieldNames) {
				w.Errorf("%s: a field made a line of its own:\n%s", name, r.Entry)
			}
			if d := r.DetailMap(); name == "plain" && (len(d) != 2 || d["a"] != "1") || name == "many details" && d["cut"] != "true" {
				w.Errorf("%s: details %v", name, d)
			}
		}
		salts := w.list(Filter{})
		if bytes.Equal(salts[0].Salts, salts[1].Salts) || bytes.Equal(salts[0].Salts[:saltSize], salts[0].Salts[saltSize:2*saltSize]) {
			w.Error("salts repeat, so that equal fields show as equal")
		}
	})
}

// AUD-03: an act that cannot be named does not happen.
func TestAnActionThatIsNotInTheListCannotBeWritten(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *book) {
		for _, action := range []string{"", "device.destroy", "DEVICE.SUSPEND", "device.suspend "} {
			err := w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error {
				return Write(ctx, tx, person("alice"), Entry{Action: action})
			})
			if !errors.Is(err, ErrUnknownAction) {
				w.Errorf("%q: %v", action, err)
			}
		}
		var all []Entry
		for _, action := range Actions() {
			all = append(all, Entry{Action: action})
		}
		w.put(person("alice"), all...)
		if got := w.list(Filter{Limit: 500}); len(got) != len(Actions()) {
			w.Errorf("%d entries of %d actions", len(got), len(Actions()))
		}
	})
}
