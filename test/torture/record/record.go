// Package record is what the simulated devices and people of a torture run write
// down: each request with its answer and the time of both, as lines of JSON. The
// checks read nothing else of what the callers saw.
package record

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Kinds of operation.
const (
	Heartbeat = "heartbeat"
	Enroll    = "enroll" // a request to join, which takes one use of a token
	Fetch     = "fetch"  // of the certificate
	Token     = "token"  // a token was made
	Suspend   = "suspend"
	Resume    = "resume"
	Resync    = "resync"
	Revoke    = "revoke"
	Command   = "command" // to one agent
	Renew     = "renew"   // a request for another certificate
	Approve   = "approve" // of such a request, by a person
	Reject    = "reject"
)

// Results that are not the code of a refusal.
const (
	OK       = "ok"
	Unknown  = "unknown"  // no answer, or one that says nothing of what was done
	Pending  = "pending"  // of a renewal: a person is to decide
	Rejected = "rejected" // of a renewal: it will come to nothing
)

// Op is one request: it took effect, if it did, at some instant between Begin and
// End, or after End when the result is Unknown.
type Op struct {
	Kind       string        `json:"kind"`
	Device     string        `json:"device,omitempty"`
	Enrollment string        `json:"enrollment,omitempty"`
	Token      string        `json:"token,omitempty"` // its note, which only one has
	Uses       int           `json:"uses,omitempty"`
	Epoch      string        `json:"epoch,omitempty"`
	Counter    int64         `json:"counter,omitempty"`
	Shown      string        `json:"shown,omitempty"`   // the certificate, by the request that it came of; that of the enrollment has none
	Request    string        `json:"request,omitempty"` // of a renewal
	Issued     string        `json:"issued,omitempty"`  // fingerprint of what came of it
	Command    string        `json:"command,omitempty"` // its id
	Reason     string        `json:"reason,omitempty"`  // of an act; no two have the same
	Node       int           `json:"node"`
	Begin      time.Duration `json:"begin"` // since the run began
	End        time.Duration `json:"end"`
	Result     string        `json:"result"`
	Text       string        `json:"text,omitempty"` // why it is not known
}

// Snapshot is what an agent's journal said at an instant.
type Snapshot struct {
	Agent    string        `json:"agent"`
	At       time.Duration `json:"at"`
	Counter  int64         `json:"counter"`
	Accepted int64         `json:"accepted"`
	Epoch    string        `json:"epoch"`
	Root     int64         `json:"root"`
	Policy   int64         `json:"policy"`
	Floor    time.Time     `json:"floor"`             // of the device's time
	Slot     string        `json:"slot,omitempty"`    // in use
	Request  string        `json:"request,omitempty"` // of the renewal under way
	Tried    bool          `json:"tried,omitempty"`   // its certificate is shown
	Refusal  string        `json:"refusal,omitempty"`
}

// Log is a file of lines. It is safe for concurrent use.
type Log struct {
	mu   sync.Mutex
	file *os.File
	to   *bufio.Writer
	err  error
}

// Create begins a log.
func Create(path string) (*Log, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &Log{file: f, to: bufio.NewWriter(f)}, nil
}

// Add writes a line. What goes wrong is told by Close.
func (l *Log) Add(v any) {
	data, err := json.Marshal(v)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		_, err = l.to.Write(append(data, '\n'))
	}
	l.err = errors.Join(l.err, err)
}

// Close ends the log.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.err, l.to.Flush(), l.file.Close())
}

// Read reads a log of such lines.
func Read[T any](path string) ([]T, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var list []T
	for d := json.NewDecoder(bufio.NewReader(f)); ; {
		var v T
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, len(list)+1, err)
		}
		list = append(list, v)
	}
}
