//go:build unix

package journal

import (
	"fmt"
	"os"
	"syscall"
)

func makePrivate(dir string) error { return os.Mkdir(dir, 0o700) }

// checkOwner wants mode 0700 or less, and the owner to be who the agent runs as:
// an owner may always change the mode.
func checkOwner(dir string, info os.FileInfo) error {
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("%w: %s has mode %04o; run: chmod 700 %s", ErrLoose, dir, perm, dir)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%w: %s does not belong to the user that runs this (uid %d)", ErrLoose, dir, os.Geteuid())
	}
	return nil
}
