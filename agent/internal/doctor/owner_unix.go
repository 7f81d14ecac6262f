//go:build unix

package doctor

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

var errRefused error = unix.ECONNREFUSED

// owner says to whom a file belongs, and who asks.
func owner(info os.FileInfo) (owner, self int) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, -1
	}
	return int(stat.Uid), os.Geteuid()
}
