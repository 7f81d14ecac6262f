package command

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
)

// Prune leaves out ids whose statements ended before agreed, a time that the clocks
// of device and server have both reached: neither alone can make the device forget.
// Before they are forgotten the time floor is raised past the end of each, so that
// they stay expired whatever the clock says later.
func (s *Store) Prune(agreed time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if agreed.Sub(s.pruned).Abs() < pruneEvery {
		return nil
	}
	if err := s.sureOf(); err != nil {
		return err
	}
	var floor time.Time
	var keep []*entry
	for _, e := range s.entries {
		if !e.forgettable(agreed) {
			keep = append(keep, e)
		} else if e.NotAfter.After(floor) {
			floor = e.NotAfter
		}
	}
	if len(s.entries)-len(keep) < pruneAt {
		s.pruned = agreed
		return nil
	}
	if err := s.journal.Update(func(state *journal.State) { state.Enrolled.Floor(floor) }); err != nil {
		return err
	}
	if err := s.rewrite(keep); err != nil {
		return err
	}
	s.pruned = agreed
	return nil
}

func (e *entry) forgettable(agreed time.Time) bool {
	switch {
	case e.at == 0:
		return false
	case e.reported:
		return !agreed.Before(e.NotAfter)
	}
	return !agreed.Before(e.NotAfter.Add(unreportedFor))
}

// rewrite replaces the file by one with these ids.
func (s *Store) rewrite(keep []*entry) error {
	slices.SortFunc(keep, func(a, b *entry) int { return int(a.Nth - b.Nth) })
	before, err := files.ReadPrivate(s.path, maxFile)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	lines := []*line{{Head: &head{Format: format, Begun: s.begun, Kept: int64(len(keep))}}}
	for _, e := range keep {
		lines = append(lines, &line{Begun: &e.Begun})
		if e.at != 0 {
			if e.at+int64(e.length) > int64(len(before)) {
				return fmt.Errorf("%w: an outcome is not where it was", ErrDamaged)
			}
			l, err := readLine(before[e.at : e.at+int64(e.length)])
			if err != nil {
				return err
			}
			lines = append(lines, l)
		}
		if e.reported {
			lines = append(lines, &line{Reported: e.ActionID})
		}
	}
	for _, l := range lines {
		data, err := l.write()
		if err != nil {
			return err
		}
		b.Write(data)
	}
	s.sure = false
	if err := s.replace(s.path, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the journal of commands anew: %w", err)
	}
	return s.load()
}
