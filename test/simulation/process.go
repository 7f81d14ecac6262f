package simulation

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
)

// process is a goroutine that runs only while the scheduler waits for it.
type process struct {
	w     *World
	name  string
	kind  kind
	in    chan any
	out   chan any
	ended bool
	agent *agent // whose process it is, if it is one
	lost  func() // when it ends before it was done: its machine went away
}

type kind int

const (
	ofAgent kind = iota
	ofServer
)

// What a process gives way with.
type (
	sleeping struct{ until int64 } // virtual time
	sending  struct {
		c    *connection
		path string
		body []byte
	}
	crashed struct{} // its machine: it is not resumed
	exited  struct{ panicked any }
)

// killed resumes a process whose machine is gone.
type killed struct{}

// spawn makes a process; it does nothing before it is resumed.
func (w *World) spawn(k kind, name string, f func(p *process)) *process {
	p := &process{w: w, name: name, kind: k, in: make(chan any), out: make(chan any)}
	go func() {
		var e exited
		defer func() { p.out <- e }()
		defer func() {
			if r := recover(); r != nil {
				e.panicked = fmt.Sprintf("%v\n%s", r, debug.Stack())
			}
		}()
		if _, dead := (<-p.in).(killed); dead {
			return
		}
		f(p)
	}()
	w.processes = append(w.processes, p)
	return p
}

// yield gives way, and returns what the scheduler resumes with. In a process that
// was killed it does not return.
func (p *process) yield(why any) any {
	p.out <- why
	with := <-p.in
	if _, dead := with.(killed); dead {
		runtime.Goexit()
	}
	return with
}

// resume lets a process run until it gives way, and does what it asks for.
func (w *World) resume(p *process, with any) {
	if p.ended {
		return
	}
	before := w.current
	w.current = p
	p.in <- with
	why := <-p.out
	w.current = before
	switch why := why.(type) {
	case sleeping:
		if p.kind == ofAgent {
			w.oracle.device(w, p)
		}
		w.at(why.until, "", func() { w.resume(p, nil) })
	case sending:
		w.send(p, why)
	case crashed:
		w.kill(p)
	case exited:
		w.gone(p)
		if why.panicked != nil {
			w.failf("%s panicked: %v", p.name, why.panicked)
		}
	}
}

// kill ends a process where it stands.
func (w *World) kill(p *process) {
	for !p.ended {
		p.in <- killed{}
		if _, over := (<-p.out).(exited); over {
			w.gone(p)
		}
	}
}

func (w *World) gone(p *process) {
	p.ended = true
	w.processes = slices.DeleteFunc(w.processes, func(o *process) bool { return o == p })
	if p.lost != nil {
		p.lost()
	}
}
