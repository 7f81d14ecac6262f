// Package health says whether this server may be sent work, and why not.
//
// Live means that the process answers. Ready means that every check passes; a
// check that fails says what is wrong and what to do, and one that passes may warn.
// Checks are asked again at most once a second, however often readiness is asked
// for.
package health

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Check is one thing that must hold.
type Check struct {
	Name string
	Ask  func(ctx context.Context) error // nil: it holds
}

// WarningError is what a check says that holds, but not for long, or not for everything.
type WarningError string

func (w WarningError) Error() string { return string(w) }

// Result is the answer of one check.
type Result struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
}

// Report is what readiness is.
type Report struct {
	Ready  bool      `json:"ready"`
	At     time.Time `json:"at"`
	Checks []Result  `json:"checks"`
}

const (
	keepFor  = time.Second
	askLimit = 3 * time.Second
)

// Service asks the checks.
type Service struct {
	now    func() time.Time
	checks []Check

	mu   sync.Mutex
	last Report
}

// New makes the service.
func New(now func() time.Time, checks ...Check) *Service { return &Service{now: now, checks: checks} }

// Ready asks all checks, at once, or gives the answer of less than a second ago.
// A check that does not answer in time does not hold.
func (s *Service) Ready(ctx context.Context) Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if age := now.Sub(s.last.At); !s.last.At.IsZero() && age >= 0 && age < keepFor {
		return s.last
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askLimit)
	defer cancel()
	report := Report{Ready: true, At: now, Checks: make([]Result, len(s.checks))}
	var wg sync.WaitGroup
	for i, c := range s.checks {
		wg.Go(func() {
			report.Checks[i] = Result{Name: c.Name, OK: true}
			if err := c.Ask(ctx); err != nil {
				_, holds := errors.AsType[WarningError](err)
				report.Checks[i] = Result{Name: c.Name, OK: holds, Reason: err.Error()}
			}
		})
	}
	wg.Wait()
	for _, r := range report.Checks {
		report.Ready = report.Ready && r.OK
	}
	s.last = report
	return report
}

// Report is Ready and whether it is.
func (s *Service) Report(ctx context.Context) (Report, bool) {
	r := s.Ready(ctx)
	return r, r.Ready
}
