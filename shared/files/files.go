// Package files writes files that survive a crash and reads files that must be
// private. The server's outside memory and the agent's journal rest on it.
package files

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/failpoint"
)

// Replace writes a file so that after a crash either the old or the new content
// stands there, whole. It never follows a link at path: the name itself is
// replaced.
func Replace(path string, data []byte, mode os.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	failpoint.Here("files.before-rename")
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	failpoint.Here("files.after-rename")
	return syncDir(filepath.Dir(path))
}

// Append adds data at the end of a file, made with mode when it is missing, and
// returns once it is on the disk.
func Append(path string, data []byte, mode os.FileMode) error {
	_, statErr := os.Lstat(path)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|noFollow, mode)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		_ = f.Close()
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if statErr != nil {
		return syncDir(filepath.Dir(path))
	}
	return nil
}

// ErrExposed says that others than the owner may read or change a file that
// holds a secret.
var ErrExposed = errors.New("others than its owner may read or change it")

// ReadPrivate reads a secret of at most limit bytes from a regular file that
// only its owner may read or change. On Windows the directory's access list
// decides who may, and the file is read as it is.
func ReadPrivate(path string, limit int64) ([]byte, error) {
	return readPrivate(path, limit, func(os.FileInfo) error { return nil })
}

// ErrForeign says that a file, or the directory that it stands in, is in the hands
// of a user who must not decide what it holds.
var ErrForeign = errors.New("another user may decide what stands there")

// ReadPrivateOf is ReadPrivate for a file that stands anywhere: it must belong to root,
// to this process's user or to one of owners, and nobody else may put another file in
// its place (ErrForeign). On Windows the directory's access list decides.
func ReadPrivateOf(path string, limit int64, owners ...int) ([]byte, error) {
	if err := checkPlace(path, owners); err != nil {
		return nil, err
	}
	return readPrivate(path, limit, func(info os.FileInfo) error {
		if !ownedBy(info, owners) {
			return fmt.Errorf("%s: %w; give it to the user that runs this", path, ErrForeign)
		}
		return nil
	})
}

// CheckProgram makes sure that nobody but root, this process's user and owners decides
// what the program at path does (ErrForeign): it is a regular file that only they can
// change or replace. A link is followed, and what it leads to is judged.
func CheckProgram(path string, owners ...int) error {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(target)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: not a regular file", path)
	}
	if !ownedBy(info, owners) || changeable(info) {
		return fmt.Errorf("%s: %w", path, ErrForeign)
	}
	return errors.Join(checkPlace(path, owners), checkPlace(target, owners))
}

// checkPlace judges the directory that a path stands in.
func checkPlace(path string, owners []int) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	// In a sticky directory nobody replaces the files of others.
	if changeable(info) && info.Mode()&os.ModeSticky == 0 || !ownedBy(info, owners) {
		return fmt.Errorf("%s: %w; run: chmod go-w %s, and give it to the user that runs this", dir, ErrForeign, dir)
	}
	return nil
}

func readPrivate(path string, limit int64, judge func(os.FileInfo) error) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	if exposed(info) {
		return nil, fmt.Errorf("%s: %w; run: chmod 600 %s", path, ErrExposed, path)
	}
	if err := judge(info); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s: larger than %d bytes", path, limit)
	}
	return data, err
}
