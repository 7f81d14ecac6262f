package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// How many enrollments are under way at once, and how many of those may send or
// compute: the others wait for their next poll. A crowd of the first size would
// queue at the server for longer than it waits for its database.
const (
	enrolling = 2000
	active    = 24
	patience  = time.Hour // for the reviewer
	tellEvery = 5 * time.Second
)

// enrollAll enrolls what the directory does not hold, or goes on with it.
func (f *fleet) enrollAll(ctx context.Context, r *report) error {
	if err := os.MkdirAll(f.dirOf(""), 0o700); err != nil {
		return err
	}
	var missing []string
	for i := range f.options.devices {
		id := deviceID(f.prefix, i+1)
		if s, err := journal.Read(f.dirOf(id)); err != nil || s.Enrolled == nil {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	begin := time.Now()
	var done atomic.Int64
	var telling sync.WaitGroup
	defer telling.Wait() // after cancel: nobody writes once this returns
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	telling.Go(func() { f.tell(ctx, &done, len(missing)) })
	places, slots := make(chan struct{}, enrolling), make(chan struct{}, active)
	var all sync.WaitGroup
	for _, id := range missing {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		all.Go(func() {
			defer func() { <-places }()
			if err := f.enroll(ctx, id, slots); err != nil {
				cancel(fmt.Errorf("%w: %s: %w", errEnroll, id, err)) // the others would meet the same
				return
			}
			done.Add(1)
		})
	}
	all.Wait()
	if n := int(done.Load()); n < len(missing) {
		if cause := context.Cause(ctx); errors.Is(cause, errEnroll) {
			return cause
		}
		return fmt.Errorf("%w: %d of %d", errEnroll, n, len(missing))
	}
	took := time.Since(begin).Seconds()
	r.Enrolled, r.EnrollSeconds, r.EnrolledPerSecond = len(missing), took, float64(len(missing))/took
	return nil
}

// enroll is one device's, as its own process would do it. It holds a slot except
// while it waits.
func (f *fleet) enroll(ctx context.Context, id string, slots chan struct{}) error {
	slots <- struct{}{}
	defer func() { <-slots }()
	connections := newLine()
	defer connections.dropAll()
	_, err := enroll.Run(ctx, enroll.Options{
		Dir: f.dirOf(id), Server: f.server, Token: f.token, CAFingerprint: f.fingerprint, FirstRoot: f.fleetRoot, DeviceID: id,
		Wait: patience, Facts: factsOf(id), Dial: connections.dial,
		Now: time.Now, Random: rand.Float64, Out: io.Discard,
		Sleep: func(ctx context.Context, d time.Duration) error {
			<-slots
			defer func() { slots <- struct{}{} }()
			if pause(ctx, d, nil) == ended {
				return ctx.Err()
			}
			return nil
		},
	})
	if errors.Is(err, enroll.ErrEnrolled) {
		return nil
	}
	return err
}

func factsOf(id string) protocol.Facts {
	return protocol.Facts{"os": "linux", "arch": "amd64", "hostname": id, "os_version": "Debian GNU/Linux 12 (bookworm)"}
}

// tell says how far the enrolling is, until it is over.
func (f *fleet) tell(ctx context.Context, done *atomic.Int64, of int) {
	for pause(ctx, tellEvery, nil) == waited {
		_, _ = fmt.Fprintf(f.progress, "enrolled %d of %d\n", done.Load(), of)
	}
}
