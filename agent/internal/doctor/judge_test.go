package doctor

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/pins"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/renew"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/service"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

var day = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// table is judgements with what they must be.
type table map[string]struct {
	got  Result
	want Verdict
	says string // in what was found or in the fix
}

func (rows table) check(t *testing.T) {
	t.Helper()
	for name, row := range rows {
		if row.got.Verdict != row.want || !strings.Contains(row.got.Found+"\n"+row.got.Fix, row.says) {
			t.Errorf("%s: want %s %q, got %+v", name, row.want, row.says, row.got)
		}
		if (row.want == Warn || row.want == Fail) != (row.got.Fix != "") {
			t.Errorf("%s: a fix belongs to what is not well, and to nothing else: %+v", name, row.got)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	file := func(change func(*settings)) Result {
		f := settings{file: "/etc/x.env", mode: 0o600, owner: 0, self: 0}
		change(&f)
		return judgeSettings(f)
	}
	table{
		"no file":            {judgeSettings(settings{}), OK, "there is no settings file"},
		"in order":           {file(func(*settings) {}), OK, "in order"},
		"an unknown key":     {file(func(f *settings) { f.err = config.Problems{{Where: "x line 2", Fix: "there is no such setting"}} }), Fail, "x line 2: there is no such setting"},
		"not ours to read":   {file(func(f *settings) { f.statErr = fs.ErrPermission }), Warn, "run it as root"},
		"not there":          {file(func(f *settings) { f.statErr = fs.ErrNotExist }), Fail, "--config"},
		"another user's":     {file(func(f *settings) { f.owner = 1000 }), Fail, "uid 1000"},
		"who runs this":      {file(func(f *settings) { f.owner, f.self = 1000, 1000 }), OK, ""},
		"a secret for all":   {file(func(f *settings) { f.mode, f.secret = 0o640, true }), Warn, "chmod 600"},
		"a secret":           {file(func(f *settings) { f.secret = true }), OK, ""},
		"no secret, for all": {file(func(f *settings) { f.mode = 0o644 }), OK, ""},
	}.check(t)
}

func TestStateDirectory(t *testing.T) {
	t.Parallel()
	dir := func(d disk) Result { d.dir = "/s"; return judgeDirectory(&d) }
	table{
		"the agent's alone": {dir(disk{mode: fs.ModeDir | 0o700}), OK, "mode 0700, uid 0"},
		"held":              {dir(disk{mode: 0o700, holder: 7}), OK, "process 7 holds it"},
		"on Windows":        {dir(disk{owner: -1}), OK, "/s is the agent's alone; no running agent"},
		"none":              {dir(disk{dirErr: journal.ErrNotEnrolled}), Warn, "there is no /s"},
		"loose":             {dir(disk{dirErr: journal.ErrLoose}), Fail, "make the directory the agent's alone"},
		"root's":            {dir(disk{dirErr: journal.ErrLoose, owner: 0, self: 1000}), Fail, "sudo"},
		"out of reach":      {dir(disk{dirErr: fs.ErrPermission, owner: -1}), Fail, "sudo"},
		"hung":              {dir(disk{hung: errTooLate}), Fail, "no answer in time"},
	}.check(t)
}

// enrolled is a device's disk, all well.
func enrolled(change func(*disk)) *disk {
	d := disk{
		dir: "/s", leaf: &x509.Certificate{Subject: pkix.Name{CommonName: "edge-1"}, NotBefore: day, NotAfter: day.Add(90 * time.Hour)},
		pins: &pins.Pins{Bundle: &signing.PolicyBundle{Version: 3, ExpiresAt: day.Add(240 * time.Hour)}},
		state: journal.State{DeviceID: "edge-1", Enrolled: &journal.Enrolled{
			At: day, TimeFloor: day, Interval: 60, Counter: 8, Accepted: &journal.Accepted{At: day, Counter: 8}, FirstRoot: "d1ge57",
		}},
	}
	if change != nil {
		change(&d)
	}
	return &d
}

func TestJournal(t *testing.T) {
	t.Parallel()
	with := func(err error) Result { return judgeJournal(&disk{stateErr: err}) }
	table{
		"enrolled":     {judgeJournal(enrolled(nil)), OK, "counter 8"},
		"enrolling":    {judgeJournal(enrolled(func(d *disk) { d.state.Enrolled = nil })), Warn, "not approved yet"},
		"not enrolled": {with(journal.ErrNotEnrolled), Warn, "enroll --help"},
		"damaged":      {with(journal.ErrDamaged), Fail, "unenroll"},
		"newer":        {with(journal.ErrNewer), Fail, "newer agent"},
		"loose":        {judgeJournal(&disk{dirErr: journal.ErrLoose, stateErr: journal.ErrLoose}), Skipped, ""},
	}.check(t)
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	at := func(after time.Duration) Result { return judgeIdentity(enrolled(nil), day.Add(after)) }
	due := renew.Due(enrolled(nil).leaf).Sub(day) // the agent's own
	with := func(change func(*disk)) Result { return judgeIdentity(enrolled(change), day) }
	refused := func(c protocol.Code, after time.Duration) Result {
		return judgeIdentity(enrolled(func(d *disk) { d.state.Enrolled.Refusal = &journal.Refusal{At: day, Code: c} }), day.Add(after))
	}
	table{
		"revoked":          {refused(protocol.CodeDeviceRevoked, 0), OK, "not renewed while the device is revoked"},
		"suspended":        {refused(protocol.CodeDeviceSuspended, 0), OK, "not renewed while the device is suspended"},
		"held when due":    {refused(protocol.CodeDeviceHeld, due), OK, "not renewed while the device is held"},
		"held and expired": {refused(protocol.CodeDeviceHeld, 91*time.Hour), Fail, "EXPIRED"},
		"a server's fault": {refused(protocol.CodeNotReady, 0), OK, "the agent renews it at"},
		"fresh":            {at(0), OK, "3 days left"},
		"before it is due": {at(due - time.Second), OK, "the agent renews it at"},
		"due":              {at(due), Warn, "not renewed, which is due since"},
		"its last second":  {at(90 * time.Hour), Warn, "renews the certificate by itself"},
		"no way back": {judgeIdentity(enrolled(func(d *disk) {
			d.state.Enrolled.Closed = &journal.Refusal{At: day, Code: protocol.CodeRecoveryLate}
		}), day.Add(90*time.Hour+time.Second)), Fail, "no way back (recovery-late)"},
		"expired":          {at(90*time.Hour + time.Second), Fail, "EXPIRED"},
		"before the floor": {at(-time.Hour), OK, ""}, // the agent's time is the floor then
		"not yet":          {with(func(d *disk) { d.leaf.NotBefore = day.Add(time.Hour) }), Fail, "not valid before"},
		"another device's": {with(func(d *disk) { d.state.DeviceID = "edge-2" }), Fail, "of edge-1, the journal of edge-2"},
		"exposed":          {with(func(d *disk) { d.idErr = identity.ErrExposed }), Fail, "copied"},
		"another key":      {with(func(d *disk) { d.idErr = identity.ErrBadCertificate }), Fail, "unenroll"},
		"not enrolled":     {judgeIdentity(&disk{stateErr: journal.ErrNotEnrolled}, day), Skipped, "not enrolled"},
	}.check(t)
}

func TestPins(t *testing.T) {
	t.Parallel()
	at := func(after time.Duration) Result { return judgePins(enrolled(nil), day.Add(after)) }
	with := func(change func(*disk)) Result { return judgePins(enrolled(change), day) }
	table{
		"verified":     {at(0), OK, "policy version 3"},
		"soon over":    {at(200 * time.Hour), Warn, "40 hours left"},
		"over":         {at(240 * time.Hour), Warn, "only harmless commands"},
		"first use":    {with(func(d *disk) { d.state.Enrolled.FirstUse = true }), Warn, "d1ge57"},
		"damaged":      {with(func(d *disk) { d.pinsErr = pins.ErrDamaged }), Fail, "unenroll"},
		"not finished": {with(func(d *disk) { d.state.Enrolled = nil }), Skipped, "not finished"},
	}.check(t)
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	at := func(after time.Duration) Result {
		return judgeHeartbeat(enrolled(func(d *disk) { d.state.Enrolled.TimeFloor = day.Add(-time.Hour) }), day.Add(after))
	}
	with := func(change func(*journal.Enrolled)) Result {
		return judgeHeartbeat(enrolled(func(d *disk) { change(d.state.Enrolled) }), day)
	}
	table{
		"on time":           {at(50 * time.Second), OK, "50 seconds ago"},
		"just woken":        {at(5 * time.Minute), OK, ""},
		"late":              {at(5*time.Minute + time.Second), Warn, "one is due every 1m0s"},
		"gone":              {at(24*time.Hour + time.Second), Fail, "24 hours ago"},
		"in time to come":   {at(-6 * time.Minute), Warn, "set this device's clock"},
		"slow, and on time": {with(func(e *journal.Enrolled) { e.Interval, e.TimeFloor = 3600, day.Add(3*time.Hour) }), OK, ""},
		"none yet":          {with(func(e *journal.Enrolled) { e.Accepted = nil }), Warn, "sentinel-agent run --state-dir /s"},
		"suspended":         {with(func(e *journal.Enrolled) { e.Refusal = &journal.Refusal{At: day, Code: protocol.CodeDeviceSuspended} }), Fail, "lift the suspension"},
		"not enrolled":      {judgeHeartbeat(&disk{stateErr: journal.ErrDamaged}, day), Skipped, "cannot be read"},
	}.check(t)
}

func TestSpace(t *testing.T) {
	t.Parallel()
	with := func(s space) Result { return judgeSpace(&disk{space: s}) }
	table{
		"enough":     {with(space{free: 64 << 20}), OK, "64 MiB"},
		"little":     {with(space{free: 64<<20 - 1}), Warn, "63 MiB"},
		"none":       {with(space{free: 1<<20 - 1}), Fail, "make room"},
		"no inode":   {with(space{free: 1 << 30, noFiles: true}), Fail, "inode"},
		"read-only":  {with(space{free: 1 << 30, readOnly: true}), Fail, "writable"},
		"not told":   {judgeSpace(&disk{spaceErr: errors.ErrUnsupported}), Skipped, ""},
		"cannot ask": {judgeSpace(&disk{spaceErr: fs.ErrPermission}), Warn, ""},
	}.check(t)
}

func TestService(t *testing.T) {
	t.Parallel()
	in := func(state service.State, err error, holder int, enrolled bool) Result {
		return judgeService(serviceAnswer{state, err}, holder, enrolled)
	}
	table{
		"running":                   {in(service.Running, nil, 7, true), OK, ""},
		"stopped":                   {in(service.Stopped, nil, 0, true), Fail, "service start"},
		"failed":                    {in(service.Failed, nil, 0, true), Fail, "failed"},
		"stopped, and foreground":   {in(service.Stopped, nil, 7, true), Warn, "process 7"},
		"not installed":             {in(service.NotInstalled, nil, 0, true), Warn, "service install"},
		"stopped, and not enrolled": {in(service.Stopped, nil, 0, false), Warn, "enroll the device first"},
		"no manager":                {in("", service.ErrNoManager, 0, true), Warn, "foreground"},
		"no manager, and an agent":  {in("", service.ErrNoManager, 7, true), OK, "process 7"},
		"no clear answer":           {in("", errTooLate, 0, true), Warn, "no answer in time"},
	}.check(t)
}

func TestName(t *testing.T) {
	t.Parallel()
	table{
		"known":        {judgeName("s.test", []string{"10.0.0.1"}, nil, false), OK, "s.test is 10.0.0.1"},
		"unknown":      {judgeName("s.test", nil, &net.DNSError{IsNotFound: true}, false), Fail, "--server"},
		"proxy":        {judgeName("p.test", nil, &net.DNSError{IsNotFound: true}, true), Fail, "--proxy"},
		"no answer":    {judgeName("s.test", nil, &net.DNSError{Err: "x", IsTimeout: true}, false), Fail, "name servers"},
		"none of them": {judgeName("s.test", nil, nil, false), Fail, "no address"},
	}.check(t)
}

func TestConnection(t *testing.T) {
	t.Parallel()
	table{
		"answers": {judgeConnection("s:1", "10.0.0.1:1", time.Millisecond, nil, false), OK, "10.0.0.1:1 answers after 1ms"},
		"refused": {judgeConnection("s:1", "", 0, &net.OpError{Op: "dial", Err: errRefused}, false), Fail, "8443"},
		"proxy":   {judgeConnection("s:1", "", 0, &net.OpError{Op: "dial", Err: errRefused}, true), Fail, "of the proxy"},
		"dropped": {judgeConnection("s:1", "", 0, fmt.Errorf("%w (4s)", errTooLate), false), Fail, "firewall"},
		"routes":  {judgeConnection("s:1", "", 0, errors.New("no route to host"), false), Fail, "routes"},
	}.check(t)
}

func TestProxy(t *testing.T) {
	t.Parallel()
	with := func(status int, err error) Result { return judgeProxy("p:3128", "s:1", proxyAnswer{status, err}) }
	table{
		"passes":    {with(200, nil), OK, ""},
		"sign-in":   {with(407, nil), Fail, "SENTINEL_AGENT_PROXY"},
		"refuses":   {with(403, nil), Fail, "allow CONNECT to s:1"},
		"no server": {with(503, nil), Fail, "cannot reach s:1"},
		"late":      {with(0, context.DeadlineExceeded), Fail, "in time"},
		"no proxy":  {with(0, errors.New("malformed")), Fail, "as an HTTP proxy"},
	}.check(t)
}

func TestServer(t *testing.T) {
	t.Parallel()
	table{
		"lives":    {judgeServer(answer{status: 200}), OK, "200"},
		"busy":     {judgeServer(answer{status: 503}), Warn, "busy"},
		"another":  {judgeServer(answer{status: 404}), Fail, "404"},
		"silent":   {judgeServer(answer{err: context.DeadlineExceeded}), Fail, "in time"},
		"breaks":   {judgeServer(answer{err: errors.New("EOF")}), Fail, "no answer"},
		"redirect": {judgeServer(answer{status: 302}), Fail, "302"},
	}.check(t)
}

func TestClock(t *testing.T) {
	t.Parallel()
	against := func(d time.Duration) Result { return judgeClock(times{now: day, floor: day, date: day, against: d}) }
	table{
		"together":         {against(0), OK, "0 seconds"},
		"a minute ahead":   {against(time.Minute), OK, "60 seconds ahead of"},
		"more":             {against(time.Minute + time.Second), Warn, "61 seconds"},
		"minutes behind":   {against(-5 * time.Minute), Warn, "300 seconds behind"},
		"more behind":      {against(-5*time.Minute - time.Second), Fail, "301 seconds behind"},
		"a day":            {against(24 * time.Hour), Fail, "86400 seconds ahead"},
		"before the floor": {judgeClock(times{now: day, floor: day.Add(time.Second), date: day}), Fail, "1 seconds before"},
		"no server":        {judgeClock(times{now: day, floor: day}), OK, "is not known"},
		"nothing":          {judgeClock(times{now: day}), Skipped, ""},
	}.check(t)
}

func TestTLSHints(t *testing.T) {
	t.Parallel()
	shown := func(issuer string) []*x509.Certificate {
		return []*x509.Certificate{{Issuer: pkix.Name{CommonName: issuer}}}
	}
	table{
		"an inspector by name":  {judgeTLS(view{handshake: handshake{shown: shown("Zscaler Intermediate Root CA")}}), Fail, "Zscaler looks into the TLS"},
		"trusted by the system": {judgeTLS(view{handshake: handshake{shown: shown("Example CA")}, system: true}), Fail, "this system trusts"},
		"a stranger":            {judgeTLS(view{handshake: handshake{shown: shown("Preset CA")}}), Fail, "someone may be in between"},
		"late":                  {judgeTLS(view{handshake: handshake{err: errTooLate}}), Fail, "firewall"},
		"else":                  {judgeTLS(view{handshake: handshake{err: errors.New("odd")}}), Fail, "odd"},
	}.check(t)
}

func TestWhatComesFromOutsideIsPrintableAndBounded(t *testing.T) {
	t.Parallel()
	got := tidy("a\x1b[31mb\nc\xff" + strings.Repeat("ä", maxText))
	if strings.ContainsAny(got, "\x1b\n") || len(got) > maxText+8 || !strings.HasPrefix(got, "a?[31mb c?") {
		t.Errorf("%q", got)
	}
}

func TestWhatHangsIsLeftBehind(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := within(ctx, func() int { <-release; return 1 }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// A network that swallows everything leaves time for each of its check-ups, and
// the whole stays under half a minute.
func TestTheWholeRunIsBounded(t *testing.T) {
	t.Parallel()
	total := time.Duration(0)
	for _, c := range checks {
		if c.limit <= 0 {
			t.Errorf("%s has no time-out", c.name)
		}
		switch c.name {
		case "name", "connection", "proxy", "TLS", "server":
			total += c.limit
		}
	}
	if total == 0 || total > whole || whole >= 30*time.Second {
		t.Errorf("the network may take %s, everything %s", total, whole)
	}
}

// FuzzProxyAnswer is the one parser here that meets the network before anybody
// has proved anything.
func FuzzProxyAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nx", "HTTP/1.0 407 x\r\nContent-Length: 3\r\n\r\nabc", "SSH-2.0\r\n", "",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a := readProxyAnswer(bytes.NewReader(data))
		if a.err == nil && a.passes() && !bytes.HasPrefix(data, []byte("HTTP/")) {
			t.Errorf("%q lets pass", data)
		}
		if r := judgeProxy("p", "s", a); r.Verdict == OK && (a.err != nil || !a.passes()) {
			t.Errorf("%+v is judged %+v", a, r)
		}
	})
}
