package simulation

import (
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/simtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// server is the one node and its machine.
type server struct {
	dir                     string
	node                    *simtest.Node // nil while it is down
	generation              int           // of the process: connections of another are gone
	skew                    time.Duration
	crashing                bool
	fingerprint, rootDigest string
	backups                 []backup
	restores                int
	foreign                 signing.Signer // a command key that no bundle lists
}

type backup struct{ dir string }

func (s *server) begin(w *World, from string) error {
	s.dir = filepath.Join(w.dir, "server")
	if err := simtest.Copy(s.dir, filepath.Join(from, "server")); err != nil {
		return err
	}
	if err := s.open(w); err != nil {
		return err
	}
	s.fingerprint = s.node.CAFingerprint()
	var err error
	if s.rootDigest, err = s.node.RootDigest(); err != nil {
		return err
	}
	first, err := s.node.Bundle()
	if err != nil {
		return err
	}
	w.commands.bundles = append(w.commands.bundles, first)
	if s.foreign, _, err = signing.GenerateEd25519(signing.PurposeCommand); err != nil {
		return err
	}
	w.after(10*time.Second, func() { s.upkeep(w) })
	w.after(5*time.Second, func() { s.working(w) })
	return nil
}

func (s *server) open(w *World) error {
	n, err := simtest.Open(w.ctx, simtest.Options{
		Dir: s.dir, Now: func() time.Time { return w.time(s.skew) },
		Begin: w.beginTx, Commit: w.commitTx, Life: w.faults.life, Review: w.faults.reviewRenewals,
	})
	if err != nil {
		return err
	}
	s.node = n
	s.generation++
	w.oracle.look(w)
	return nil
}

func (s *server) close() {
	if s.node != nil {
		_ = s.node.Close()
		s.node = nil
	}
}

// upkeep is a round of what the server does by itself, as often as it does it.
func (s *server) upkeep(w *World) {
	if s.node != nil {
		p := w.spawn(ofServer, "upkeep", func(*process) { s.node.Upkeep(w.ctx) })
		w.resume(p, nil)
	}
	every := 30 * time.Second // not 10, as in life: most rounds find nothing to do
	if w.quiet {              // of the hours that it then takes nothing new comes
		every = 5 * time.Minute
	}
	w.after(every, func() { s.upkeep(w) })
}

// crash ends the server's process, with everything that it was about to do.
func (s *server) crash(w *World, why string) {
	if s.node == nil {
		return
	}
	w.tellf("server: down (%s)", why)
	for _, p := range slices.Clone(w.processes) {
		if p.kind == ofServer {
			w.kill(p)
		}
	}
	s.close()
}

// start starts the process again.
func (s *server) start(w *World) {
	if s.node != nil {
		return
	}
	if err := s.open(w); err != nil {
		w.failf("the server does not start: %v", err)
		return
	}
	w.tellf("server: up")
}

// afterEvent carries out a crash that began inside a transaction.
func (s *server) afterEvent(w *World) {
	if s.crashing {
		s.crashing = false
		s.crash(w, "in a commit")
		w.after(w.between(time.Second, 90*time.Second), func() { s.start(w) })
	}
}

// restore puts an earlier database in place, and says so, as the guide tells.
func (s *server) restore(w *World, nth int) {
	s.crash(w, "to be restored")
	if err := simtest.Restore(s.dir, s.backups[nth].dir); err != nil {
		w.failf("restore: %v", err)
		return
	}
	s.restores++
	w.oracle.restored()
	if err := simtest.MarkRestored(w.ctx, s.dir, func() time.Time { return w.time(s.skew) }); err != nil {
		w.failf("mark-restored: %v", err)
		return
	}
	w.tellf("server: restored from backup %d", nth)
	w.after(w.between(time.Second, time.Minute), func() { s.start(w) })
}

func (s *server) backup(w *World) {
	b := backup{filepath.Join(w.dir, "backup-"+strconv.Itoa(len(s.backups)))}
	if err := simtest.Backup(b.dir, s.dir); err != nil {
		w.failf("backup: %v", err)
		return
	}
	s.backups = append(s.backups, b)
	w.tellf("server: backup %d", len(s.backups)-1)
}

var (
	errBegin   = errors.New("simulated: the database does not answer")
	errCommit  = errors.New("simulated: the commit failed")
	errUnknown = errors.New("simulated: the connection broke in the commit")
)

// beginTx stands before each attempt of a transaction.
func (w *World) beginTx() error {
	p := w.current
	if p == nil || p.kind != ofServer { // a start, or a handshake: it makes the listener's own certificate
		return nil
	}
	if !w.quiet && w.chance(w.faults.beginFails) {
		w.tellf("%s: a transaction does not begin", p.name)
		return errBegin
	}
	w.pause(p)
	return nil
}

// pause lets others run between two transactions.
func (w *World) pause(p *process) {
	if w.chance(w.faults.pause) {
		p.yield(sleeping{w.clock + w.between(0, 400*time.Millisecond).Microseconds()})
	}
}

// commitTx stands around each commit.
func (w *World) commitTx(commit func() error) error {
	p := w.current
	if p == nil || p.kind != ofServer || w.quiet {
		return w.committed(commit())
	}
	switch f := w.faults; {
	case w.chance(f.commitFails):
		w.tellf("%s: a commit fails", p.name)
		return errCommit
	case w.chance(f.again):
		w.tellf("%s: a transaction runs again", p.name)
		return simtest.ErrSerialization
	case w.chance(f.crashInCommit):
		if w.chance(0.5) {
			if err := w.committed(commit()); err != nil {
				return err
			}
		}
		w.server.crashing = true
		runtime.Goexit()
	case w.chance(f.commitUnknown):
		if err := w.committed(commit()); err != nil {
			return err
		}
		w.tellf("%s: a commit is not known to have been done", p.name)
		return errUnknown
	}
	if err := w.committed(commit()); err != nil {
		return err
	}
	w.pause(p)
	return nil
}

// committed has the oracle look at what was just committed.
func (w *World) committed(err error) error {
	if err == nil && w.server.node != nil {
		w.oracle.look(w)
	}
	return err
}
