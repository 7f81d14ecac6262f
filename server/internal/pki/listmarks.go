package pki

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
)

// Marks is what a node remembers outside the database of the numbers of revocation
// lists: a number is written there before anybody is shown a list that has it, so
// that a database that came from a backup does not take them down again.
type Marks struct {
	path string

	mu   sync.Mutex
	read bool
	at   map[string]int64 // by authority
}

// NewMarks keeps the numbers in dir.
func NewMarks(dir string) *Marks { return &Marks{path: filepath.Join(dir, "list-numbers.json")} }

// Of is the highest number that was remembered for an authority, 0 for none.
func (m *Marks) Of(authority string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.load(); err != nil {
		return 0, err
	}
	return m.at[authority], nil
}

// Raise remembers a number durably. A lower one than before changes nothing.
func (m *Marks) Raise(authority string, number int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.load(); err != nil {
		return err
	}
	if number <= m.at[authority] {
		return nil
	}
	next := maps.Clone(m.at)
	next[authority] = number
	data, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := files.Replace(m.path, append(data, '\n'), 0o600); err != nil {
		return err
	}
	m.at = next
	return nil
}

// load reads the file once. A node that has none remembers nothing; one that cannot
// be read is not passed over.
func (m *Marks) load() error {
	if m.read {
		return nil
	}
	at := map[string]int64{}
	data, err := os.ReadFile(m.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(data, &at); err != nil {
			return fmt.Errorf("%s: %w", m.path, err)
		}
	}
	if at == nil {
		at = map[string]int64{}
	}
	m.at, m.read = at, true
	return nil
}
