package command

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
)

// Shown is a command as it is shown to a person on the device.
type Shown struct {
	ActionID string    `json:"action_id"`
	Kind     string    `json:"kind"`
	At       time.Time `json:"at"`
	Status   string    `json:"status"` // "begun", or how it ended
	Reason   string    `json:"reason,omitempty"`
	Reported bool      `json:"reported"` // the server has the outcome
}

// Recent reads the last n commands that were begun, the newest first, beside a
// running agent too.
func Recent(dir string, n int) ([]Shown, error) {
	data, err := files.ReadPrivate(filepath.Join(dir, fileName), maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	// Part of a line is what a running agent is writing.
	p, err := parse(data[:bytes.LastIndexByte(data, '\n')+1])
	if err != nil {
		return nil, err
	}
	var all []*entry
	for _, e := range p.entries {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int { return int(b.Nth - a.Nth) })
	var list []Shown
	for _, e := range all[:min(n, len(all))] {
		s := Shown{ActionID: e.ActionID, Kind: e.Kind, At: e.At, Status: "begun", Reported: e.reported}
		if e.at != 0 {
			l, err := readLine(data[e.at : e.at+int64(e.length)])
			if err != nil {
				return nil, err
			}
			s.Status, s.Reason = string(l.Ended.Status), l.Ended.Reason
		}
		list = append(list, s)
	}
	return list, nil
}

// Remove deletes the journal of commands, with the enrollment that it belongs to:
// a device that is enrolled anew is another target.
func Remove(dir string) error {
	for _, name := range []string{fileName, asideName} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the journal of commands: %w", err)
		}
	}
	return nil
}
