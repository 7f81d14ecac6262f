package nginx

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// The files beside NGINX's configuration that are not a Material's.
const (
	secretFile   = "secret.conf"
	endFile      = "lists-end.conf"
	verifyFile   = "verify.conf"
	generatedAs  = "generation.conf"
	placeFile    = "site.json"
	generationAt = "/.sentinel-proxy" // where the devices' side tells the generation
)

// place is what Refresh has to know of a site: where it shows its certificate.
type place struct {
	Listen string `json:"listen"`
	Name   string `json:"name"`
	Tells  bool   `json:"tells"` // what is loaded, at generationAt
}

// Host is where NGINX is, and what the server wrote for it.
type Host struct {
	NGINX Program
	From  string // directory of the server's Material
	Dir   string // where it is put for NGINX
	Now   func() time.Time

	Patience time.Duration // until NGINX shows what it was given; 15 s if it is 0
}

// ErrNotInstalled says that there is nothing to refresh.
var ErrNotInstalled = errors.New("NGINX was not set up for this server; run: sentinel-server nginx install")

// Install has NGINX serve a site by a configuration file at path, which may replace one
// of before; that one is kept beside it. Whatever NGINX does not take is undone.
func (h *Host) Install(ctx context.Context, s *Site, path string) error {
	conf, err := s.Render()
	if err != nil {
		return err
	}
	fresh, err := h.read()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(h.Dir, 0o700); err != nil {
		return err
	}
	lock, err := lockIn(h.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Release() }()
	if have, err := h.current(); err == nil {
		if _, err := have.Follow(fresh, h.Now()); err != nil {
			return err
		}
	}
	at := place{Listen: s.Machines.Listen[0], Name: s.Machines.Names[0], Tells: true}
	seen, err := json.Marshal(at)
	if err != nil {
		return err
	}
	list, generation, err := h.materialFiles(fresh)
	if err != nil {
		return err
	}
	site := &file{path: path, data: conf, mode: 0o644}
	list = append(list, &file{path: filepath.Join(h.Dir, secretFile), data: s.secretFile(), mode: 0o600},
		&file{path: filepath.Join(h.Dir, placeFile), data: append(seen, '\n'), mode: 0o600}, site)
	if err := change(ctx, h.NGINX, list, func(ctx context.Context) error { return h.shows(ctx, at, fresh, generation) }); err != nil {
		return err
	}
	return keepFormer(site)
}

// Refresh has NGINX take over what the server wrote since, if there is something new,
// and says what; "" for nothing. An *EndingError says that what NGINX goes by now ends
// soon; it comes after everything else was done.
func (h *Host) Refresh(ctx context.Context) (why string, ends time.Time, err error) {
	at, err := h.place()
	if err != nil {
		return "", time.Time{}, err
	}
	lock, err := lockIn(h.Dir)
	if err != nil {
		return "", time.Time{}, err
	}
	defer func() { _ = lock.Release() }()
	have, err := h.current()
	if err != nil {
		return "", time.Time{}, err
	}
	fresh, err := h.read()
	if err == nil {
		why, err = have.Follow(fresh, h.Now())
	}
	if err != nil { // what NGINX has goes on, for as long as it lasts
		return "", have.Ends(), errors.Join(err, have.Alarm(h.Now()))
	}
	if why == "" {
		return "", have.Ends(), have.Alarm(h.Now())
	}
	list, generation, err := h.materialFiles(fresh)
	if err != nil {
		return "", have.Ends(), err
	}
	if err := change(ctx, h.NGINX, list, func(ctx context.Context) error { return h.shows(ctx, at, fresh, generation) }); err != nil {
		return "", have.Ends(), errors.Join(err, have.Alarm(h.Now()))
	}
	return why, fresh.Ends(), fresh.Alarm(h.Now())
}

// Times and rests of reading what may be written at that moment.
const (
	readTries = 5
	readRest  = 200 * time.Millisecond
)

