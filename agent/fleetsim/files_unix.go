//go:build unix

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// raiseOpenFiles sees to it that this many files may be open. Above its hard
// limit only root may go.
func raiseOpenFiles(want uint64) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur >= want {
		return nil
	}
	raised := unix.Rlimit{Cur: want, Max: max(limit.Max, want)}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &raised); err != nil {
		return fmt.Errorf("%d are needed, %d allowed", want, limit.Max)
	}
	return nil
}
