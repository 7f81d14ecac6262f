package doctor

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// Verdict is how a thing stands.
type Verdict string

// The verdicts.
const (
	OK      Verdict = "ok"
	Warn    Verdict = "warn"
	Fail    Verdict = "fail"
	Skipped Verdict = "skipped"
)

// Result is what one check-up found.
type Result struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Found   string  `json:"found"`
	Fix     string  `json:"fix,omitempty"` // the next thing to try
}

func ok(format string, args ...any) Result {
	return Result{Verdict: OK, Found: fmt.Sprintf(format, args...)}
}
func skipped(why string) Result     { return Result{Verdict: Skipped, Found: why} }
func warn(found, fix string) Result { return Result{Verdict: Warn, Found: found, Fix: fix} }
func fail(found, fix string) Result { return Result{Verdict: Fail, Found: found, Fix: fix} }

// Report is all of them.
type Report struct {
	MadeAt   time.Time `json:"made_at"`
	Version  string    `json:"agent_version"`
	StateDir string    `json:"state_dir"`
	DeviceID string    `json:"device_id,omitempty"`
	Server   string    `json:"server,omitempty"`
	Verdict  Verdict   `json:"verdict"` // the worst one
	Checks   []Result  `json:"checks"`
}

func worst(results []Result) Verdict {
	v := OK
	for _, r := range results {
		if r.Verdict == Fail {
			return Fail
		}
		if r.Verdict == Warn {
			v = Warn
		}
	}
	return v
}

// Print writes the report for a person.
func (r *Report) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	count := map[Verdict]int{}
	for _, c := range r.Checks {
		count[c.Verdict]++
		word := map[Verdict]string{OK: "ok", Warn: "warn", Fail: "FAIL", Skipped: "-"}[c.Verdict]
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", word, c.Check, c.Found)
		if c.Fix != "" {
			_, _ = fmt.Fprintf(t, "\t\t  try: %s\n", c.Fix)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d ok, %d to look at, %d failed, %d skipped\n", count[OK], count[Warn], count[Fail], count[Skipped])
	return err
}

// maxText is longer than any sentence of ours; names in certificates and answers
// of proxies may be longer.
const maxText = 800

// tidy keeps what came from outside from reaching a terminal as it is.
func tidy(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + " ..."
	}
	return s
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// span is a length of time as a person says it.
func span(d time.Duration) string {
	d = max(d, -d)
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return fmt.Sprintf("%d seconds", d/time.Second)
}
