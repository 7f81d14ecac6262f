package files

import (
	"errors"
	"fmt"
	"os"
)

// ErrLocked says that another process holds the lock.
var ErrLocked = errors.New("another process holds it")

// Lock is a lock file that one process holds. It ends with the process, however
// that ends; the file stays.
type Lock struct{ file *os.File }

// Acquire takes the lock file at path, made when it is missing, or is ErrLocked.
// It does not wait.
func Acquire(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &Lock{f}, nil
}

// Release gives the lock back. It unlocks before it closes: on Unix a process
// that is being forked at this moment holds a copy of the descriptor until it has
// become another program.
func (l *Lock) Release() error { return errors.Join(unlock(l.file), l.file.Close()) }
