package simtest

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// People have an account each, with its name as id.
var People = []string{"alice", "ben", "carol"}

// Found makes a data directory with a founded fleet and an account for each of
// People, as it is at the time now.
func Found(ctx context.Context, dir string, now time.Time) error {
	n, err := open(ctx, Options{Dir: dir, Now: func() time.Time { return now }}, true)
	if err != nil {
		return err
	}
	defer func() { _ = n.Close() }()
	grants, err := json.Marshal(authz.Permissions())
	if err != nil {
		return err
	}
	return n.core.DB.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		for _, name := range People { // nobody signs in here, so there are no passwords
			if _, err := tx.ExecContext(ctx, `INSERT INTO accounts (id, name, person, role, grants, password_hash, created_at, created_by, password_at)
				VALUES (?, ?, ?, 'admin', ?, '', 0, '', 0)`, name, name, name, string(grants)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Copy copies a data directory as a crash would leave it: all that was committed.
// The node on it may be open, as long as no transaction is.
func Copy(to, from string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		}
		if ofProcess(name) {
			return nil
		}
		return copyFile(filepath.Join(to, name), path)
	})
}

// ofProcess are the files that mean something to a running process only.
func ofProcess(name string) bool {
	return filepath.Ext(name) == ".lock" || name == databaseFile+"-shm"
}

func copyFile(to, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

const databaseFile = "sentinel.db"

// Backup copies the database, and nothing that lies beside it.
func Backup(to, dir string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for _, name := range []string{databaseFile, databaseFile + "-wal"} {
		if err := copyFile(filepath.Join(to, name), filepath.Join(dir, name)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// Restore puts a backup in the place of the database of a data directory whose
// node is closed.
func Restore(dir, backup string) error {
	for _, name := range []string{databaseFile, databaseFile + "-wal", databaseFile + "-shm"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return Backup(dir, backup)
}
