package nginx

import (
	"crypto/x509"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

func TestInstallingHasNGINXServeTheSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.material()
	w.write(m)
	if err := w.Install(t.Context(), w.site, w.path); err != nil {
		t.Fatal(err)
	}
	if got := w.calls(); got != "-t -q\n-s reload\n" {
		t.Errorf("NGINX was called with %q", got)
	}
	have, err := w.current()
	if err != nil || !have.Pair.Leaf.Equal(m.Pair.Leaf) || len(have.Lists) != 2 || len(have.Authorities) != 2 {
		t.Errorf("%+v, %v", have, err)
	}
	for name := range w.tree() {
		if name == "site" {
			continue
		}
		info, err := os.Stat(filepath.Join(w.Dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	if err := w.Install(t.Context(), w.site, w.path); err != nil {
		t.Fatalf("again: %v", err)
	}
	if _, err := os.Stat(w.path + ".before"); err == nil {
		t.Error("the same configuration is kept as a former one")
	}
	former := w.tree()["site"]
	w.site.Machines.IdleSeconds++
	if err := w.Install(t.Context(), w.site, w.path); err != nil {
		t.Fatal(err)
	}
	if kept, err := os.ReadFile(w.path + ".before"); err != nil || string(kept) != former {
		t.Errorf("the former configuration is not kept: %v", err)
	}
}

// PRX-09: what NGINX does not take is as if it had not been.
func TestWhatNGINXDoesNotTakeIsUndone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		how   string
		words string
		calls string
	}{
		{"refuses", "unknown directive", "-t -q\n"},
		{"dead", "NGINX does not run; start it", "-t -q\n-s reload\n"},
		{"deaf", "another certificate", "-t -q\n-s reload\n-t -q\n-s reload\n"},
	} {
		t.Run(c.how, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.write(w.material())
			w.say(c.how, true)
			if c.how != "deaf" {
				if err := w.Install(t.Context(), w.site, w.path); err == nil || !strings.Contains(err.Error(), c.words) {
					t.Fatalf("the first time: %v", err)
				}
				if got := w.tree(); len(got) != 0 {
					t.Errorf("left behind: %v", got)
				}
			}
			w.say(c.how, false)
			if err := w.Install(t.Context(), w.site, w.path); err != nil {
				t.Fatal(err)
			}
			before := w.tree()
			w.write(w.material(7))
			w.site.Machines.IdleSeconds++
			w.say(c.how, true)
			if c.how == "deaf" {
				w.Patience = 3 * time.Second
			}
			w.calls()
			err := w.Install(t.Context(), w.site, w.path)
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("over one of before: %v", err)
			}
			if got := w.calls(); got != c.calls {
				t.Errorf("NGINX was called with %q", got)
			}
			if got := w.tree(); !maps.Equal(got, before) {
				t.Error("it is not as it was")
			}
			if _, err := os.Stat(w.path + ".before"); err == nil {
				t.Error("what stands there is kept as a former one")
			}
			if _, _, err := w.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("refreshing: %v", err)
			}
			if got := w.tree(); !maps.Equal(got, before) {
				t.Error("after refreshing it is not as it was")
			}
		})
	}
}

// REV-01, REV-02: a revocation is taken over at once; what is not new is not.
func TestRefreshingReloadsForSomethingNewOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, _, err := w.Refresh(t.Context()); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("before it is installed: %v", err)
	}
	m := w.material()
	w.write(m)
	if err := w.Install(t.Context(), w.site, w.path); err != nil {
		t.Fatal(err)
	}
	refresh := func(want string) {
		t.Helper()
		w.calls()
		why, ends, err := w.Refresh(t.Context())
		reloaded := strings.Contains(w.calls(), "reload")
		if err != nil || why != want || reloaded != (want != "") || ends.IsZero() != (len(m.Lists) == 0) {
			t.Errorf("%q, reloaded %t, until %v: %v", why, reloaded, ends, err)
		}
	}
	next := func(revoked ...int64) *Material {
		n := *m
		n.Lists = []*x509.RevocationList{m.Lists[0], w.list(w.device, time.Hour, revoked...)}
		m = &n
		return m
	}
	refresh("")
	w.now = w.now.Add(10 * time.Minute)
	w.write(next()) // the same entries, a little later
	refresh("")
	w.write(next(7))
	refresh("what is revoked")
	refresh("")
	w.write(next(8)) // as many, and others
	refresh("what is revoked")
	w.now = w.now.Add(31 * time.Minute)
	w.write(next(8))
	refresh("lists that last longer")
	other := w.material(8)
	m.Pair = other.Pair
	w.write(m)
	refresh("another certificate of the machines' name")
	outside := w.issuing(certs.KindDevice).Certificate
	m.Outside = []*x509.Certificate{outside}
	w.write(m)
	refresh("other authorities")
	m.Lists = nil // theirs cannot be had
	w.write(m)
	refresh("other authorities")
	m.Outside, m.Lists = nil, other.Lists
	w.write(m)
	refresh("other authorities")
	w.device = w.issuing("device")
	m.Authorities, m.Lists = append(m.Authorities, w.device.Certificate), append(m.Lists, w.list(w.device, time.Hour))
	w.write(m)
	refresh("other authorities")
}

