package pki

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/status"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// errBehind says that nothing may be told of certificates: the database has
// forgotten something, and that may be a revocation.
var errBehind = errors.New("the database is older than what it acknowledged")

// Served is a revocation list as it is served.
type Served struct {
	AuthorityID            string
	Issuer                 []byte // the authority's certificate, DER
	Fingerprint            string // of that
	Number                 int64
	Entries                int64
	ThisUpdate, NextUpdate time.Time
	DER                    []byte
	Tag                    string // changes with the list
}

// ListSettings are what operators chose.
type ListSettings struct {
	Life  time.Duration // from a list's date to its end
	Every time.Duration // until the next one
}

// Lists keeps a revocation list of each authority that is believed, retired ones
// included, fresh and at hand. A list is made anew in good time, after a revocation at
// once, and at each start; on several nodes whichever comes first makes it, and the
// others take it over. Its number only rises: above the one in the database, above
// the one that this node remembers outside it, and not below the seconds since 1970,
// so that not even the loss of both takes it down.
type Lists struct {
	s        *Service
	marks    *Marks
	settings ListSettings

	wanted atomic.Int64 // rises when there is something new to tell
	kick   chan struct{}

	round sync.Mutex
	made  map[string]int64 // what wanted was when the list of an authority was made

	mu     sync.RWMutex
	served map[string]*Served // by authority_id
	failed error              // of the last round
}

// NewLists makes the lists' keeper; Run keeps them.
func (s *Service) NewLists(marks *Marks, settings ListSettings) *Lists {
	l := &Lists{s: s, marks: marks, settings: settings, kick: make(chan struct{}, 1), made: map[string]int64{}, served: map[string]*Served{}}
	l.wanted.Store(1) // what a node that ended before its round would have told
	s.watchers = append(s.watchers, l.changed)
	return l
}

