package command

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

const (
	fileName = "commands.jsonl"

	// maxEntries is above what the hourly limits let a week of statements reach.
	maxEntries = 20_000
	// maxFile bounds what is read at start; nothing is begun above three quarters of it.
	maxFile = 64 << 20

	// pruneAt is how many lines have to be of no use any more before the file is
	// written anew, and pruneEvery how often that is looked for.
	pruneAt    = 64
	pruneEvery = time.Hour
	// unreportedFor is how long after its end an outcome that the server never took is
	// kept: longer than anything there is waited for.
	unreportedFor = 7 * 24 * time.Hour
)

// Store is the journal of commands: a file of lines that only grows, until what is
// of no use any more is left out of a new one. Its methods may be called from
// several goroutines.
type Store struct {
	path    string
	journal keeper
	append  func(path string, data []byte, mode fs.FileMode) error // files.Append
	replace func(path string, data []byte, mode fs.FileMode) error // files.Replace

	mu      sync.Mutex
	sure    bool // what is in memory is what the disk holds
	entries map[string]*entry
	begun   int64 // ids ever begun
	pending int   // ids whose outcome the server does not have, so that most heartbeats look no further
	size    int64
	pruned  time.Time
}

// keeper is what a Store needs of the agent's journal.
type keeper interface {
	Dir() string
	State() (journal.State, error)
	Update(change func(*journal.State)) error
}

// entry is what is known of an id.
type entry struct {
	Begun

	at       int64 // where the line of its outcome begins; 0 while it has none
	length   int
	reported bool
}

// OpenStore reads the journal of commands in the state directory, and makes it if
// there never was one. ErrDamaged, ErrNewer.
func OpenStore(j keeper) (*Store, error) {
	s := newStore(j)
	return s, s.load()
}

func newStore(j keeper) *Store {
	return &Store{path: filepath.Join(j.Dir(), fileName), journal: j, append: files.Append, replace: files.Replace}
}

