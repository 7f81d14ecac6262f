package command

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Reasons of an outcome other than a refusal.
const (
	Interrupted Reason = "interrupted" // the agent ended between begin and end
	TimedOut    Reason = "timed-out"
	Crashed     Reason = "crashed" // the handler itself is broken
)

// maxOutput is the longest output in JSON: with the signature around it, it stays
// below protocol.MaxResult in base64.
const maxOutput = 8 << 10

// Outcome is what a handler did. Reason "" is success.
type Outcome struct {
	Reason Reason
	Output map[string]string

	restart time.Duration // with again: how long to wait before the agent ends
	again   bool
}

// kind is how a kind of command is done.
type kind struct {
	within time.Duration
	do     func(ctx context.Context, r *Runner, p parameters) Outcome
}

// kinds are all that is ever done. A kind that signing knows and that is not here
// is refused.
var kinds = map[string]kind{
	"ping":               {10 * time.Second, ping},
	"collect-facts":      {30 * time.Second, collectFacts},
	"rotate-certificate": {90 * time.Second, rotateCertificate},
	"restart-agent":      {10 * time.Second, restartAgent},
}

// parameters were held to their types and bounds by signing.CheckKind.
type parameters map[string]signing.Parameter

func (p parameters) text(name string) string {
	if v := p[name]; v.Text != nil {
		return *v.Text
	}
	return ""
}

func (p parameters) number(name string) int64 {
	if v := p[name]; v.Number != nil {
		return *v.Number
	}
	return 0
}

func ping(_ context.Context, r *Runner, p parameters) Outcome {
	output := map[string]string{"agent_version": r.Version}
	if echo := p.text("echo"); echo != "" {
		output["echo"] = echo
	}
	return Outcome{Output: output}
}

func collectFacts(_ context.Context, r *Runner, _ parameters) Outcome {
	facts := r.Facts()
	if err := r.FactsAgain(); err != nil {
		return Outcome{Reason: "disk"}
	}
	return Outcome{Output: facts}
}

func rotateCertificate(ctx context.Context, r *Runner, _ parameters) Outcome {
	return Outcome{Reason: r.Renew(ctx)}
}

func restartAgent(_ context.Context, _ *Runner, p parameters) Outcome {
	return Outcome{again: true, restart: time.Duration(p.number("delay-seconds")) * time.Second}
}

// fit leaves out of an output what cannot be sent, the longest first.
func fit(output map[string]string) map[string]string {
	kept := maps.Clone(output)
	maps.DeleteFunc(kept, func(k, v string) bool {
		return k == "" || protocol.CheckText("output", k, protocol.MaxFactKey) != nil || protocol.CheckText("output", v, protocol.MaxFactValue) != nil
	})
	for {
		data, err := json.Marshal(kept)
		if err != nil || len(data) <= maxOutput && len(kept) <= protocol.MaxFacts {
			return kept
		}
		delete(kept, slices.MaxFunc(slices.Sorted(maps.Keys(kept)), func(a, b string) int { return len(kept[a]) - len(kept[b]) }))
	}
}
