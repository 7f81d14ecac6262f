package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// figure is one comparison over all rounds.
type figure struct {
	Line      int       `json:"line"`
	What      string    `json:"what"`
	Database  string    `json:"database,omitempty"`
	Unit      string    `json:"unit"`
	Ours      []float64 `json:"ours"`      // a round each
	Reference []float64 `json:"reference"` // the same; empty when the goal is a number
	Ratio     float64   `json:"ratio"`     // median of the rounds' ratios, or of ours when there is no reference
	Goal      float64   `json:"goal,omitempty"`
	AtLeast   bool      `json:"at_least,omitempty"`
	Met       bool      `json:"met"`
}

// compare begins a figure whose ratio of ours to the reference may be at most goal.
func (b *bench) compare(line int, what, database, unit string, goal float64) *figure {
	f := &figure{Line: line, What: what, Database: database, Unit: unit, Goal: goal}
	b.figures = append(b.figures, f)
	return f
}

func (f *figure) atLeast() *figure { f.AtLeast = true; return f }

func (f *figure) add(ours, reference float64) {
	f.Ours, f.Reference = append(f.Ours, ours), append(f.Reference, reference)
	f.judge()
}

// alone adds a round of a figure whose goal is a number in its unit.
func (f *figure) alone(ours float64) {
	f.Ours = append(f.Ours, ours)
	f.judge()
}

func (f *figure) judge() {
	if len(f.Reference) == 0 {
		f.Ratio = median(f.Ours)
	} else {
		ratios := make([]float64, len(f.Ours))
		for i, v := range f.Ours {
			ratios[i] = v / f.Reference[i]
		}
		f.Ratio = median(ratios)
	}
	f.Met = f.Goal == 0 || f.AtLeast && f.Ratio >= f.Goal || !f.AtLeast && f.Ratio <= f.Goal
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func (b *bench) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "line\twhat\tdatabase\tours\treference\tratio\tgoal\t")
	for _, f := range b.figures {
		reference, ratio := "", ""
		if len(f.Reference) > 0 {
			reference, ratio = fmt.Sprintf("%.4g %s", median(f.Reference), f.Unit), fmt.Sprintf("%.2f", f.Ratio)
		}
		goal, verdict := "", ""
		if f.Goal > 0 {
			sign := "≤"
			if f.AtLeast {
				sign = "≥"
			}
			goal, verdict = fmt.Sprintf("%s %.4g", sign, f.Goal), "MISSED"
			if f.Met {
				verdict = "met"
			}
		}
		_, _ = fmt.Fprintf(t, "%d\t%s\t%s\t%.4g %s\t%s\t%s\t%s\t%s\n", f.Line, f.What, f.Database, median(f.Ours), f.Unit, reference, ratio, goal, verdict)
	}
	_ = t.Flush()
	for _, note := range b.notes {
		_, _ = fmt.Fprintln(w, "note:", note)
	}
}

// keep writes everything as JSON.
func (b *bench) keep() error {
	if err := os.MkdirAll(b.plan.out, 0o750); err != nil {
		return err
	}
	began := b.began.UTC()
	data, err := json.MarshalIndent(map[string]any{
		"at": began.Truncate(time.Second), "rounds": b.plan.rounds, "devices": b.plan.devices, "bulk": b.plan.bulk,
		"in_flight": b.plan.inFlight, "window": b.plan.window.String(), "figures": b.figures, "notes": b.notes,
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.plan.out, began.Format("20060102-150405")+".json"), append(data, '\n'), 0o600)
}
