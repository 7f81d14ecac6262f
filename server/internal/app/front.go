package app

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/deviceapi"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/health"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/nginx"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/proxy"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/revocation"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// frontDir is where, below the data directory, what a reverse proxy goes by is written.
const frontDir = "proxy"

// frontHead is how long the head of a request of the proxy's may be: a certificate takes
// 48 KiB at its longest and its worst.
const frontHead = 64 << 10

// front is the reverse proxy before this server: where it brings requests, and what it
// is given to go by.
type front struct {
	Machines net.Listener
	People   net.Listener // nil: the console is not behind it

	core    *Core
	own     *pki.ServerCertificate // of the name that devices use, for the proxy
	secrets [][]byte
	written string // what the files were made of
	began   time.Time
	told    rate.Sometimes // of refusals in the log
	failed  atomic.Pointer[error]
	ends    atomic.Int64 // when the first of its lists ends, as it said last; 0: it did not say
}

// newFront is nil while no proxy is believed.
func (c *Core) newFront() *front {
	if !c.Config.TrustProxyCertHeaders {
		return nil
	}
	f := &front{core: c, own: c.ServerCertificate(), began: c.DB.Now(), told: rate.Sometimes{First: 1, Interval: 10 * time.Second}}
	for _, secret := range []config.Secret{c.Config.ProxySecret, c.Config.ProxySecretPrevious} {
		if secret != "" {
			f.secrets = append(f.secrets, []byte(secret))
		}
	}
	if before, err := nginx.Read(f.dir()); err == nil {
		f.own.Adopt(before.Pair) // so that a start is nothing new to the proxy
	}
	return f
}

func (f *front) dir() string { return filepath.Join(f.core.Config.DataDir, frontDir) }

func (f *front) listen(ctx context.Context) (err error) {
	if f == nil {
		return nil
	}
	c := f.core.Config
	if f.Machines, err = listenFront(ctx, c.ProxyListen, c.ProxyUsers); err != nil {
		return fmt.Errorf("the proxy's listener (SENTINEL_PROXY_LISTEN): %w", err)
	}
	if c.ProxyPeopleListen == "" {
		return nil
	}
	if f.People, err = listenFront(ctx, c.ProxyPeopleListen, c.ProxyUsers); err != nil {
		return fmt.Errorf("the proxy's listener for people (SENTINEL_PROXY_PEOPLE_LISTEN): %w", err)
	}
	return nil
}

func listenFront(ctx context.Context, address string, users []string) (net.Listener, error) {
	path, socket := strings.CutPrefix(address, "unix:")
	if !socket {
		var lc net.ListenConfig
		return lc.Listen(ctx, "tcp", address)
	}
	ids, err := proxy.Users(users)
	if err != nil {
		return nil, err
	}
	return proxy.ListenUnix(ctx, path, ids)
}

func (f *front) close() {
	if f == nil {
		return
	}
	for _, l := range []net.Listener{f.Machines, f.People} {
		if l != nil {
			_ = l.Close()
		}
	}
}

// servers are those of the proxy's listeners, made like the direct ones. stop ends what
// people follow.
func (f *front) servers(machine, people http.Handler, machines httpkit.Limits, stop func()) (list []listener) {
	if f == nil {
		return nil
	}
	gate := proxy.Gate{Secrets: f.secrets, Now: f.core.DB.Now, Refuse: f.refuse, Lists: func(ends time.Time) { f.ends.Store(ends.Unix()) }}
	machines.MaxHeader = frontHead
	list = append(list, listener{"proxy listener", httpkit.NewServer(gate.Machines(deviceapi.EachRequest(machine)), nil, machines), f.Machines})
	if f.People != nil {
		list = append(list, listener{"proxy listener for people", httpkit.NewServer(gate.People(people), nil, httpkit.Limits{MaxHeader: frontHead}), f.People})
	}
	for _, l := range list {
		l.server.ConnContext = proxy.ConnContext
		l.server.RegisterOnShutdown(stop)
	}
	return list
}

// closed is the handler of a direct listener: while there is a proxy, nobody else speaks
// for it.
func (f *front) closed(h http.Handler) http.Handler {
	if f == nil {
		return h
	}
	return proxy.Closed(h, f.refuse)
}

// Why a request goes no further, in the audit log.
const (
	reasonNotProxy = "not-the-proxy"
	reasonWord     = "proxy-word"
	reasonForeign  = "speaks-for-the-proxy"
)

func (f *front) refuse(w http.ResponseWriter, r *http.Request, err error) {
	code, reason := protocol.CodeMalformed, reasonWord
	switch {
	case errors.Is(err, proxy.ErrNotProxy):
		code, reason = httpkit.CodeForbidden, reasonNotProxy
	case errors.Is(err, proxy.ErrForeign):
		reason = reasonForeign
	}
	ctx := r.Context()
	f.told.Do(func() {
		f.core.Log.WarnContext(ctx, "a request was refused before it was read", "source", httpkit.Source(r), "reason", err)
	})
	who := audit.Actor{Kind: audit.Anonymous, Source: httpkit.Source(r)}
	if err := f.core.Refusals.Note(ctx, who, audit.Entry{Action: audit.DeviceIdentity, ObjectKind: "proxy", Reason: reason}); err != nil {
		f.core.Log.ErrorContext(ctx, "a refusal could not be written down", "error", err)
	}
	httpkit.Refuse(w, r, code, err.Error()) // the text names headers, and repeats nothing
}

// lookEvery is how often it is looked whether something changed that the proxy goes by.
const lookEvery = time.Second