func (l *Lists) changed() {
	l.wanted.Add(1)
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

const (
	// lookEvery is how often other nodes' lists, and the time, are looked for.
	lookEvery = time.Second
	// restShare keeps long lists from taking the machine when revocations do not end:
	// after a round there is a rest of so many times its length.
	restShare = 10
)

// Run does rounds until ctx ends, and tells what failed.
func (l *Lists) Run(ctx context.Context, failed func(error)) error {
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	for {
		begin := time.Now() //nolint:forbidigo // measures this machine's work
		if err := l.Round(ctx); err != nil && ctx.Err() == nil {
			failed(err)
		}
		rest := time.NewTimer(restShare * time.Since(begin)) //nolint:forbidigo // as above
		select {
		case <-ctx.Done():
			rest.Stop()
			return nil
		case <-rest.C:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.kick:
		case <-every.C:
		}
	}
}

// Round makes the lists that are due, and takes over those that other nodes made.
func (l *Lists) Round(ctx context.Context) error {
	l.round.Lock()
	defer l.round.Unlock()
	err := l.keep(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = err
	return err
}

func (l *Lists) keep(ctx context.Context) error {
	heads, err := listHeads(ctx, l.s.d.Read())
	if err != nil {
		return err
	}
	signers, lost := l.s.signers()
	var failures []error
	for id, err := range lost {
		failures = append(failures, fmt.Errorf("the list of authority %s: its key cannot be opened: %w", id, err))
	}
	believed := map[string]bool{RootList: true}
	for _, a := range signers {
		believed[a.id] = true
		head, ok := heads[a.id]
		due, err := l.due(a.id, head, ok)
		if err == nil && due {
			err = l.make(ctx, a)
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("the list of authority %s: %w", a.id, err))
		}
	}
	if heads, err = listHeads(ctx, l.s.d.Read()); err != nil {
		return errors.Join(append(failures, err)...)
	}
	for id, head := range heads {
		if !believed[id] {
			continue
		}
		if err := l.take(ctx, id, head); err != nil {
			failures = append(failures, fmt.Errorf("the list of authority %s: %w", id, err))
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.served {
		if !believed[id] {
			delete(l.served, id)
		}
	}
	return errors.Join(failures...)
}

// due says whether a list is to be made: there is none, there is something to tell,
// it is old, or it is not from here: dated later than now, or lower than remembered.
func (l *Lists) due(id string, head listRow, there bool) (bool, error) {
	mark, err := l.marks.Of(id)
	now := l.s.d.Now()
	this := head.ThisUpdate.Time()
	return !there || l.made[id] < l.wanted.Load() || head.Number < mark ||
		!now.Before(this.Add(l.settings.Every)) || this.After(now.Add(Backdate)), err
}

// make signs a list and stores it. It is made of what was read after the list before
// it was stored, and stored only in that one's place: so a list with a higher number
// never knows less.
func (l *Lists) make(ctx context.Context, a authority) error {
	wanted := l.wanted.Load()
	in, err := l.s.d.Instance(ctx)
	if err != nil {
		return err
	}
	if in.BehindSince != 0 {
		return errBehind
	}
	before, err := listOf(ctx, l.s.d.Read(), a.id)
	if err != nil {
		return err
	}
	now := l.s.d.Now().Truncate(time.Second)
	row := &listRow{AuthorityID: a.id, Issuer: a.Certificate.Raw, ThisUpdate: db.At(now), NextUpdate: db.At(now.Add(l.settings.Life))}
	// What expired stays until a regular list beyond its end said it (RFC 5280 section
	// 3.3): for one life of lists, and since the list before, if that is longer.
	since := row.ThisUpdate.Add(-l.settings.Life)
	var number int64
	if before != nil {
		since, number = min(since, before.ThisUpdate), before.Number
	}
	rows, err := revokedOf(ctx, l.s.d.Read(), a.id, since)
	if err != nil {
		return err
	}
	mark, err := l.marks.Of(a.id)
	if err != nil {
		return err
	}
	row.Number, row.Entries = max(number+1, mark+1, now.Unix()), int64(len(rows))
	list := status.List{Number: row.Number, ThisUpdate: now, NextUpdate: now.Add(l.settings.Life), Entries: make([]status.Revoked, len(rows))}
	for i, r := range rows {
		serial, ok := new(big.Int).SetString(r.Serial, 16)
		if !ok {
			return fmt.Errorf("the serial number %q on record is none", r.Serial)
		}
		at := r.RevokedAt.Time().Truncate(time.Second)
		if at.After(now) { // another node's clock
			at = now
		}
		list.Entries[i] = status.Revoked{Serial: serial, At: at, Reason: status.ReasonOf(r.RevokedReason)}
	}
	if row.List, err = status.SignList(a.CA, list); err != nil {
		return err
	}
	err = l.s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error { return replaceList(ctx, tx, number, row) })
	if errors.Is(err, db.ErrConflict) {
		return nil // another node was faster; the next round looks whether its list says everything
	}
	if err == nil {
		l.made[a.id] = wanted
	}
	return err
}

// take serves a list, unless it is served already. Its number is remembered first;
// one below what is remembered is not served, since it came back with a backup.
func (l *Lists) take(ctx context.Context, id string, head listRow) error {
	l.mu.RLock()
	have := l.served[id]
	l.mu.RUnlock()
	if have != nil && have.Number >= head.Number {
		return nil
	}
	row, err := listOf(ctx, l.s.d.Read(), id)
	if err != nil || row == nil {
		return err
	}
	mark, err := l.marks.Of(id)
	if err != nil {
		return err
	}
	if row.Number < mark {
		return fmt.Errorf("number %d was served before, and %d is stored: it came back with a backup", mark, row.Number)
	}
	issuer, err := x509.ParseCertificate(row.Issuer)
	if err != nil {
		return err
	}
	// What is stored may have been changed by whoever owns the database.
	if list, err := status.ReadList(row.List, issuer); err != nil {
		return err
	} else if list.Number != row.Number {
		return fmt.Errorf("%w: the number on record", status.ErrLint)
	}
	if err := l.marks.Raise(id, row.Number); err != nil {
		return err
	}
	sum := sha256.Sum256(row.List)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.served[id] = &Served{
		AuthorityID: id, Issuer: row.Issuer, Fingerprint: certs.Fingerprint(row.Issuer), Number: row.Number, Entries: row.Entries,
		ThisUpdate: row.ThisUpdate.Time(), NextUpdate: row.NextUpdate.Time(), DER: row.List, Tag: hex.EncodeToString(sum[:16]),
	}
	return nil
}

// Get finds a list by a name: "root", the kind of the authority that issues now, or
// the fingerprint of an authority's certificate.
func (l *Lists) Get(name string) (*Served, bool) {
	if kind := certs.Kind(name); kind == certs.KindDevice || kind == certs.KindServer {
		a, err := l.s.active(kind)
		if err != nil {
			return nil, false
		}
		name = a.id
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if p := l.served[name]; p != nil {
		return p, true
	}
	for _, p := range l.served {
		if p.Fingerprint == name {
			return p, true
		}
	}
	return nil, false
}

// All are the lists that are served, by authority.
func (l *Lists) All() []*Served {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var all []*Served
	for _, p := range l.served {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *Served) int { return strings.Compare(a.AuthorityID, b.AuthorityID) })
	return all
}

// Freshness is when the first of the lists of believed authorities ends; zero when
// one of them has none. It comes with what went wrong in the last round.
func (l *Lists) Freshness() (ends time.Time, failed error) {
	signers, lost := l.s.signers()
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(lost) > 0 {
		return time.Time{}, l.failed
	}
	for _, a := range signers {
		p := l.served[a.id]
		if p == nil {
			return time.Time{}, l.failed
		}
		if ends.IsZero() || p.NextUpdate.Before(ends) {
			ends = p.NextUpdate
		}
	}
	return ends, l.failed
}

// putRootList stores the root's list that a ceremony signed, if it is newer than the
// one that there is.
func putRootList(ctx context.Context, tx db.Tx, root *x509.Certificate, der []byte) error {
	list, err := status.ReadList(der, root)
	if err != nil {
		return fmt.Errorf("the root's revocation list: %w", err)
	}
	before, err := listOf(ctx, tx, RootList)
	if err != nil {
		return err
	}
	number := int64(0)
	if before != nil {
		number = before.Number
	}
	if list.Number <= number {
		return fmt.Errorf("the root's revocation list has the number %d, and %d is installed: it is an older one", list.Number, number)
	}
	return replaceList(ctx, tx, number, &listRow{AuthorityID: RootList, Issuer: root.Raw, Number: list.Number, List: der, Entries: int64(len(list.Entries)),
		ThisUpdate: db.At(list.ThisUpdate), NextUpdate: db.At(list.NextUpdate)})
}
