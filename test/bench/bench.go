package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// bench is a run: its places, its fleet, and what it found.
type bench struct {
	plan     *plan
	progress io.Writer
	dir      string // of servers, on a disk
	sims     string // of devices, in memory where there is such a place
	began    time.Time
	postgres *postgresServer
	started  []*process
	fleets   map[int]*fleet
	figures  []*figure
	notes    []string
	sites    int
	large    map[string][2]*site // by database, see onLarge
}

func newBench(ctx context.Context, p *plan, progress io.Writer) (b *bench, err error) {
	for _, name := range []string{"sentinel-server", "sentinel-agent", "fleetsim"} {
		if _, err := os.Stat(filepath.Join(p.bin, name)); err != nil {
			return nil, fmt.Errorf("there is no %s; run: make build fleetsim", filepath.Join(p.bin, name))
		}
	}
	b = &bench{plan: p, progress: progress, began: time.Now(), fleets: map[int]*fleet{}, large: map[string][2]*site{}}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.dir, err = os.MkdirTemp("", "sentinel-bench-"); err != nil {
		return nil, err
	}
	memory := "/dev/shm"
	if info, err := os.Stat(memory); err != nil || !info.IsDir() {
		memory = ""
	}
	if b.sims, err = os.MkdirTemp(memory, "sentinel-bench-"); err != nil {
		return nil, err
	}
	for _, d := range p.databases {
		if d == postgres {
			if b.postgres, err = findPostgres(ctx); err != nil {
				return nil, err
			}
			b.notef("PostgreSQL: %s", b.postgres.about)
		}
	}
	return b, raiseOpenFiles(uint64(2*p.devices + 1000))
}

func (b *bench) close() {
	for _, p := range b.started {
		p.stop()
	}
	if b.postgres != nil {
		b.postgres.close()
	}
	_ = os.RemoveAll(b.dir)
	_ = os.RemoveAll(b.sims)
}

func (b *bench) sayf(format string, args ...any) {
	_, _ = fmt.Fprintf(b.progress, "%7.1f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

func (b *bench) notef(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
}

// eachRound does f for every round of the plan.
func (b *bench) eachRound(ctx context.Context, f func(round int) error) error {
	for round := range b.plan.rounds {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := f(round); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	return nil
}

var errLate = errors.New("it took too long")

// until tries again and again, every few milliseconds.
func until(ctx context.Context, limit, every time.Duration, f func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errLate)
	defer cancel()
	for !f() {
		if !pause(ctx, every) {
			return context.Cause(ctx)
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
