package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

func TestEachChangeOfAPolicyBundleIsMarkedAsWhatItIs(t *testing.T) {
	t.Parallel()
	limited := func(limits map[string]int64) signing.KindRule { return signing.KindRule{Kind: "ping", Limits: limits} }
	approved := func(n int) signing.KindRule { return signing.KindRule{Kind: "restart-agent", Approvals: n} }
	for name, c := range map[string]struct {
		before, after signing.KindRule
		want          []string
	}{
		"nothing":           {limited(map[string]int64{"echo": 4}), limited(map[string]int64{"echo": 4}), nil},
		"approvals dropped": {approved(2), approved(0), []string{"+ allows restart-agent without approvals (before: with 2 approvals)"}},
		"approvals lowered": {approved(2), approved(1), []string{"+ allows restart-agent with 1 approval (before: with 2 approvals)"}},
		"approvals raised":  {approved(0), approved(1), []string{"- allows restart-agent with 1 approval (before: without approvals)"}},
		"limit raised": {
			limited(map[string]int64{"echo": 16}), limited(map[string]int64{"echo": 300}), []string{"+ allows ping with echo at most 300 (before: at most 16)"},
		},
		"limit lowered": {
			limited(map[string]int64{"echo": 16}), limited(map[string]int64{"echo": 4}), []string{"- allows ping with echo at most 4 (before: at most 16)"},
		},
		"limit dropped": {limited(map[string]int64{"echo": 0}), limited(nil), []string{"+ allows ping with any echo (before: echo at most 0)"}},
		"limit new":     {limited(nil), limited(map[string]int64{"echo": 0}), []string{"- allows ping with echo at most 0 (before: any echo)"}},
		"both ways": {
			signing.KindRule{Kind: "ping", Approvals: 1, Limits: map[string]int64{"a": 1, "b": 2}}, limited(map[string]int64{"a": 2, "b": 1}),
			[]string{
				"+ allows ping without approvals (before: with 1 approval)", "+ allows ping with a at most 2 (before: at most 1)", "- allows ping with b at most 1 (before: at most 2)",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			end := time.Now()
			before, after := signing.PolicyBundle{ExpiresAt: end, Kinds: []signing.KindRule{c.before}}, signing.PolicyBundle{ExpiresAt: end, Kinds: []signing.KindRule{c.after}}
			if got := diffBundles(&before, &after); !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestAKindThatNobodyCanUseIsWarnedOf(t *testing.T) {
	t.Parallel()
	warned := func(k signing.KindRule) string {
		var out bytes.Buffer
		warnOfApprovals(&out, &signing.PolicyBundle{Kinds: []signing.KindRule{{Kind: "ping"}, k}})
		return out.String()
	}
	if got := warned(signing.KindRule{Kind: "restart-agent", Approvals: 2}); !strings.Contains(got, "Warning: restart-agent asks for 2 approvals") || strings.Contains(got, "ping") {
		t.Errorf("with approvals: %s", got)
	}
	if got := warned(signing.KindRule{Kind: "restart-agent"}); got != "" {
		t.Errorf("without: %s", got)
	}
}

func TestTheEndOfAPolicyBundleIsSaidWhereItDiffers(t *testing.T) {
	t.Parallel()
	a := signing.PolicyBundle{Version: 3, ExpiresAt: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)}
	b := a
	b.Version = 4
	said := func() string {
		var out bytes.Buffer
		showChanges(&out, &a, &b)
		return out.String()
	}
	if got := said(); got != "From version 3 to 4 there is no difference.\n" {
		t.Errorf("of the same: %s", got)
	}
	b.ExpiresAt = a.ExpiresAt.Add(time.Hour)
	if got := said(); got != "From version 3 to 4:\n  ~ expires 2026-11-23T01:00:00Z (before: 2026-11-23T00:00:00Z)\n" {
		t.Errorf("an hour later: %s", got)
	}
}
