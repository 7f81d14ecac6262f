//go:build windows

package files

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

const noFollow = 0

func exposed(os.FileInfo) bool { return false }

func changeable(os.FileInfo) bool { return false }

func ownedBy(os.FileInfo, []int) bool { return true }

// OwnerOf tells of no user here.
func OwnerOf(string) (uid int, ok bool) { return 0, false }

// syncDir has nothing to do: a directory cannot be flushed here, and NTFS
// journals the rename.
func syncDir(string) error { return nil }

func lock(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrLocked
	}
	return err
}

func unlock(f *os.File) error {
	return windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, &windows.Overlapped{})
}
