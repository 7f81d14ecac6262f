package nginx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
)

// file is one that a change puts in place.
type file struct {
	path string
	data []byte
	mode os.FileMode

	before  []byte
	missing bool // it was not there before
}

// change puts files in place and has NGINX take them over, or leaves everything as it
// was. confirm says whether NGINX serves what it was given.
func change(ctx context.Context, p Program, list []*file, confirm func(context.Context) error) error {
	for _, f := range list {
		var err error
		if f.before, err = readFile(f.path); errors.Is(err, fs.ErrNotExist) {
			f.missing = true
		} else if err != nil {
			return err
		}
	}
	err := replace(list)
	if err == nil {
		err = p.Test(ctx)
	}
	if err == nil { // it is told nothing when this fails
		err = p.Reload(ctx)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("nothing was changed: %w", err), undo(list))
	}
	if err = confirm(ctx); err == nil {
		return nil
	}
	// What it may have taken over is taken back, whatever became of the caller.
	ctx = context.WithoutCancel(ctx)
	failed := undo(list)
	if failed == nil {
		failed = p.Test(ctx)
	}
	if failed == nil {
		failed = p.Reload(ctx)
	}
	if failed != nil {
		return errors.Join(fmt.Errorf("NGINX did not take the change over: %w", err), fmt.Errorf("and it could not be undone: %w", failed))
	}
	return fmt.Errorf("NGINX did not take the change over, and it was undone: %w", err)
}

func replace(list []*file) error {
	for _, f := range list {
		if !f.missing && bytes.Equal(f.before, f.data) {
			continue
		}
		if err := files.Replace(f.path, f.data, f.mode); err != nil {
			return err
		}
	}
	return nil
}

// undo puts back what was there.
func undo(list []*file) error {
	var failed []error
	for _, f := range list {
		if f.missing {
			if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				failed = append(failed, err)
			}
			continue
		}
		if now, err := os.ReadFile(f.path); err == nil && bytes.Equal(now, f.before) {
			continue
		}
		failed = append(failed, files.Replace(f.path, f.before, f.mode))
	}
	return errors.Join(failed...)
}

// keepFormer leaves a copy of a file that a change replaced beside it, under a name
// that NGINX does not read.
func keepFormer(f *file) error {
	if f.missing || bytes.Equal(f.before, f.data) {
		return nil
	}
	return files.Replace(f.path+".before", f.before, f.mode)
}

// lockIn keeps two changes apart.
func lockIn(dir string) (*files.Lock, error) {
	lock, err := files.Acquire(filepath.Join(dir, ".lock"))
	if errors.Is(err, files.ErrLocked) {
		return nil, fmt.Errorf("another sentinel-server nginx is at work: %w; try again", err)
	}
	return lock, err
}