// load brings into memory what the disk holds, after a start and after a write
// that failed.
func (s *Store) load() error {
	state, err := s.journal.State()
	if err != nil {
		return err
	}
	if state.Enrolled == nil {
		return journal.ErrNotEnrolled
	}
	data, err := files.ReadPrivate(s.path, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if state.Enrolled.Commands > 0 {
			return fmt.Errorf("%w: %s is gone", ErrDamaged, s.path)
		}
		return s.start(0)
	case errors.Is(err, files.ErrExposed):
		return fmt.Errorf("%w: %w", journal.ErrLoose, err)
	case isPath(err): // the disk's or the system's, not the file's: it may pass
		return fmt.Errorf("read the journal of commands: %w", err)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	if whole < len(data) { // a crash left part of a line, and nothing was done for it
		if err := s.replace(s.path, data[:whole], 0o600); err != nil {
			return err
		}
	}
	p, err := parse(data[:whole])
	if err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	if p.begun < state.Enrolled.Commands {
		return fmt.Errorf("%w: %s ends at command %d, and %d were begun", ErrDamaged, s.path, p.begun, state.Enrolled.Commands)
	}
	s.entries, s.begun, s.size, s.sure, s.pending = p.entries, p.begun, int64(whole), true, 0
	for _, e := range s.entries {
		if !e.reported {
			s.pending++
		}
	}
	if state.Enrolled.CommandsMade.IsZero() && len(s.entries) > 0 {
		return s.journal.Update(func(state *journal.State) { state.Enrolled.BeginCommand(s.begun, s.latest()) })
	}
	return nil
}

// latest is when the last of the statements that were begun ends: none was made later.
// It stands in for that time after an agent that did not keep it.
func (s *Store) latest() (t time.Time) {
	for _, e := range s.entries {
		if e.NotAfter.After(t) {
			t = e.NotAfter
		}
	}
	return t
}

func isPath(err error) bool {
	_, ok := errors.AsType[*fs.PathError](err)
	return ok
}

// start makes an empty file, of a device that has begun so many.
func (s *Store) start(begun int64) error {
	data, err := (&line{Head: &head{Format: format, Begun: begun}}).write()
	if err != nil {
		return err
	}
	if err := s.replace(s.path, data, 0o600); err != nil {
		return fmt.Errorf("make the journal of commands: %w", err)
	}
	s.entries, s.begun, s.size, s.sure, s.pending = map[string]*entry{}, begun, int64(len(data)), true, 0
	return nil
}

// parsed is a file's content.
type parsed struct {
	entries map[string]*entry
	begun   int64
}

// parse reads whole lines. Anything that the agent would not have written is
// ErrDamaged: passing over it could make something be done again.
func parse(data []byte) (*parsed, error) {
	p := &parsed{entries: map[string]*entry{}}
	kept, at := int64(0), 0
	for n := 0; at < len(data); n++ {
		length := bytes.IndexByte(data[at:], '\n')
		if length < 0 {
			return nil, fmt.Errorf("%w: its last line has no end", ErrDamaged)
		}
		raw := data[at : at+length]
		if n == 0 {
			h, err := readHead(raw)
			if err != nil {
				return nil, err
			}
			p.begun, kept = h.Begun, h.Kept
		} else if err := p.add(raw, at, &kept); err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		at += length + 1
	}
	if at == 0 || kept != 0 {
		return nil, fmt.Errorf("%w: lines are missing", ErrDamaged)
	}
	return p, nil
}

// readHead looks at the format first: a newer one may have more in it.
func readHead(raw []byte) (*head, error) {
	var probe struct {
		Head struct {
			Format int `json:"format"`
		} `json:"head"`
	}
	if _, rest, ok := bytes.Cut(raw, []byte{' '}); ok && protocol.DecodeTolerant(rest, &probe) == nil && probe.Head.Format > format {
		return nil, fmt.Errorf("%w (format %d, this one knows %d)", ErrNewer, probe.Head.Format, format)
	}
	l, err := readLine(raw)
	if err != nil {
		return nil, err
	}
	if l.Head == nil || l.Head.Format != format || l.Head.Begun < 0 || l.Head.Kept < 0 || l.Head.Kept > l.Head.Begun {
		return nil, fmt.Errorf("%w: it does not begin as one", ErrDamaged)
	}
	return l.Head, nil
}

// add takes one line. kept counts down the ids that were taken over from a file
// before; those that follow have the numbers that follow.
func (p *parsed) add(raw []byte, at int, kept *int64) error {
	l, err := readLine(raw)
	if err != nil {
		return err
	}
	switch {
	case l.Begun != nil:
		b := l.Begun
		switch {
		case p.entries[b.ActionID] != nil:
			return fmt.Errorf("%w: an id was begun twice", ErrDamaged)
		case len(p.entries) >= maxEntries:
			return fmt.Errorf("%w: too many ids", ErrDamaged)
		case *kept > 0 && b.Nth <= p.begun:
			*kept--
		case *kept == 0 && b.Nth == p.begun+1:
			p.begun++
		default:
			return fmt.Errorf("%w: lines are missing", ErrDamaged)
		}
		p.entries[b.ActionID] = &entry{Begun: *b}
	case l.Ended != nil:
		e := p.entries[l.Ended.ActionID]
		if e == nil || e.at != 0 || e.Digest != l.Ended.StatementDigest {
			return fmt.Errorf("%w: an outcome of nothing that was begun, or a second one", ErrDamaged)
		}
		e.at, e.length = int64(at), len(raw)
	case l.Reported != "":
		e := p.entries[l.Reported]
		if e == nil || e.at == 0 {
			return fmt.Errorf("%w: something was reported that has not ended", ErrDamaged)
		}
		e.reported = true
	default:
		return fmt.Errorf("%w: a second first line", ErrDamaged)
	}
	return nil
}

// sureOf makes memory and disk agree after a write that failed.
func (s *Store) sureOf() error {
	if s.sure {
		return nil
	}
	return s.load()
}

// add appends a line durably, and returns where it begins.
func (s *Store) add(l *line) (at int64, length int, err error) {
	data, err := l.write()
	if err != nil {
		return 0, 0, err
	}
	s.sure = false
	if err := s.append(s.path, data, 0o600); err != nil {
		return 0, 0, fmt.Errorf("store in the journal of commands: %w", err)
	}
	s.sure = true
	at = s.size
	s.size += int64(len(data))
	return at, len(data) - 1, nil
}

// Known says whether an id was begun, and whether it has ended.
func (s *Store) Known(id string) (begun, ended bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.sureOf(); err != nil {
		return false, false, err
	}
	e := s.entries[id]
	return e != nil, e != nil && e.at != 0, nil
}

// Past is what Judge asks.
func (s *Store) Past() Past {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Past{Begun: s.begunSince, Full: len(s.entries) >= maxEntries || s.size > maxFile/4*3}
}

// begunSince counts what has a later time too: a clock that was set back makes
// room for nothing.
func (s *Store) begunSince(kind string, since time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, e := range s.entries {
		if e.Kind == kind && e.At.After(since) {
			n++
		}
	}
	return n
}

var errKnown = errors.New("it was begun before")

// Begin writes down that a statement is about to be done. Only after it returned
// without an error may anything be done for it.
func (s *Store) Begin(c *signing.CommandStatement, digest, bootID string, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.sureOf(); err != nil {
		return err
	}
	if s.entries[c.ActionID] != nil {
		return errKnown
	}
	b := Begun{
		Nth: s.begun + 1, ActionID: c.ActionID, Digest: digest, Kind: c.Kind,
		At: now.UTC().Truncate(time.Microsecond), NotAfter: c.NotAfter, BootID: bootID,
	}
	if _, _, err := s.add(&line{Begun: &b}); err != nil {
		return err
	}
	s.entries[b.ActionID] = &entry{Begun: b}
	s.begun = b.Nth
	s.pending++
	// So that a file that is put back or lost is noticed.
	return s.journal.Update(func(state *journal.State) { state.Enrolled.BeginCommand(b.Nth, c.NotBefore) })
}

// End writes down what became of an id. The first outcome stays.
func (s *Store) End(r signing.CommandResult) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.sureOf(); err != nil {
		return err
	}
	e := s.entries[r.ActionID]
	if e == nil || e.at != 0 {
		return nil
	}
	at, length, err := s.add(&line{Ended: &r})
	if err != nil {
		return err
	}
	e.at, e.length = at, length
	return nil
}