// read reads what the server wrote, and sees that NGINX can work with it.
func (h *Host) read() (m *Material, err error) {
	for range readTries {
		if m, err = Read(h.From); !errors.Is(err, ErrTorn) {
			break
		}
		<-time.After(readRest)
	}
	if err != nil {
		return nil, err
	}
	return m, m.Check(h.Now())
}

// current is what NGINX was given last.
func (h *Host) current() (*Material, error) {
	list := map[string][]byte{}
	for _, name := range materialFiles {
		var err error
		list[name], err = readFile(filepath.Join(h.Dir, name))
		if errors.Is(err, fs.ErrNotExist) && name == OutsideFile {
			continue // it was given by a version that knew of none
		}
		if err != nil {
			return nil, err
		}
	}
	return parse(list)
}

func (h *Host) place() (at place, err error) {
	data, err := readFile(filepath.Join(h.Dir, placeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return at, ErrNotInstalled
	}
	if err == nil {
		err = json.Unmarshal(data, &at)
	}
	return at, err
}

// materialFiles are the files of a material, and the word by which NGINX shows that it
// took them over.
func (h *Host) materialFiles(m *Material) (list []*file, generation string, err error) {
	if !plainPath.MatchString(h.Dir) {
		return nil, "", fmt.Errorf("%w: the directory must be an absolute path of letters, digits and ._@+-", ErrSite)
	}
	data, err := m.files()
	if err != nil {
		return nil, "", err
	}
	for _, name := range materialFiles {
		list = append(list, &file{path: filepath.Join(h.Dir, name), data: data[name], mode: 0o600})
	}
	generation = rand.Text()
	return append(list, &file{path: filepath.Join(h.Dir, endFile), data: m.endFile(), mode: 0o600},
		&file{path: filepath.Join(h.Dir, verifyFile), data: m.verifyFile(h.Dir), mode: 0o600},
		&file{path: filepath.Join(h.Dir, generatedAs), data: generationFile(generation), mode: 0o600}), generation, nil
}

const (
	showWithin = 15 * time.Second // new workers read all of it first
	showEvery  = 100 * time.Millisecond
)

// shows waits until NGINX shows what it was given, the certificate and the generation:
// reloading it returns before it has happened, and says nothing of how it went. Lists
// and authorities show nowhere, but NGINX loads everything or nothing.
func (h *Host) shows(ctx context.Context, at place, m *Material, generation string) error {
	within := h.Patience
	if within == 0 {
		within = showWithin
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	issuer, err := x509.ParseCertificate(m.Pair.Certificate[1])
	if err != nil {
		return err
	}
	every := time.NewTicker(showEvery)
	defer every.Stop()
	var last error
	for {
		shown, told, err := look(ctx, at, issuer)
		switch {
		case err == nil && !bytes.Equal(shown, m.Pair.Certificate[0]):
			last = errors.New("it shows another certificate; see its error log")
		case err == nil && at.Tells && told != generation:
			last = errors.New("it goes by what it had before; see its error log")
		case err == nil:
			return nil
		case last == nil || !errors.Is(err, context.DeadlineExceeded): // which is the end of patience, and no reason
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("look at what NGINX shows at %s: %w", at.Listen, last)
		case <-every.C:
		}
	}
}

// look is the certificate that is shown at a place, and what is told there.
func look(ctx context.Context, at place, issuer *x509.Certificate) (shown []byte, told string, err error) {
	host, port, err := net.SplitHostPort(at.Listen)
	if err != nil {
		return nil, "", err
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	d := tls.Dialer{Config: certs.ClientTLS([]*x509.Certificate{issuer}, at.Name, nil)}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	state := conn.(*tls.Conn).ConnectionState() //nolint:errcheck,forcetypeassert // what tls.Dialer returns
	shown = state.PeerCertificates[0].Raw
	if !at.Tells {
		return shown, "", nil
	}
	name := at.Name
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	// HTTP/1.0: the answer's body ends with the connection, in one piece.
	if _, err = fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", generationAt, name); err != nil {
		return nil, "", err
	}
	answer, err := io.ReadAll(io.LimitReader(conn, 8<<10))
	_, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	return shown, body, err
}
