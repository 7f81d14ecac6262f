package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/pins"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/renew"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// disk is what lies in the state directory, read once.
type disk struct {
	hung  error // nothing below was read
	dir   string
	mode  fs.FileMode
	owner int // -1 where there is none, or no directory
	self  int

	dirErr   error // why the directory is not the agent's alone
	holder   int   // the process that holds it, 0 if none is seen
	state    journal.State
	stateErr error
	leaf     *x509.Certificate
	idErr    error // of key and certificate
	pins     *pins.Pins
	pinsErr  error
	space    space
	spaceErr error
}

// space is what is left on the file system.
type space struct {
	free     uint64 // bytes, for who asks
	noFiles  bool   // no further file can be made
	readOnly bool
}

func readDisk(dir string, now time.Time) disk {
	d := disk{dir: dir, owner: -1, self: -1}
	if info, err := os.Lstat(dir); err == nil {
		d.mode = info.Mode()
		d.owner, d.self = owner(info)
	}
	d.dirErr = journal.CheckDir(dir)
	d.holder = journal.Holder(dir)
	if d.state, d.stateErr = journal.Read(dir); d.stateErr == nil {
		d.readDevice(now)
	}
	d.space, d.spaceErr = readSpace(existing(dir))
	return d
}

func (d *disk) readDevice(now time.Time) {
	id, err := identity.Load(d.dir)
	if d.idErr = err; err == nil {
		d.leaf = id.Leaf
	}
	if d.state.Enrolled != nil {
		d.pins, d.pinsErr = pins.Load(d.dir, d.state.Enrolled, now)
	}
}

// existing is the directory, or the nearest one above it that is there.
func existing(dir string) string {
	for {
		_, err := os.Stat(dir)
		up := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || up == dir {
			return dir
		}
		dir = up
	}
}

// time is the device's, as the agent judges by it.
func (d *disk) time(clock time.Time) time.Time {
	if d.state.Enrolled == nil {
		return clock
	}
	return d.state.Enrolled.Now(clock)
}

func lookAtDirectory(ctx context.Context, s *subject) Result {
	dir, now := s.Config.StateDir, s.now
	d, err := within(ctx, func() disk { return readDisk(dir, now) })
	if err != nil {
		d = disk{hung: err, dir: dir, stateErr: err}
	}
	s.disk = d
	return judgeDirectory(&s.disk)
}

func judgeDirectory(d *disk) Result {
	switch {
	case d.hung != nil:
		return fail(fmt.Sprintf("%s cannot be read: %v", d.dir, d.hung), "move it to a local disk, with --state-dir")
	case errors.Is(d.dirErr, journal.ErrNotEnrolled):
		return warn("there is no "+d.dir+" yet", "enroll the device: sentinel-agent enroll --help; or name the right one with --state-dir")
	case errors.Is(d.dirErr, fs.ErrPermission), d.dirErr != nil && d.owner == 0 && d.self > 0:
		return fail(d.dir+" is root's, and this does not run as root", "run it as root: sudo sentinel-agent doctor")
	case d.dirErr != nil:
		return fail(d.dirErr.Error(), app.Advise(d.dirErr))
	}
	held := "no running agent is seen to hold it"
	if d.holder != 0 {
		held = fmt.Sprintf("process %d holds it", d.holder)
	}
	if d.owner < 0 { // access lists decide, and were judged
		return ok("%s is the agent's alone; %s", d.dir, held)
	}
	return ok("%s is the agent's alone (mode %04o, uid %d); %s", d.dir, d.mode.Perm(), d.owner, held)
}

func judgeJournal(d *disk) Result {
	switch s := &d.state; {
	case errors.Is(d.stateErr, journal.ErrNotEnrolled):
		return warn(journal.ErrNotEnrolled.Error(), app.Advise(d.stateErr))
	case d.stateErr != nil && (d.hung != nil || d.dirErr != nil):
		return skipped("nothing is read from that state directory")
	case d.stateErr != nil:
		return fail(d.stateErr.Error(), app.Advise(d.stateErr))
	case s.Enrolled == nil:
		return warn(fmt.Sprintf("enrolling as %s since %s; not approved yet", s.DeviceID, stamp(s.StartedAt)), app.Advise(app.ErrUnfinished))
	default:
		return ok("enrolled as %s since %s; counter %d was used last", s.DeviceID, stamp(s.Enrolled.At), s.Enrolled.Counter)
	}
}

// enrolled says why a check-up of an enrolled device has nothing to look at.
func (d *disk) enrolled() (why string, is bool) {
	switch {
	case errors.Is(d.stateErr, journal.ErrNotEnrolled):
		return "the device is not enrolled", false
	case d.stateErr != nil:
		return "the journal cannot be read", false
	case d.state.Enrolled == nil:
		return "the enrollment is not finished", false
	}
	return "", true
}

// advise is what the agent says of a refusal with this code.
func advise(code protocol.Code) string {
	return app.Advise(&link.RefusalError{Problem: protocol.Problem{Code: code}})
}