// keep writes what the proxy goes by whenever it changed, until ctx ends.
func (f *front) keep(ctx context.Context) error {
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	for {
		changed, err := f.write()
		if errors.Is(err, errListsToCome) {
			err = nil // it is no trouble yet
		}
		if before := f.failed.Swap(&err); err != nil && (before == nil || *before == nil) {
			f.core.Log.WarnContext(ctx, "what the reverse proxy goes by cannot be written, and is tried again", "error", err)
		}
		if changed {
			f.core.Log.InfoContext(ctx, "there is something new for the reverse proxy", "directory", f.dir())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

var errNoRootList = errors.New("the root has no revocation list; hold a ceremony: sentinel-server keys request --rotate none")

var errListsToCome = errors.New("a revocation list of another authority was not read yet")

func (f *front) write() (changed bool, err error) {
	pair, err := f.own.Get(nil)
	if err != nil {
		return false, err
	}
	root, ok := f.core.Lists.Get(pki.RootList)
	if !ok {
		return false, errNoRootList
	}
	lists := []*pki.Served{root}
	issuers, _ := f.core.PKI.Issuers(certs.KindDevice)
	for _, ca := range issuers {
		list, ok := f.core.Lists.Get(certs.Fingerprint(ca.Raw))
		if !ok {
			return false, errors.New("an authority of devices has no revocation list yet; see: sentinel-server ca status")
		}
		lists = append(lists, list)
	}
	outside, theirs, looked, err := f.outside()
	if err != nil {
		return false, err
	}
	parts := []string{certs.Fingerprint(pair.Certificate[0]), strconv.FormatBool(looked)}
	for _, l := range lists {
		parts = append(parts, l.Fingerprint, l.Tag)
	}
	for _, c := range outside {
		parts = append(parts, certs.Fingerprint(c.Raw))
	}
	for _, l := range theirs { // the number tells them apart, or else the time
		parts = append(parts, certs.Fingerprint(l.Issuer.Raw), fmt.Sprint(l.Number, l.ThisUpdate.Unix(), len(l.Raw)))
	}
	of := strings.Join(parts, " ")
	if of == f.written {
		return false, nil
	}
	m := &nginx.Material{Pair: *pair, Outside: outside}
	for _, l := range lists {
		ca, err := x509.ParseCertificate(l.Issuer)
		if err != nil {
			return false, err
		}
		list, err := x509.ParseRevocationList(l.DER)
		if err != nil {
			return false, err
		}
		m.Authorities, m.Lists = append(m.Authorities, ca), append(m.Lists, list)
	}
	for _, l := range theirs {
		list, err := x509.ParseRevocationList(l.Raw)
		if err != nil {
			return false, err
		}
		m.Lists = append(m.Lists, list)
	}
	if !looked {
		m.Lists = nil
	}
	if changed, err = m.Write(f.dir()); err == nil {
		f.written = of
	}
	return changed, err
}

// mostLists bounds what is given to the proxy of other authorities' lists, in octets: it
// reads all of them with every reload.
const mostLists = 64 << 20

// firstLists is how long after the start other authorities' lists are waited for, so that
// a start is nothing new to the proxy.
const firstLists = time.Minute

// outside are the other authorities of devices with those above them, and their lists.
// looked is false when the proxy is to look at no list at all, since it lets nobody in
// whose authority has none: then this server does, at every request, as always, and says
// what is missing. It is so when an authority has no list here, as with a responder only,
// or with a path that ends at what is no root; and when lists count for longer than they
// hold, which a proxy knows nothing of.
func (f *front) outside() (authorities []*x509.Certificate, lists []*revocation.List, looked bool, err error) {
	x, s, now := f.core.External, f.core.Config, f.core.DB.Now()
	if x == nil {
		return nil, nil, true, nil
	}
	issuers, above := x.Certificates()
	for _, c := range slices.Concat(issuers, above) {
		if !now.Before(c.NotBefore) && !now.After(c.NotAfter) {
			authorities = append(authorities, c)
		}
	}
	size := 0
	for _, l := range x.Held() {
		lists = append(lists, l)
		size += len(l.Raw)
	}
	if len(lists) < len(s.RevocationLists) && now.Sub(f.began).Abs() < firstLists {
		return nil, nil, false, errListsToCome
	}
	looked = s.RevocationGrace == 0 && size <= mostLists
	for _, c := range authorities {
		looked = looked && slices.ContainsFunc(lists, func(l *revocation.List) bool { return l.Issuer.Equal(c) }) && inside(c, authorities)
	}
	if !looked {
		lists = nil
	}
	return authorities, lists, looked, nil
}

// inside reports whether a certificate's issuer is among others.
func inside(c *x509.Certificate, others []*x509.Certificate) bool {
	return slices.ContainsFunc(others, func(o *x509.Certificate) bool { return bytes.Equal(o.RawSubject, c.RawIssuer) })
}

// checks are what readiness asks of it.
func (f *front) checks() []health.Check {
	if f == nil {
		return nil
	}
	return []health.Check{{Name: "reverse-proxy", Ask: f.holds}}
}

// holds fails when the proxy lets no device in any more, and warns long before.
func (f *front) holds(context.Context) error {
	const advice = "; on its host: sentinel-server nginx refresh"
	if ends := f.ends.Load(); ends != 0 {
		at := time.Unix(ends, 0)
		switch left := at.Sub(f.core.DB.Now()); {
		case left <= 0:
			return errors.New("the reverse proxy goes by a revocation list that ended at " + at.UTC().Format(time.RFC3339) + ", and lets no device of its authority in" + advice)
		case left < f.core.Config.CRLValidity/4:
			return health.WarningError("the reverse proxy goes by a revocation list that ends at " + at.UTC().Format(time.RFC3339) + advice)
		}
	}
	if err := f.failed.Load(); err != nil && *err != nil {
		return health.WarningError("what the reverse proxy goes by cannot be written; see the log")
	}
	return nil
}