// PRX-09: a certificate that is shown as before says nothing of the lists: what NGINX goes
// by is asked for.
func TestARefreshThatNGINXSleptThroughIsUndone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.material()
	w.write(m)
	if err := w.Install(t.Context(), w.site, w.path); err != nil {
		t.Fatal(err)
	}
	before := w.tree()
	m.Lists = []*x509.RevocationList{m.Lists[0], w.list(w.device, time.Hour, 7)}
	w.write(m)
	w.say("deaf", true)
	w.Patience = 2 * time.Second
	if why, _, err := w.Refresh(t.Context()); err == nil || why != "" || !strings.Contains(err.Error(), "it goes by what it had before") {
		t.Fatalf("%q, %v", why, err)
	}
	if !maps.Equal(w.tree(), before) {
		t.Error("it is not as it was")
	}
	w.say("deaf", false)
	w.Patience = 0
	if why, _, err := w.Refresh(t.Context()); err != nil || why != "what is revoked" {
		t.Fatalf("when it listens again: %q, %v", why, err)
	}
	// A site of a version that did not tell is refreshed as it was then.
	place := strings.Replace(w.tree()[placeFile], `,"tells":true`, "", 1)
	if err := os.WriteFile(filepath.Join(w.Dir, placeFile), []byte(place), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{OutsideFile, verifyFile, generatedAs} {
		if err := os.Remove(filepath.Join(w.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(w.dir, "told")); err != nil {
		t.Fatal(err)
	}
	m.Lists = []*x509.RevocationList{m.Lists[0], w.list(w.device, time.Hour, 7, 8)}
	w.write(m)
	if why, _, err := w.Refresh(t.Context()); err != nil || why != "what is revoked" {
		t.Errorf("a site of before: %q, %v", why, err)
	}
}

// PRX-09: other authorities are written as OpenSSL believes them, and read again as they
// are; what cannot be looked up is not claimed to be.
func TestOtherAuthoritiesAreGivenToNGINX(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.material()
	above, below := newWorld(t).root.Certificate, newWorld(t).device.Certificate
	m.Outside = []*x509.Certificate{above, below}
	for _, lists := range [][]*x509.RevocationList{m.Lists, nil} {
		m.Lists = lists
		w.write(m)
		if err := w.Install(t.Context(), w.site, w.path); err != nil {
			t.Fatal(err)
		}
		have := w.tree()
		if strings.Contains(have[verifyFile], "ssl_crl "+w.Dir+"/revocation.pem;\n") != (lists != nil) || !strings.Contains(have[verifyFile], "ssl_trusted_certificate "+w.Dir+"/outside-ca.pem;\n") {
			t.Errorf("with %d lists NGINX is told:\n%s", len(lists), have[verifyFile])
		}
		if strings.Contains(have[endFile], `Lists-End "";`) != (lists == nil) {
			t.Errorf("with %d lists the server is told:\n%s", len(lists), have[endFile])
		}
		// The one whose issuer is not there is believed itself, the other is a root.
		if strings.Count(have[OutsideFile], "BEGIN CERTIFICATE") != 1 || strings.Count(have[OutsideFile], "BEGIN TRUSTED CERTIFICATE") != 1 {
			t.Errorf("the other authorities:\n%s", have[OutsideFile])
		}
		again, err := w.current()
		if err != nil || !slices.EqualFunc(again.Outside, m.Outside, (*x509.Certificate).Equal) || len(again.Lists) != len(lists) {
			t.Errorf("they are read as %d, with %d lists: %v", len(again.Outside), len(again.Lists), err)
		}
	}
}

// REV-02: long before a list ends, the command fails.
func TestAListThatIsNotMadeAnewIsToldOfInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write(w.material())
	if err := w.Install(t.Context(), w.site, w.path); err != nil {
		t.Fatal(err)
	}
	var ending *EndingError
	w.now = w.now.Add(45*time.Minute - time.Second)
	if _, _, err := w.Refresh(t.Context()); err != nil {
		t.Errorf("with more than a quarter left: %v", err)
	}
	w.now = w.now.Add(2 * time.Second)
	if _, ends, err := w.Refresh(t.Context()); !errors.As(err, &ending) || ends.IsZero() {
		t.Errorf("with less than a quarter left: %v", err)
	}
	w.now = w.now.Add(time.Hour)
	if _, _, err := w.Refresh(t.Context()); !errors.As(err, &ending) || !errors.Is(err, ErrMaterial) {
		t.Errorf("when it has ended: %v", err)
	}
	if err := os.RemoveAll(w.From); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.Refresh(t.Context()); !errors.As(err, &ending) || !errors.Is(err, ErrNone) {
		t.Errorf("when the server writes nothing: %v", err)
	}
	w.write(w.material())
	if why, _, err := w.Refresh(t.Context()); err != nil || why == "" {
		t.Errorf("when the server is back: %q %v", why, err)
	}
}

// REV-05, REV-02: nothing is taken over that is not in order, or older.
func TestWhatIsNotInOrderIsNotTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	older := w.material()
	good := w.material(7)
	w.write(good)
	if err := w.Install(t.Context(), w.site, w.path); err != nil {
		t.Fatal(err)
	}
	before := w.tree()
	other := newWorld(t)
	for name, c := range map[string]struct {
		change func(m *Material)
		want   error
	}{
		"older lists":          {func(m *Material) { *m = *older }, ErrOlder},
		"no list of the root":  {func(m *Material) { m.Lists = m.Lists[1:] }, ErrMaterial},
		"no list of devices":   {func(m *Material) { m.Lists = m.Lists[:1] }, ErrMaterial},
		"a list of another":    {func(m *Material) { m.Lists = []*x509.RevocationList{m.Lists[0], other.list(other.device, time.Hour)} }, ErrMaterial},
		"no list at all":       {func(m *Material) { m.Lists = nil }, ErrMaterial},
		"a device for another": {func(m *Material) { m.Outside = []*x509.Certificate{m.Pair.Leaf} }, ErrMaterial},
		"no authority":         {func(m *Material) { m.Authorities, m.Lists = nil, nil }, ErrMaterial},
		"an authority of none": {func(m *Material) { m.Authorities = append(m.Authorities[:1:1], other.device.Certificate) }, ErrMaterial},
		"no issuer":            {func(m *Material) { m.Pair.Certificate = m.Pair.Certificate[:1] }, ErrMaterial},
	} {
		m := *good
		c.change(&m)
		w.write(&m)
		if _, _, err := w.Refresh(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if !maps.Equal(w.tree(), before) {
			t.Fatalf("%s was taken over", name)
		}
	}
	w.write(good)
	later := *good
	later.Lists = []*x509.RevocationList{good.Lists[0], w.list(w.device, time.Hour, 7, 8)}
	files, err := later.files()
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(path string) error{
		"one of another time": func(path string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(path), ListsFile), files[ListsFile], 0o600)
		},
		"a byte changed": func(path string) error { return os.WriteFile(path, []byte(before[PairFile][1:]), 0o600) },
		"a link": func(path string) error {
			if err := os.Rename(path, path+"2"); err != nil {
				return err
			}
			return os.Symlink(path+"2", path)
		},
		"a directory": func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Mkdir(path, 0o700)
		},
	} {
		if err := os.RemoveAll(w.From); err != nil {
			t.Fatal(err)
		}
		w.write(good)
		if err := spoil(filepath.Join(w.From, PairFile)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.Refresh(t.Context()); err == nil {
			t.Errorf("%s: it is taken over", name)
		}
		if !maps.Equal(w.tree(), before) {
			t.Fatalf("%s was taken over", name)
		}
	}
}

