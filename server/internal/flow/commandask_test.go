package flow_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// CMD-03
func TestNothingMeansNobody(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		w.enrolled("edge-1")
		w.enrolled("edge-2")
		w.must(w.Suspend(t.Context(), w.by, "edge-2", "test"))
		w.exec("INSERT INTO device_labels (device_id, key, value) VALUES ('edge-1', 'site', 'x')")
		for name, c := range map[string]struct {
			ids   []string
			label string
		}{
			"nothing": {}, "an empty list": {ids: []string{}}, "an empty id": {ids: []string{""}}, "a star": {ids: []string{"*"}}, "all": {ids: []string{"all"}},
			"an unknown device": {ids: []string{"edge-1", "edge-9"}}, "a device twice": {ids: []string{"edge-1", "edge-1"}}, "a suspended device": {ids: []string{"edge-2"}},
			"both": {ids: []string{"edge-1"}, label: "site=x"}, "no key": {label: "=x"}, "no value": {label: "site="}, "a label of one word": {label: "site"},
			"any value": {label: "site=*"}, "any key": {label: "*=x"}, "a star alone": {label: "*"}, "a pattern": {label: "site=%"}, "a label nobody has": {label: "site=nowhere"},
		} {
			ask := ping(c.ids...)
			ask.Label = c.label
			_, err := w.SendCommand(t.Context(), w.by, ask, false)
			if _, ok := errors.AsType[*flow.AskError](err); !ok {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := w.count("commands", "1 = 1") + w.count("command_targets", "1 = 1"); n != 0 {
			t.Errorf("%d rows", n)
		}
	})
}

func TestAGroupIsResolvedWhenItIsAskedFor(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		for _, id := range []string{"edge-1", "edge-2", "edge-3"} {
			a := w.agent(id)
			secret, _ := w.token(enroll.NewToken{Labels: map[string]string{"site": "berlin"}})
			w.must(a.ask(secret))
			w.approve(a)
			_, err := a.poll()
			w.must(err)
		}
		w.must(w.Revoke(t.Context(), w.by, "edge-3", "test"))
		ask := flow.CommandAsk{Kind: "ping", Label: "site=berlin", Life: time.Hour, Reason: "test"}
		plan, err := w.SendCommand(t.Context(), w.by, ask, true)
		w.must(err)
		if plan.Targets != 2 || !slices.Equal(plan.First, []string{"edge-1", "edge-2"}) || plan.Command != nil || w.count("commands", "1 = 1") != 0 {
			t.Errorf("the dry run: %+v", plan)
		}
		id := w.ask(ask)
		w.exec("INSERT INTO device_labels (device_id, key, value) SELECT device_id, 'late', 'yes' FROM devices")
		if c := w.page(id); c.Targets != 2 {
			t.Errorf("%+v", c)
		}
	})
}

func TestWhatDevicesWouldRefuseIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		w.enrolled("edge-1")
		w.publish(func(b *signing.PolicyBundle) {
			b.Kinds = []signing.KindRule{{Kind: "ping", Limits: map[string]int64{"echo": 4}}, {Kind: "restart-agent", Approvals: 1}}
		})
		for name, change := range map[string]func(*flow.CommandAsk){
			"an unknown kind":      func(a *flow.CommandAsk) { a.Kind = "run-shell" },
			"an unknown parameter": func(a *flow.CommandAsk) { a.Parameters = map[string]signing.Parameter{"x": signing.Text("y")} },
			"a parameter's type":   func(a *flow.CommandAsk) { a.Parameters = map[string]signing.Parameter{"echo": signing.Number(1)} },
			"no life":              func(a *flow.CommandAsk) { a.Life = 0 },
			"more than seven days": func(a *flow.CommandAsk) { a.Life = signing.MaxCommandLife + 1 },
			"a bundle's limit":     func(a *flow.CommandAsk) { a.Parameters = map[string]signing.Parameter{"echo": signing.Text("12345")} },
			"approvals by devices": func(a *flow.CommandAsk) { a.Kind = "restart-agent" },
			"what is not allowed":  func(a *flow.CommandAsk) { a.Kind = "collect-facts" },
			"a line break":         func(a *flow.CommandAsk) { a.Parameters = map[string]signing.Parameter{"echo": signing.Text("a\nb")} },
		} {
			ask := ping("edge-1")
			change(&ask)
			_, err := w.SendCommand(t.Context(), w.by, ask, false)
			if _, ok := errors.AsType[*flow.AskError](err); !ok {
				t.Errorf("%s: %v", name, err)
			}
		}
		ask := ping("edge-1")
		ask.Reason = ""
		if _, err := w.SendCommand(t.Context(), w.by, ask, false); !errors.Is(err, flow.ErrReason) {
			t.Errorf("no reason: %v", err)
		}
	})
}
