package attestation

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// State is where a baseline stands; see the package's documentation.
type State string

// The states.
const (
	Proposed State = "proposed"
	Active   State = "active"
	Retired  State = "retired"
	Rejected State = "rejected"
	Expired  State = "expired" // nobody decided in time; never stored
	Over     State = "over"    // its time is; never stored
)

// Limits of a baseline.
const (
	MaxLife    = 366 * 24 * time.Hour // what nobody looks at for a year is not known any more
	MaxOverlap = 30 * 24 * time.Hour
	maxValues  = 16 // of one register
	// MaxBaselines is how many may be proposed or in force at once: all are read
	// for each evidence.
	MaxBaselines = 200
)

// Cause is what made the baseline necessary.
type Cause struct {
	Kind string `json:"kind"` // see Causes
	Ref  string `json:"ref"`  // what it is called where it is kept: a change, a release, an incident
	Text string `json:"text"`
}

// Causes lists the kinds of causes.
func Causes() []string {
	return []string{"first-look", "system-update", "firmware-update", "configuration", "hardware", "incident"}
}

// Proposal is a baseline that a person wishes.
type Proposal struct {
	Name           string           `json:"name"`
	Label          string           `json:"label"`  // key=value; "" for all devices
	Values         map[int][]string `json:"values"` // of registers of the SHA-256 bank, in lower-case hex
	HardwareBound  bool             `json:"hardware_bound"`
	NotBefore      time.Time        `json:"not_before"`
	NotAfter       time.Time        `json:"not_after"`
	OverlapSeconds int64            `json:"overlap_seconds"` // how long those that it replaces go on
	Cause          Cause            `json:"cause"`
}

// Check holds a proposal to its rules. quoted are the registers that devices are asked
// for: what names another could never be met.
func (p *Proposal) Check(quoted []int, now time.Time) error {
	invalid := func(format string, args ...any) error { return &InvalidError{fmt.Sprintf(format, args...)} }
	if protocol.CheckDeviceID(p.Name) != nil {
		return invalid("a baseline's name has 1 to 64 characters of a-z, 0-9, '.', '_' and '-'")
	}
	key, value, ok := strings.Cut(p.Label, "=")
	if p.Label != "" && (!ok || key == "" || value == "" || protocol.CheckText("label", p.Label, 300) != nil) {
		return invalid("a label is given as key=value")
	}
	if len(p.Values) == 0 {
		return invalid("a baseline names the values of one register at least")
	}
	for n, values := range p.Values {
		if !slices.Contains(quoted, n) {
			return invalid("register %d is not quoted; devices are asked for %s", n, numbers(quoted))
		}
		if len(values) == 0 || len(values) > maxValues {
			return invalid("a register has 1 to %d values", maxValues)
		}
		for _, v := range values {
			if b, err := hex.DecodeString(v); err != nil || len(b) != 32 || strings.ToLower(v) != v {
				return invalid("a value is 64 lower-case hexadecimal characters")
			}
		}
	}
	switch {
	case !p.NotAfter.After(now) || !p.NotAfter.After(p.NotBefore):
		return invalid("a baseline ends after it begins, and not in the past")
	case p.NotAfter.Sub(now) > MaxLife || p.NotAfter.Sub(p.NotBefore) > MaxLife:
		return invalid("a baseline ends within %d days", MaxLife/(24*time.Hour))
	case p.OverlapSeconds < 0 || p.OverlapSeconds > int64(MaxOverlap/time.Second):
		return invalid("those that it replaces go on for at most %d days", MaxOverlap/(24*time.Hour))
	case !slices.Contains(Causes(), p.Cause.Kind):
		return invalid("the cause is one of %s", strings.Join(Causes(), ", "))
	case p.Cause.Ref == "" || protocol.CheckText("ref", p.Cause.Ref, 200) != nil:
		return invalid("the cause has a reference of at most 200 characters: a change, a release, an incident")
	case protocol.CheckText("text", p.Cause.Text, 400) != nil:
		return invalid("the cause's text is one line of at most 400 characters")
	}
	return nil
}

func numbers(list []int) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ", ")
}

// Action is what is voted on: the whole baseline under its version. Its bytes are made
// once and stored.
type Action struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
	Proposal
}

// Bytes is the one spelling of it: encoding/json writes members in their order, and
// registers in the order of their numbers' text.
func (a Action) Bytes() ([]byte, error) {
	return json.Marshal(struct {
		Type string `json:"type"`
		Action
	}{"attestation-baseline", a})
}

// Title is the baseline's name and version.
func (b *Baseline) Title() string { return fmt.Sprintf("%s version %d", b.Name, b.Version) }

// InForce reports whether the baseline counts at a time.
func (b *Baseline) InForce(now time.Time) bool {
	return b.State == Active && !now.Before(b.NotBefore.Time()) && now.Before(b.NotAfter.Time())
}

// Live is the baseline's state at a time.
func (b *Baseline) Live(now time.Time) State {
	switch {
	case b.State == Active && !now.Before(b.NotAfter.Time()):
		return Over
	case b.State == Proposed && !now.Before(b.ExpiresAt.Time()):
		return Expired
	}
	return b.State
}

// Covers reports whether the baseline is for a device with these labels.
func (b *Baseline) Covers(labels map[string]string) bool {
	key, value, _ := strings.Cut(b.Label, "=")
	if b.Label == "" {
		return true
	}
	has, ok := labels[key]
	return ok && has == value
}

// Covering is those of the baselines that are for a device with these labels.
func Covering(all []Baseline, labels map[string]string) (mine []Baseline) {
	for i := range all {
		if all[i].Covers(labels) {
			mine = append(mine, all[i])
		}
	}
	return mine
}

// ends is when a baseline ends that another one replaces.
func (b *Baseline) ends(at db.Micros, overlap time.Duration) db.Micros {
	return min(b.NotAfter, at.Add(overlap))
}

// ByText is the values by the text of their registers' numbers, as JSON has them.
func (b *Baseline) ByText() map[string][]string {
	m := make(map[string][]string, len(b.Values))
	for n, values := range b.Values {
		m[strconv.Itoa(n)] = values
	}
	return m
}

func (b *Baseline) numbers() []int { return slices.Sorted(maps.Keys(b.Values)) }
