package keysource

import (
	"errors"
	"sync"
	"time"
)

const (
	// atOnce bounds how often one program runs at a time: each is a process. Every
	// program has as many, so that one that hangs takes none from the others.
	atOnce = 8
	// inLine bounds who waits for one program: whoever comes when so many do would not
	// be served in time by a program that takes a third of a second.
	inLine = 256
)

var (
	// ErrBusy says that as many signatures as may wait for the program did so.
	ErrBusy = errors.New("too many signatures were asked for at once; try again")
	// ErrResting says that the program answered nobody for as long as one answer may
	// take. It is left alone for some seconds, then asked by one who finds out.
	ErrResting = errors.New("it gave no answer in time and is left alone for some seconds; look at what it waits for, then try again")
)

// line is who waits for one program. While that hangs, nobody does but one: what needs
// a signature is told at once that there is none now, rather than late.
type line struct {
	gate chan struct{} // held while it runs

	mu      sync.Mutex
	waiting int       // those whose program runs included
	answers uint64    // how often it answered, whatever it said
	rests   time.Time // until when it is left alone; zero: it answers
	tried   bool      // somebody finds out whether it answers again
}

// place is a place in a line. Whoever has one leaves.
type place struct {
	l       *line
	tries   bool   // finds out whether the program answers again
	answers uint64 // of the line, on coming
}

func newLine() *line { return &line{gate: make(chan struct{}, atOnce)} }

// enter takes a place. ErrResting and ErrBusy say that there is none.
func (l *line) enter(now time.Time) (*place, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	tries := !l.rests.IsZero()
	switch {
	case tries && (l.tried || now.Before(l.rests)):
		return nil, ErrResting
	case l.waiting >= inLine:
		return nil, ErrBusy
	}
	l.tried = tries
	l.waiting++
	return &place{l, tries, l.answers}, nil
}

// goOn is ErrResting when the program turned out to hang since the place was taken.
func (p *place) goOn() error {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	if !p.tries && !p.l.rests.IsZero() {
		return ErrResting
	}
	return nil
}

// answered notes that the program answered, whatever it said.
func (p *place) answered() {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	p.l.answers++
	p.l.rests = time.Time{}
}

// silent notes that the program was ended without an answer. It hangs if it answered
// nobody else meanwhile either: one that is slow once is no reason to refuse everybody.
func (p *place) silent(now time.Time) {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	if p.answers == p.l.answers {
		p.l.rests = now.Add(restFor)
	}
}

// leave gives the place back.
func (p *place) leave() {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	p.l.waiting--
	if p.tries {
		p.l.tried = false
	}
}
