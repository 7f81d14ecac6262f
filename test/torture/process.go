package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a program that is started again and again. It is safe for
// concurrent use.
type process struct {
	name string
	path string
	args []string
	env  []string
	dir  string // for its log and its failpoint

	mu      sync.Mutex
	cmd     *exec.Cmd
	ended   chan struct{}
	stopped bool // by SIGSTOP
	orders  int
}

func (p *process) logPath() string   { return filepath.Join(p.dir, p.name+".log") }
func (p *process) pointPath() string { return filepath.Join(p.dir, p.name+".failpoint") }

// start starts the program; its log grows.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = append(append(os.Environ(), p.env...), "FAILPOINTS="+p.pointPath())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	p.cmd, p.ended, p.stopped = cmd, ended, false
	return nil
}

// signal sends a signal, if the program runs.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(s)
		p.stopped = s == syscall.SIGSTOP
	}
}

// kill ends the program at once, and waits until it is gone.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.gone()
}

// gone is closed when the program has ended.
func (p *process) gone() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended == nil {
		c := make(chan struct{})
		close(c)
		return c
	}
	return p.ended
}

func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// arm arms a failpoint of the program; an empty name disarms.
func (p *process) arm(name string, count int, action string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := ""
	if name != "" {
		p.orders++
		line = fmt.Sprintf("%s %d %s %d\n", name, count, action, p.orders)
	}
	next := p.pointPath() + ".new"
	if err := os.WriteFile(next, []byte(line), 0o600); err != nil {
		return err
	}
	return os.Rename(next, p.pointPath())
}

// dieAt lets the program end itself at a failpoint, and says whether it did in time.
func (p *process) dieAt(name string, count int, limit time.Duration) (bool, error) {
	if err := p.arm(name, count, "kill"); err != nil {
		return false, err
	}
	select {
	case <-p.gone():
		return true, p.arm("", 0, "")
	case <-time.After(limit):
		return false, p.arm("", 0, "")
	}
}

// run runs a program to its end.
func run(path string, env []string, args ...string) (string, error) {
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w\n%s", filepath.Base(path), strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// trouble are the words in a program's log that no kill explains.
var trouble = []string{"panic", "DATA RACE", "fatal error:"}

// troubles reads a program's log for them.
func (p *process) troubles() (found []string) {
	data, err := os.ReadFile(p.logPath())
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		for _, word := range trouble {
			if strings.Contains(line, word) {
				found = append(found, p.name+": "+strings.TrimSpace(line))
			}
		}
	}
	return found
}