// Reported writes down that the server has an outcome for good.
func (s *Store) Reported(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.sureOf(); err != nil {
		return err
	}
	e := s.entries[id]
	if e == nil || e.at == 0 || e.reported {
		return nil
	}
	if _, _, err := s.add(&line{Reported: id}); err != nil {
		return err
	}
	e.reported = true
	s.pending--
	return nil
}

// Result reads the outcome of an id that has ended.
func (s *Store) Result(id string) (*signing.CommandResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.sureOf(); err != nil {
		return nil, err
	}
	e := s.entries[id]
	if e == nil || e.at == 0 {
		return nil, fmt.Errorf("%w: no outcome", ErrDamaged)
	}
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	raw := make([]byte, e.length)
	if _, err := f.ReadAt(raw, e.at); err != nil {
		return nil, err
	}
	l, err := readLine(raw)
	if err != nil {
		return nil, err
	}
	if l.Ended == nil || l.Ended.ActionID != id {
		return nil, fmt.Errorf("%w: an outcome is not where it was", ErrDamaged)
	}
	return l.Ended, nil
}

// Open lists the ids that were begun and have not ended, the oldest first.
func (s *Store) Open() []Begun {
	return s.list(func(e *entry) bool { return e.at == 0 })
}

// Unreported lists the ids whose outcome the server does not have, the oldest
// first.
func (s *Store) Unreported() []Begun {
	return s.list(func(e *entry) bool { return e.at != 0 && !e.reported })
}

func (s *Store) list(of func(*entry) bool) []Begun {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Begun
	if s.pending == 0 {
		return nil
	}
	for _, e := range s.entries {
		if of(e) {
			list = append(list, e.Begun)
		}
	}
	slices.SortFunc(list, func(a, b Begun) int { return int(a.Nth - b.Nth) })
	return list
}