func judgeIdentity(d *disk, clock time.Time) Result {
	if why, is := d.enrolled(); !is {
		return skipped(why)
	}
	if d.idErr != nil {
		return fail(d.idErr.Error(), app.Advise(d.idErr))
	}
	now, c := d.time(clock), d.leaf
	due, left := renew.Due(c), c.NotAfter.Sub(now)
	switch {
	case !d.state.Outside && c.Subject.CommonName != d.state.DeviceID:
		return fail("the certificate is of "+c.Subject.CommonName+", the journal of "+d.state.DeviceID, advise(protocol.CodeIdentityMismatch))
	case left < 0 && d.state.Enrolled.Closed != nil:
		return fail(fmt.Sprintf("they match; the certificate EXPIRED at %s, and there is no way back (%s)", stamp(c.NotAfter), d.state.Enrolled.Closed.Code),
			advise(d.state.Enrolled.Closed.Code))
	case left < 0 && d.state.Outside:
		return fail(fmt.Sprintf("they match; the certificate EXPIRED at %s, %s ago", stamp(c.NotAfter), span(left)),
			"get another one from the authority that issued it, into the same files; the agent takes it over, and a reviewer lets it in")
	case left < 0:
		return fail(fmt.Sprintf("they match; the certificate EXPIRED at %s, %s ago", stamp(c.NotAfter), span(left)), advise(protocol.CodeCertificateExpired))
	case now.Before(c.NotBefore):
		return fail("the certificate is not valid before "+stamp(c.NotBefore), "set this device's clock")
	case d.state.Outside:
		return ok("they match; valid until %s (%s left), from another authority, which renews it", stamp(c.NotAfter), span(left))
	case app.Barred(d.state.Enrolled) != "": // what to do about it stands at the last heartbeat
		return ok("they match; valid until %s (%s left), and not renewed while the device is %s", stamp(c.NotAfter), span(left), app.Barred(d.state.Enrolled))
	case !now.Before(due):
		return warn(fmt.Sprintf("they match; valid until %s (%s left), and not renewed, which is due since %s", stamp(c.NotAfter), span(left), stamp(due)),
			"keep the agent running where it reaches the server: it renews the certificate by itself, and logs what the server says of it")
	}
	return ok("they match; valid until %s (%s left), the agent renews it at %s", stamp(c.NotAfter), span(left), stamp(due))
}

// bundleSoon is when a bundle that nobody replaced is worth a word.
const bundleSoon = 72 * time.Hour

func judgePins(d *disk, clock time.Time) Result {
	if why, is := d.enrolled(); !is {
		return skipped(why)
	}
	if d.pinsErr != nil {
		return fail(d.pinsErr.Error(), app.Advise(d.pinsErr))
	}
	e, b := d.state.Enrolled, d.pins.Bundle
	found := fmt.Sprintf("verified: root version %d, policy version %d until %s", e.Root.Version, b.Version, stamp(b.ExpiresAt))
	left := b.ExpiresAt.Sub(d.time(clock))
	switch {
	case d.pins.Lapsed || left <= 0:
		return warn(found+", which is over: only harmless commands are taken", "ask an operator whether devices get a new policy bundle")
	case left < bundleSoon:
		return warn(fmt.Sprintf("%s (%s left)", found, span(left)), "ask an operator whether devices get a new policy bundle")
	case e.FirstUse:
		return warn(found+"; the root was trusted on first use", "compare its digest with the operator's: "+e.FirstRoot)
	}
	return ok("%s; the root was given when it enrolled", found)
}

const (
	lateAfter   = 3               // intervals without an accepted heartbeat
	lateAtLeast = 5 * time.Minute // a device may just have woken
	goneAfter   = 24 * time.Hour
)

func judgeHeartbeat(d *disk, clock time.Time) Result {
	if why, is := d.enrolled(); !is {
		return skipped(why)
	}
	e := d.state.Enrolled
	last := "none was accepted yet"
	if e.Accepted != nil {
		last = fmt.Sprintf("number %d was accepted at %s", e.Accepted.Counter, stamp(e.Accepted.At))
	}
	if e.Refusal != nil {
		return fail(fmt.Sprintf("the server refuses (%s) since %s; %s", e.Refusal.Code, stamp(e.Refusal.At), last), advise(e.Refusal.Code))
	}
	if e.Accepted == nil {
		return warn(last, "start the agent: "+app.Start(d.dir))
	}
	age := d.time(clock).Sub(e.Accepted.At)
	interval := time.Duration(e.Interval) * time.Second
	switch {
	case age > goneAfter:
		return fail(fmt.Sprintf("%s, %s ago", last, span(age)), "see whether the agent runs, and what is said below of the way to the server")
	case age > max(lateAfter*interval, lateAtLeast):
		return warn(fmt.Sprintf("%s, %s ago; one is due every %s", last, span(age), interval), "see whether the agent runs, and what is said below of the way to the server")
	case age < -lateAtLeast:
		return warn(last+", which is yet to come by this device's clock", "set this device's clock")
	}
	return ok("%s, %s ago", last, span(age))
}

const (
	spaceNeeded = 1 << 20  // a journal, its successor, and a certificate: with much to spare
	spaceFine   = 64 << 20 // what others on the disk may use up soon
)

func judgeSpace(d *disk) Result {
	const makeRoom = "make room on the file system of the state directory"
	free := fmt.Sprintf("%d MiB free", d.space.free>>20)
	switch {
	case d.hung != nil:
		return skipped("the state directory cannot be read")
	case errors.Is(d.spaceErr, errors.ErrUnsupported):
		return skipped("not told on this system")
	case d.spaceErr != nil:
		return warn(d.spaceErr.Error(), "run it as root, or as an administrator")
	case d.space.readOnly:
		return fail("the file system is mounted read-only: no counter can be stored, and no heartbeat sent", "mount it writable; look in the kernel's log for why it is not")
	case d.space.noFiles:
		return fail("no file can be made: every inode is used", makeRoom)
	case d.space.free < spaceNeeded:
		return fail(free+": no counter can be stored, and no heartbeat sent", makeRoom)
	case d.space.free < spaceFine:
		return warn(free, makeRoom)
	}
	return ok("%s", free)
}
