package journal

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Holder is the id of the process that holds the state directory, 0 if none is
// seen to. It takes no lock, so that asking never keeps an agent from starting:
// it reads the kernel's list, which names only processes that this one may see.
func Holder(dir string) int {
	path := filepath.Join(dir, lockName)
	info, err := os.Lstat(path)
	if err != nil {
		return 0
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	device := fmt.Sprintf("%02x:%02x", unix.Major(stat.Dev), unix.Minor(stat.Dev))
	for range readings {
		locks, err := os.ReadFile("/proc/locks")
		if err != nil {
			return 0
		}
		for _, l := range flocks(locks, stat.Ino) {
			// Some file systems show another device in stat(2) than the kernel has.
			if l.device == device || opened(l.pid, path) {
				return l.pid
			}
		}
	}
	return 0
}

// readings is how often the list is read before nobody is believed to hold the file: the
// kernel gives a long list in pieces, and a lock that others let go in between makes it
// pass over one.
const readings = 3

type flock struct {
	pid    int
	device string // as the kernel writes it
}

// flocks are the locks of flock(2) on files with this inode number, as
// proc_locks(5) lists them. Lines of waiters have an arrow before the kind, and
// do not count.
func flocks(list []byte, inode uint64) []flock {
	var found []flock
	for lines := bufio.NewScanner(bytes.NewReader(list)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 6 || f[1] != "FLOCK" {
			continue
		}
		at := strings.LastIndexByte(f[5], ':')
		pid, err := strconv.Atoi(f[4])
		if err == nil && pid > 0 && at > 0 && f[5][at+1:] == strconv.FormatUint(inode, 10) {
			found = append(found, flock{pid, f[5][:at]})
		}
	}
	return found
}

// opened says whether a process has the file open.
func opened(pid int, path string) bool {
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return false
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == path {
			return true
		}
	}
	return false
}
