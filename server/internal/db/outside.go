package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
)

// Outside is what a node remembers of the database in a file of its own, so
// that a database restored from a backup is noticed even though the database
// itself cannot know.
type Outside struct {
	path string
	mu   sync.Mutex
}

// Remembered is the content of the file.
type Remembered struct {
	FleetID string `json:"fleet_id"`
	Epoch   string `json:"epoch"`
	Mark    int64  `json:"mark"`
}

// Refusals of a database that is not the one remembered.
var (
	ErrRestored    = errors.New("the database is older than this node remembers: it was restored from a backup")
	ErrOtherFleet  = errors.New("this data directory belongs to another fleet's database")
	restoredAdvice = "run: sentinel-server db mark-restored"
)

// NewOutside keeps the memory in dir.
func NewOutside(dir string) *Outside { return &Outside{path: filepath.Join(dir, "instance.json")} }

// Load reads the file; a node that has none remembers nothing.
func (o *Outside) Load() (Remembered, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var r Remembered
	data, err := os.ReadFile(o.path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return r, fmt.Errorf("read %s: %w", o.path, err)
	}
	return r, nil
}

// Check refuses a database that is behind what this node remembers, or another
// one. A new epoch with a higher mark is a restore that was declared, here or on
// another node.
func (o *Outside) Check(in Instance) error {
	r, err := o.Load()
	switch {
	case err != nil:
		return err
	case in.BehindSince != 0:
		return fmt.Errorf("%w (%s); %s", ErrRestored, in.BehindReason, restoredAdvice)
	case r.FleetID == "":
		return nil
	case r.FleetID != in.FleetID:
		return fmt.Errorf("%w; set SENTINEL_DATA_DIR or SENTINEL_DATABASE_URL", ErrOtherFleet)
	case in.Mark < r.Mark:
		return fmt.Errorf("%w (mark %d, remembered %d); %s", ErrRestored, in.Mark, r.Mark, restoredAdvice)
	case in.Epoch != r.Epoch && in.Mark == r.Mark:
		return fmt.Errorf("%w (another epoch at mark %d); %s", ErrRestored, in.Mark, restoredAdvice)
	}
	return nil
}

// Raise raises the mark in the database and remembers it, in this order: the
// file is never ahead of a database that was not restored. A database that went
// back under a running node is recorded as behind instead, and what is remembered
// of it stays.
func (o *Outside) Raise(ctx context.Context, d *DB) error {
	var in Instance
	var restored error
	err := d.Write(ctx, func(ctx context.Context, tx Tx) error {
		var err error
		if in, err = instance(ctx, tx); err != nil {
			return err
		}
		if restored = o.Check(in); errors.Is(restored, ErrRestored) {
			return tx.SetBehind(ctx, "a node remembers more than the database")
		} else if restored != nil {
			return restored
		}
		if _, err := tx.NewUpdate().Table("instance").Set("mark = mark + 1").Where("id = 1").Exec(ctx); err != nil {
			return err
		}
		in, err = instance(ctx, tx)
		return err
	})
	if err := errors.Join(err, restored); err != nil {
		return err
	}
	return o.Remember(in)
}

// Remember writes the file durably.
func (o *Outside) Remember(in Instance) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	data, err := json.Marshal(Remembered{in.FleetID, in.Epoch, in.Mark})
	if err != nil {
		return err
	}
	return files.Replace(o.path, append(data, '\n'), 0o600)
}
