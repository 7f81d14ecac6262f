//go:build unix

package files

import (
	"os"

	"golang.org/x/sys/unix"
)

const noFollow = unix.O_NOFOLLOW

func exposed(info os.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }

// syncDir makes a rename or a new name durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return f.Sync()
}
