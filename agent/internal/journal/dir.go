package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// MakeDir makes the state directory for the agent alone, if it is missing, and
// checks it as CheckDir does.
func MakeDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o750); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	if err := makePrivate(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the state directory: %w", err)
	}
	return CheckDir(dir)
}

// CheckDir makes sure that the state directory is a directory, not a link to one,
// and belongs to the agent alone. ErrNotEnrolled if there is none, ErrLoose if
// others may do anything in it.
func CheckDir(dir string) error {
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: there is no %s", ErrNotEnrolled, dir)
	case err != nil:
		return fmt.Errorf("look at the state directory: %w", err)
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%w: %s is a link", ErrLoose, dir)
	case !info.IsDir():
		return fmt.Errorf("%w: %s is not a directory", ErrLoose, dir)
	}
	return checkOwner(dir, info)
}
