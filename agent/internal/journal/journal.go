package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

const (
	fileName = "journal.json"
	lockName = "agent.lock"
)

// Journal is held by one process. Its methods may be called from several
// goroutines.
type Journal struct {
	dir  string
	lock *files.Lock

	mu    sync.Mutex
	state *State // nil while not enrolled
}

// Open takes hold of the state directory, which must exist. Without a journal in
// it State is ErrNotEnrolled until Begin. Errors: ErrNotEnrolled when there is
// not even a directory, ErrLoose, ErrInUse, ErrDamaged, ErrNewer.
func Open(dir string) (*Journal, error) {
	j, err := hold(dir)
	if err != nil {
		return nil, err
	}
	if j.state, err = read(dir); err != nil && !errors.Is(err, ErrNotEnrolled) {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// OpenWithin is Open for a process that keeps many devices below one directory
// and has locked that one: a lock, and so an open file, for each device would be
// too many. The agent never uses it.
func OpenWithin(dir string) (*Journal, error) {
	if err := CheckDir(dir); err != nil {
		return nil, err
	}
	j := &Journal{dir: dir}
	if err := j.sweep(); err != nil {
		return nil, err
	}
	var err error
	if j.state, err = read(dir); err != nil && !errors.Is(err, ErrNotEnrolled) {
		return nil, err
	}
	return j, nil
}

// OpenToRemove is Open without reading, so that Remove works on a journal that
// is damaged too. Nothing else may be called.
func OpenToRemove(dir string) (*Journal, error) { return hold(dir) }

func hold(dir string) (*Journal, error) {
	if err := CheckDir(dir); err != nil {
		return nil, err
	}
	lock, err := files.Acquire(filepath.Join(dir, lockName))
	if errors.Is(err, files.ErrLocked) {
		if holder := Holder(dir); holder != 0 {
			return nil, fmt.Errorf("%w (%s): process %d", ErrInUse, dir, holder)
		}
		return nil, fmt.Errorf("%w (%s)", ErrInUse, dir)
	}
	if err != nil {
		return nil, err
	}
	j := &Journal{dir: dir, lock: lock}
	if err := j.sweep(); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// Read returns the journal's content without holding it: for showing only.
func Read(dir string) (State, error) {
	if err := CheckDir(dir); err != nil {
		return State{}, err
	}
	s, err := read(dir)
	if err != nil {
		return State{}, err
	}
	return *s, nil
}

func read(dir string) (*State, error) {
	path := filepath.Join(dir, fileName)
	data, err := files.ReadPrivate(path, maxSize)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrNotEnrolled
	case errors.Is(err, files.ErrExposed):
		return nil, fmt.Errorf("%w: %w", ErrLoose, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	s, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// sweep removes what a killed writer left half-written.
func (j *Journal) sweep() error {
	left, err := filepath.Glob(filepath.Join(j.dir, "."+fileName+"-*"))
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove what a stopped agent left behind: %w", err)
		}
	}
	return nil
}

// Dir is the state directory.
func (j *Journal) Dir() string { return j.dir }

// State returns a copy of the content, or ErrNotEnrolled.
func (j *Journal) State() (State, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state == nil {
		return State{}, ErrNotEnrolled
	}
	return j.state.clone(), nil
}

// Begin writes the first content. ErrExists if there is one.
func (j *Journal) Begin(s State) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state != nil {
		return ErrExists
	}
	return j.write(s)
}

// Update changes the content durably: change gets a copy, and what it leaves
// there is stored before Update returns. ErrNotEnrolled before Begin,
// ErrBackwards if the change would undo what must stay. After another error the
// change did not happen, unless the process ends before the next one.
func (j *Journal) Update(change func(*State)) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state == nil {
		return ErrNotEnrolled
	}
	next := j.state.clone()
	change(&next)
	if err := next.follows(j.state); err != nil {
		return err
	}
	return j.write(next)
}

// Now is the device's time for a clock that says clock: never below the time floor.
func (j *Journal) Now(clock time.Time) time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state == nil || j.state.Enrolled == nil {
		return clock
	}
	return j.state.Enrolled.Now(clock)
}

// Next returns a counter that was never returned before and never will be again:
// it is on the disk as used when Next returns. After a crash the number is lost,
// which leaves a gap. ErrNotEnrolled unless enrolled.
func (j *Journal) Next() (int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state == nil || j.state.Enrolled == nil {
		return 0, ErrNotEnrolled
	}
	next := j.state.clone()
	if next.Enrolled.Counter >= protocol.MaxCounter {
		return 0, ErrExhausted
	}
	next.Enrolled.Counter++
	if err := j.write(next); err != nil {
		// The disk may say that it is used or not. Here it is.
		j.state = &next
		return 0, err
	}
	return next.Enrolled.Counter, nil
}

func (j *Journal) write(s State) error {
	data, err := encode(&s)
	if err != nil {
		return err
	}
	if err := files.Replace(filepath.Join(j.dir, fileName), data, 0o600); err != nil {
		return fmt.Errorf("store the journal: %w", err)
	}
	j.state = &s
	return nil
}

// Remove deletes the journal: the device is not enrolled any more. What lies
// beside it has to be removed first.
func (j *Journal) Remove() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := os.Remove(filepath.Join(j.dir, fileName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the journal: %w", err)
	}
	j.state = nil
	return nil
}

// Close lets go of the state directory.
func (j *Journal) Close() error {
	if j.lock == nil {
		return nil
	}
	return j.lock.Release()
}
