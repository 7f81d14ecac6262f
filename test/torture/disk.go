package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// disk is a small file system that can be filled to the brim.
type disk struct{ path string }

const diskSize = "384m"

// mountDisk needs the right to mount.
func mountDisk(path string) (*disk, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	if err := unix.Mount("tmpfs", path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=700,size="+diskSize); err != nil {
		return nil, err
	}
	return &disk{path}, nil
}

func (d *disk) filler() string { return filepath.Join(d.path, "filler") }

// fill takes all that is left.
func (d *disk) fill() error {
	f, err := os.Create(d.filler())
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	for chunk := make([]byte, 1<<20); len(chunk) > 0; {
		n, err := f.Write(chunk)
		switch {
		case errors.Is(err, unix.ENOSPC) && n == 0:
			chunk = chunk[:len(chunk)/2]
		case err != nil && !errors.Is(err, unix.ENOSPC):
			return err
		}
	}
	return nil
}

// free gives it back.
func (d *disk) free() error {
	if err := os.Remove(d.filler()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// keep copies what is on the disk to a directory that stays.
func (d *disk) keep(to string) error {
	if out, err := exec.Command("cp", "-a", d.path, to).CombinedOutput(); err != nil {
		return fmt.Errorf("keep %s: %w\n%s", d.path, err, out)
	}
	return nil
}

func (d *disk) close() { _ = unix.Unmount(d.path, unix.MNT_DETACH) }

// limitFiles lets no file of a running process grow beyond so many bytes: its
// writes fail as those to a broken disk do. It returns what lifts the limit.
func limitFiles(pid int, size uint64) (lift func() error, err error) {
	var before unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, nil, &before); err != nil {
		return nil, err
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: size, Max: before.Max}, nil); err != nil {
		return nil, err
	}
	return func() error { return unix.Prlimit(pid, unix.RLIMIT_FSIZE, &before, nil) }, nil
}
