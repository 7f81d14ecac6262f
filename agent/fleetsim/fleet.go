package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
)

var (
	errFiles  = errors.New("too few files may be open at once")
	errEnroll = errors.New("not every device was enrolled")
	errTaken  = errors.New("the server ACCEPTED what a bad device sent")
)

// fleet is one run.
type fleet struct {
	*options
	progress io.Writer
	devices  []*device
	line     *line
	tally    *tally
	forger   *forger
	storming chan struct{} // closed when the storm begins
	slots    chan struct{} // nil: no limit

	mu  sync.Mutex
	cas map[string][]*x509.Certificate // servers' CAs by the digest of the root that names them
}

// run is the whole program.
func (o *options) run(ctx context.Context, out, progress io.Writer) error {
	// A device has one connection; one that enrolls has its journal's lock besides.
	if err := raiseOpenFiles(max(uint64(o.devices), 2*enrolling) + 200); err != nil {
		return fmt.Errorf("%w: %d devices: %w", errFiles, o.devices, err)
	}
	if o.memory {
		dir, err := memoryDir()
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		o.dir = dir
	}
	lock, err := o.lock()
	if err != nil {
		return err
	}
	defer func() { _ = lock.Release() }()
	f := &fleet{
		options: o, progress: progress, line: newLine(), tally: newTally(),
		storming: make(chan struct{}), cas: map[string][]*x509.Certificate{},
	}
	if o.atOnce > 0 {
		f.slots = make(chan struct{}, o.atOnce)
	}
	report := &report{Devices: o.devices}
	if err := f.enrollAll(ctx, report); err != nil {
		return err
	}
	if o.duration == 0 {
		return report.write(out, o.output)
	}
	defer f.close()
	if err := f.open(ctx); err != nil {
		return err
	}
	if err := f.beat(ctx, report); err != nil {
		return err
	}
	if err := report.write(out, o.output); err != nil {
		return err
	}
	if n := report.taken(); n > 0 {
		return fmt.Errorf("%w: %d times", errTaken, n)
	}
	return nil
}

// lock makes the directory and holds all that is in it.
func (o *options) lock() (*files.Lock, error) {
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return nil, err
	}
	return files.Acquire(filepath.Join(o.dir, "fleetsim.lock"))
}

// memoryDir is on a file system in memory where there is one.
func memoryDir() (string, error) {
	base := "/dev/shm"
	if info, err := os.Stat(base); err != nil || !info.IsDir() {
		base = ""
	}
	return os.MkdirTemp(base, "fleetsim-")
}

func (f *fleet) dirOf(id string) string { return filepath.Join(f.dir, "devices", id) }

// open takes hold of all devices. The last share of them is bad.
func (f *fleet) open(ctx context.Context) error {
	f.devices = make([]*device, f.options.devices)
	bad := int(f.bad*float64(len(f.devices)) + 0.5)
	if bad > 0 {
		var err error
		if f.forger, err = newForger(time.Now()); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.NumCPU())
	for i := range f.devices {
		group.Go(func() (err error) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			d, err := f.openDevice(deviceID(f.prefix, i+1))
			if err != nil {
				return err
			}
			if n := i - (len(f.devices) - bad); n >= 0 && len(f.kinds) > 0 {
				d.bad = f.kinds[n%len(f.kinds)]
			}
			f.devices[i] = d
			return nil
		})
	}
	return group.Wait()
}

func (f *fleet) close() {
	for _, d := range f.devices {
		if d != nil {
			d.close()
		}
	}
	f.line.dropAll()
}

// beat has all devices send heartbeats for the duration.
func (f *fleet) beat(ctx context.Context, r *report) error {
	probes, err := startProbes(f.cpuOf)
	if err != nil {
		return err
	}
	begin, own := time.Now(), ownCPU()
	ctx, stop := context.WithTimeout(ctx, f.duration)
	defer stop()
	var all sync.WaitGroup
	for i, d := range f.devices {
		all.Go(func() { d.live(ctx, spread(i, len(f.devices))) })
	}
	if f.storm > 0 {
		all.Go(func() {
			if pause(ctx, f.storm, nil) == waited {
				f.tally.storm.begin(time.Now())
				f.line.dropAll()
				close(f.storming)
			}
		})
	}
	all.Wait()
	took := time.Since(begin)
	r.fill(f, took)
	r.OwnCPU = (ownCPU() - own).Seconds()
	return r.fillCPU(probes, f.tally.answered.Load())
}

// spread is where device i of n begins in its interval, from 0 to 1: all
// through it, as a fleet's do.
func spread(i, n int) float64 { return float64(i) / float64(n) }

// outcome of a pause.
type pauseEnd int

const (
	ended pauseEnd = iota
	waited
	woken
)

// pause waits, and says whether the time, a storm or ctx ended it.
func pause(ctx context.Context, d time.Duration, storm <-chan struct{}) pauseEnd {
	if ctx.Err() != nil {
		return ended
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return waited
	case <-storm:
		return woken
	case <-ctx.Done():
		return ended
	}
}
