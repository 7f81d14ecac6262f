package device

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Journal is the record of revocations outside the database: a file of lines
// that only grows. Each is on the disk before its revocation is acknowledged.
type Journal struct {
	path string
	mu   sync.Mutex
	sure bool // the file ends with a whole line
}

// Revocation is a line of the journal.
type Revocation struct {
	DeviceID string    `json:"device_id"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Reason   string    `json:"reason"`
}

// NewJournal keeps the journal in dir.
func NewJournal(dir string) *Journal { return &Journal{path: filepath.Join(dir, "revocations.jsonl")} }

// Add appends a revocation durably.
func (j *Journal) Add(r Revocation) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.mend(); err != nil {
		return err
	}
	j.sure = false
	if err := files.Append(j.path, append(line, '\n'), 0o600); err != nil {
		return err
	}
	j.sure = true
	return nil
}

// mend cuts off what a crash or a full disk left of a line that was never
// acknowledged, so that the next line does not grow onto it.
func (j *Journal) mend() error {
	if j.sure {
		return nil
	}
	data, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if whole := bytes.LastIndexByte(data, '\n') + 1; whole < len(data) {
		return files.Replace(j.path, data[:whole], 0o600)
	}
	return nil
}

// Read returns every revocation in the journal.
func (j *Journal) Read() ([]Revocation, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	data, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list, err := ParseJournal(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", j.path, err)
	}
	return list, nil
}

// ParseJournal reads the lines of a journal. A last line without its end is what
// a crash left of a revocation that was not acknowledged, and is passed over.
// Anything else that is not a revocation is an error, since passing over
// it could bring a revoked device back.
func ParseJournal(data []byte) ([]Revocation, error) {
	var list []Revocation
	lines := bytes.Split(data, []byte{'\n'})
	for n, line := range lines[:len(lines)-1] {
		var r Revocation
		err := protocol.Decode(line, &r)
		if err == nil {
			err = protocol.CheckDeviceID(r.DeviceID)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d is not a revocation: %w", n+1, err)
		}
		list = append(list, r)
	}
	return list, nil
}