func TestASiteThatNGINXWouldReadOtherwiseIsNotRendered(t *testing.T) {
	t.Parallel()
	good := func() *Site {
		return &Site{Dir: "/etc/nginx/sentinel", Machines: Machines{Names: []string{"devices.example.com", "192.0.2.7"}, Listen: []string{"0.0.0.0:8443"}, Upstream: "unix:/run/sentinel-proxy/machines.sock", IdleSeconds: 180},
			People: &People{Names: []string{"console.example.com"}, Listen: []string{"0.0.0.0:443"}, Upstream: "127.0.0.1:8445", Certificate: "/etc/ssl/c.pem", Key: "/etc/ssl/k.pem"}}
	}
	if _, err := good().Render(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Site){
		"a directory that ends a line":   func(s *Site) { s.Dir = "/etc/x;" },
		"a name that ends a line":        func(s *Site) { s.Machines.Names = []string{"a; return 200"} },
		"a name that is a variable":      func(s *Site) { s.People.Names = []string{"$host"} },
		"no name":                        func(s *Site) { s.Machines.Names = nil },
		"no address":                     func(s *Site) { s.Machines.Listen = nil },
		"an address with a word":         func(s *Site) { s.Machines.Listen = []string{"0.0.0.0:443 default_server"} },
		"a name to listen on":            func(s *Site) { s.People.Listen = []string{"console.example.com:443"} },
		"an upstream that ends a line":   func(s *Site) { s.Machines.Upstream = "unix:/run/x; server 192.0.2.1:80" },
		"an upstream by name":            func(s *Site) { s.People.Upstream = "localhost:8080" },
		"a secret that is a variable":    func(s *Site) { s.Secret = "$remote_addr" },
		"a certificate that ends a line": func(s *Site) { s.People.Certificate = "/etc/c.pem;" },
		"a key without a path":           func(s *Site) { s.People.Key = "k.pem" },
		"people and devices as one":      func(s *Site) { s.People.Names, s.People.Listen = s.Machines.Names[:1], s.Machines.Listen },
	} {
		s := good()
		change(s)
		if _, err := s.Render(); !errors.Is(err, ErrSite) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// PRX-09: what a browser could be asked for, and what may be resumed, is as it should be.
func TestTheConfigurationSaysWhatItMust(t *testing.T) {
	t.Parallel()
	s := &Site{Dir: "/etc/nginx/sentinel", Machines: Machines{Names: []string{"devices.example.com", "2001:db8::7"}, Listen: []string{"0.0.0.0:443", "[::]:443"}, Upstream: "unix:/run/m.sock", IdleSeconds: 180},
		People: &People{Names: []string{"console.example.com"}, Listen: []string{"0.0.0.0:443", "[::]:443"}, Upstream: "unix:/run/p.sock", Certificate: "/c.pem", Key: "/k.pem"}}
	conf, err := s.Render()
	if err != nil {
		t.Fatal(err)
	}
	text := string(conf)
	for words, n := range map[string]int{
		"ssl_session_tickets off": 2, "ssl_session_cache   off": 2, "ssl_verify_client": 1, "/verify.conf;": 1, `"~^FAILED:CRL (has expired|is not yet valid) " lists;`: 1, " lists;": 1, "underscores_in_headers": 2,
		"server_name devices.example.com [2001:db8::7];": 1, "http2": 0, "proxy_pass_request_headers off": 2, "<no value>": 0,
	} {
		if got := strings.Count(text, words); got != n {
			t.Errorf("%q stands there %d times, not %d", words, got, n)
		}
	}
	s.People.Listen = []string{"0.0.0.0:8444"}
	if conf, err = s.Render(); err != nil || !strings.Contains(string(conf), "listen 0.0.0.0:8444 ssl http2;") || strings.Count(string(conf), "http2") != 1 {
		t.Errorf("people on an address of their own have no HTTP/2: %v", err)
	}
	s.People = nil
	if conf, err = s.Render(); err != nil || strings.Contains(string(conf), "sentinel_people") {
		t.Errorf("people are served who are not behind it: %v", err)
	}
}
