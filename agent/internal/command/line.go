package command

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"encoding/json"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

const (
	// format is that of the file. It stands in the first line.
	format = 1
	// maxLine holds an outcome with the longest output, in JSON with every character
	// escaped (six for one).
	maxLine = 64 << 10
	sumSize = 16 // hexadecimal digits, enough to tell an accident from what was written
)

// ErrDamaged means that the journal of commands is not what the agent wrote, or not
// all of it. Nothing is done by it: what was done before might be done again. See Anew.
var ErrDamaged = errors.New("the journal of commands is damaged")

// ErrNewer means that a newer agent wrote it. Run that one.
var ErrNewer = errors.New("the journal of commands was written by a newer agent")

// line is one line of the file: exactly one of its members.
type line struct {
	Head     *head                  `json:"head,omitempty"`
	Begun    *Begun                 `json:"begun,omitempty"`
	Ended    *signing.CommandResult `json:"ended,omitempty"`
	Reported string                 `json:"reported,omitempty"` // the action id
}

// head is the first line.
type head struct {
	Format int   `json:"format"`
	Begun  int64 `json:"begun"` // how many ids were ever begun when the file was made
	Kept   int64 `json:"kept"`  // how many of those follow
}

// Begun is written before anything is done.
type Begun struct {
	Nth      int64     `json:"nth"` // 1 for the first that this device ever began
	ActionID string    `json:"action_id"`
	Digest   string    `json:"digest"` // of the statement's payload
	Kind     string    `json:"kind"`
	At       time.Time `json:"at"`
	NotAfter time.Time `json:"not_after"` // of the statement
	BootID   string    `json:"boot_id"`
}

func (l *line) check() error {
	members := 0
	for _, there := range []bool{l.Head != nil, l.Begun != nil, l.Ended != nil, l.Reported != ""} {
		if there {
			members++
		}
	}
	switch {
	case members != 1:
		return errors.New("a line is one thing")
	case l.Begun != nil:
		return l.Begun.check()
	case l.Ended != nil:
		return l.Ended.Check()
	case l.Reported != "":
		return protocol.CheckID(l.Reported)
	}
	return nil
}

func (b *Begun) check() error {
	switch {
	case protocol.CheckID(b.ActionID) != nil || protocol.CheckID(b.BootID) != nil:
		return errors.New("an id has not the form")
	case b.Nth < 1 || b.At.IsZero() || b.NotAfter.IsZero() || b.Kind == "" || len(b.Digest) != len(signing.Digest(nil)):
		return errors.New("something is missing")
	}
	return nil
}

// write is the line with its sum in front and its end.
func (l *line) write() ([]byte, error) {
	if err := l.check(); err != nil {
		return nil, fmt.Errorf("write the journal of commands: %w", err)
	}
	data, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("write the journal of commands: %w", err)
	}
	if len(data) > maxLine {
		return nil, fmt.Errorf("write the journal of commands: a line of %d bytes", len(data))
	}
	return append(append([]byte(signing.Digest(data)[:sumSize]+" "), data...), '\n'), nil
}

// readLine reads what write wrote, without its end.
func readLine(data []byte) (*line, error) {
	sum, rest, ok := bytes.Cut(data, []byte{' '})
	if !ok || len(rest) > maxLine || string(sum) != signing.Digest(rest)[:sumSize] {
		return nil, fmt.Errorf("%w: a line is not as the agent wrote it", ErrDamaged)
	}
	var l line
	if err := protocol.Decode(rest, &l); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := l.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return &l, nil
}
