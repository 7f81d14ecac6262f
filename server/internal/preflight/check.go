package preflight

import (
	"fmt"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
)

// Status is how a point stands.
type Status string

// How a point can stand.
const (
	Pass          Status = "pass"
	Warn          Status = "warn"
	Fail          Status = "fail"
	NotApplicable Status = "n/a"
)

// Weight is what a failed point means.
type Weight int

// The weights, from the lightest.
const (
	Should      Weight = iota // a warning
	Must                      // preflight ends with exit code 1
	MustToStart               // that, and a server with the production profile does not start
)

// Check is one point of the checklist.
type Check struct {
	ID     string
	Title  string // what holds when it passes
	Why    string
	Change string // what to do when it fails; a verdict may be more exact
	Weight Weight
	// Settings are those whose every problem is a failure of this check.
	Settings []string
	Rule     func(f *Facts) Verdict
	// Later is what this version lacks for the point to mean something; such a point
	// has no rule, and is not in effect.
	Later string
}

// Section is a heading of the checklist.
type Section struct {
	Title  string
	Checks []Check
}

// Verdict is what a rule says.
type Verdict struct {
	Status   Status
	Found    string
	Change   string // "" is the check's own
	WaitsFor string // id of the check that says why this one cannot be judged
}

// The verdicts that rules give.

func pass(found string, args ...any) Verdict {
	return Verdict{Status: Pass, Found: fmt.Sprintf(found, args...)}
}

func fail(found string, args ...any) Verdict {
	return Verdict{Status: Fail, Found: fmt.Sprintf(found, args...)}
}

// warn is for what holds, but not for long or not for everything.
func warn(found string, args ...any) Verdict {
	return Verdict{Status: Warn, Found: fmt.Sprintf(found, args...)}
}

func notApplicable(found string, args ...any) Verdict {
	return Verdict{Status: NotApplicable, Found: fmt.Sprintf(found, args...)}
}

// waits is for facts that could not be had: the check with this id says why.
func waits(id string) Verdict {
	return Verdict{Status: NotApplicable, Found: "not known; see " + id, WaitsFor: id}
}

func (v Verdict) todo(change string, args ...any) Verdict {
	v.Change = fmt.Sprintf(change, args...)
	return v
}

// Result is a check with its verdict.
type Result struct {
	ID       string `json:"id"`
	Section  string `json:"section"`
	Title    string `json:"title"`
	Must     bool   `json:"must"`
	Starts   bool   `json:"needed_to_start"`
	Status   Status `json:"status"`
	Found    string `json:"found"`
	Change   string `json:"change,omitempty"`
	WaitsFor string `json:"waits_for,omitempty"`
}

// Report is the checklist, judged.
type Report struct {
	At      time.Time      `json:"at"`
	Profile config.Profile `json:"profile"` // that the settings ask for
	Failed  int            `json:"failed"`  // musts
	Results []Result       `json:"results"`
}

// Judge judges every point by the facts.
func Judge(f *Facts) Report {
	r := Report{At: f.At, Profile: f.Written}
	for _, s := range Sections() {
		for _, c := range s.Checks {
			v := c.judge(f)
			r.Results = append(r.Results, Result{
				ID: c.ID, Section: s.Title, Title: c.Title, Must: c.Weight >= Must, Starts: c.Weight == MustToStart,
				Status: v.Status, Found: v.Found, Change: v.Change, WaitsFor: v.WaitsFor,
			})
			if v.Status == Fail {
				r.Failed++
			}
		}
	}
	return r
}

func (c Check) judge(f *Facts) Verdict {
	v, broken := f.broken(c.Settings...)
	switch {
	case broken:
	case c.Later != "":
		v = notApplicable("%s", c.lacking())
	default:
		v = c.Rule(f)
	}
	if v.Status == Fail && c.Weight == Should && !broken {
		v.Status = Warn
	}
	switch {
	case v.Status == Pass:
		v.Change = ""
	case v.Change == "" && (v.Status != NotApplicable || v.WaitsFor != ""):
		v.Change = c.Change
	}
	return v
}

func (c Check) lacking() string { return "not in effect: this version has no " + c.Later }

// Failures are the failed musts.
func (r Report) Failures() []Result { return r.only(func(x Result) bool { return x.Status == Fail }) }

// Warnings are the points that do not hold without being a failed must.
func (r Report) Warnings() []Result { return r.only(func(x Result) bool { return x.Status == Warn }) }

func (r Report) only(is func(Result) bool) (list []Result) {
	for _, x := range r.Results {
		if is(x) {
			list = append(list, x)
		}
	}
	return list
}

// UnfitError says why a server with the production profile does not start.
type UnfitError []Result

// Refuse is the UnfitError of a report, or nil.
func (r Report) Refuse() error {
	list := r.only(func(x Result) bool { return x.Status == Fail && x.Starts })
	if len(list) == 0 {
		return nil
	}
	return UnfitError(list)
}

func (r UnfitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the production profile does not allow this start: %d of its musts failed", len(r))
	for _, x := range r {
		fmt.Fprintf(&b, "\n  %s: %s\n      to do: %s", x.ID, x.Found, x.Change)
	}
	b.WriteString("\nsee every point: sentinel-server preflight")
	return b.String()
}
