package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// asideName is that of the last one that could not be read, for a person to look at.
const asideName = fileName + ".damaged"

// Anew begins a journal of commands in place of one that is lost or damaged. What was
// begun before cannot be told any more, so whatever was made until the latest that was
// is done no more: that rests on no clock. now is for a journal of an agent that did
// not keep that time yet.
func Anew(j keeper, now time.Time) (*Store, error) {
	s := newStore(j)
	return s, s.anew(now)
}

func (s *Store) anew(now time.Time) error {
	// First of all: a crash after any of these steps leaves less that is done, never more.
	if err := s.journal.Update(func(state *journal.State) { state.Enrolled.LoseCommands(now.Add(signing.ClockSkew)) }); err != nil {
		return err
	}
	if err := os.Rename(s.path, filepath.Join(s.journal.Dir(), asideName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("put the damaged journal of commands aside: %w", err)
	}
	state, err := s.journal.State()
	if err != nil {
		return err
	}
	return s.start(state.Enrolled.Commands)
}
