//go:build unix

package files

import (
	"errors"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

const noFollow = unix.O_NOFOLLOW

func exposed(info os.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }

// changeable reports whether others than the owner may change a file.
func changeable(info os.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }

// ownedBy reports whether a file is root's, this process's user's or one of owners'.
func ownedBy(info os.FileInfo, owners []int) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	uid := int(stat.Uid)
	return uid == 0 || uid == os.Geteuid() || slices.Contains(owners, uid)
}

// OwnerOf is the user to whom a file or directory belongs.
func OwnerOf(path string) (uid int, ok bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}

// syncDir makes a rename or a new name durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return f.Sync()
}

func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

func unlock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_UN) }
