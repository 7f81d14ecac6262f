package nginx

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	packaged "github.com/sentinel-secure-x/sentinel-secure-x/packaging/nginx"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Site is what NGINX is to serve.
type Site struct {
	Dir      string // beside its configuration, where what it goes by lies
	Machines Machines
	People   *People // nil: the console is not behind it
	Secret   string  // what it proves itself by on an address; "" on a socket
}

// Machines is the side of devices.
type Machines struct {
	Names       []string // DNS names and addresses that devices use
	Listen      []string // as NGINX's listen takes it
	Upstream    string   // as NGINX's server in an upstream block takes it
	IdleSeconds int      // how long a device's connection is kept
}

// People is the side of people.
type People struct {
	Names       []string
	Listen      []string
	Upstream    string
	Certificate string // path of its chain, which browsers believe
	Key         string
}

// http2 is for browsers, and never on an address that devices use, too: NGINX would
// speak it there as well.
func (s *Site) http2() bool {
	return !slices.ContainsFunc(s.People.Listen, func(l string) bool { return slices.Contains(s.Machines.Listen, l) })
}

// ErrSite says that NGINX cannot serve it so.
var ErrSite = errors.New("NGINX cannot serve this")

// What is written into the configuration as it is has no character that means
// anything there.
var (
	plainPath   = regexp.MustCompile(`^/[A-Za-z0-9._@+/-]+$`)
	plainName   = regexp.MustCompile(`^[a-z0-9._-]+$`)
	plainSecret = regexp.MustCompile(`^[A-Za-z0-9+/=_.~-]*$`)
)

func (s *Site) check() error {
	if !plainPath.MatchString(s.Dir) {
		return fmt.Errorf("%w: the directory must be an absolute path of letters, digits and ._@+-", ErrSite)
	}
	if !plainSecret.MatchString(s.Secret) {
		return fmt.Errorf("%w: the secret has characters that mean something to it", ErrSite)
	}
	if err := checkSide(s.Machines.Names, s.Machines.Listen, s.Machines.Upstream); err != nil || s.People == nil {
		return err
	}
	p := s.People
	if !plainPath.MatchString(p.Certificate) || !plainPath.MatchString(p.Key) {
		return fmt.Errorf("%w: the console's certificate and key must be absolute paths of letters, digits and ._@+-", ErrSite)
	}
	for _, l := range p.Listen {
		for _, name := range p.Names {
			if slices.Contains(s.Machines.Listen, l) && slices.Contains(s.Machines.Names, name) {
				return fmt.Errorf("%w: people and devices use the same name and port (%s, %s), and a browser would be asked for a certificate; give one of them another name or another port", ErrSite, name, l)
			}
		}
	}
	return checkSide(p.Names, p.Listen, p.Upstream)
}

func checkSide(names, listen []string, upstream string) error {
	if len(names) == 0 || len(listen) == 0 {
		return fmt.Errorf("%w: a side has no name or no address", ErrSite)
	}
	for _, name := range names {
		if _, err := netip.ParseAddr(name); err != nil && !plainName.MatchString(name) {
			return fmt.Errorf("%w: %q is no name of a host", ErrSite, name)
		}
	}
	for _, l := range listen {
		if at, err := netip.ParseAddrPort(l); err != nil || at.Port() == 0 || at.Addr().Zone() != "" {
			return fmt.Errorf("%w: %q is no address to listen on; write an IP address and a port, such as 0.0.0.0:8443", ErrSite, l)
		}
	}
	path, socket := strings.CutPrefix(upstream, "unix:")
	if _, err := netip.ParseAddrPort(upstream); socket && !plainPath.MatchString(path) || !socket && err != nil {
		return fmt.Errorf("%w: the server listens at %q, which must be a Unix socket or an IP address and a port", ErrSite, upstream)
	}
	return nil
}

// Cleared are the headers that are somebody's word about a client, by the habits of
// other proxies: none of ours ever comes from a client, and none of theirs gets far.
var Cleared = []string{
	"X-SSL-Client-Verify", "X-SSL-Client-Cert", "Client-Cert", "Client-Cert-Chain",
	"X-SSL-Cert", "X-SSL-Client-S-DN", "X-SSL-Client-I-DN", "X-SSL-Client-Serial", "X-SSL-Client-Fingerprint", "X-SSL-Client-SHA1",
	"SSL-Client-Cert", "SSL-Client-Verify", "X-Client-Cert", "X-Client-Verify", "X-Client-Certificate", "X-ARR-ClientCert",
	"X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert", "X-Forwarded-Tls-Client-Cert-Info", "X-Amzn-Mtls-Clientcert", "X-Amzn-Mtls-Clientcert-Leaf",
	"Forwarded", "X-Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Forwarded-Server",
	"X-Forwarded-Scheme", "X-Forwarded-Ssl", "X-Forwarded-User", "X-Real-IP", "X-Client-IP", "X-Cluster-Client-IP", "X-Originating-IP", "X-Remote-IP", "X-Remote-Addr",
	"X-Remote-User", "Remote-User", "True-Client-IP", "CF-Connecting-IP", "Fastly-Client-IP", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override",
}

// Render is the configuration of a site.
func (s *Site) Render() ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	t, err := template.New("sentinel.conf").Option("missingkey=error").Funcs(template.FuncMap{
		"cleared": func() []string { return Cleared },
		"problem": problem,
	}).Parse(packaged.Template)
	if err != nil {
		return nil, err
	}
	shown := view{Dir: s.Dir, Machines: s.Machines}
	shown.Machines.Names = bracketed(s.Machines.Names)
	if s.People != nil {
		shown.People = &peopleView{People: *s.People, HTTP2: s.http2()}
		shown.People.Names = bracketed(s.People.Names)
	}
	var out strings.Builder
	if err := t.Execute(&out, shown); err != nil {
		return nil, err
	}
	return []byte(out.String()), nil
}

// view is a Site as the template sees it.
type view struct {
	Dir      string
	Machines Machines
	People   *peopleView
}

type peopleView struct {
	People

	HTTP2 bool
}

// bracketed writes addresses as they stand in a URL.
func bracketed(names []string) []string {
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = n
		if strings.Contains(n, ":") {
			list[i] = "[" + n + "]"
		}
	}
	return list
}

// problem is an answer that a device understands, in one line without a quote that
// would end it.
func problem(status int, code, title string) (string, error) {
	body, err := json.Marshal(protocol.Problem{Type: protocol.ProblemType + code, Title: title, Status: status, Code: protocol.Code(code)})
	if err == nil && bytes.ContainsAny(body, `'$\`) {
		err = errors.New("a problem has a character that means something to NGINX")
	}
	return string(body), err
}

func (s *Site) secretFile() []byte {
	return []byte("# What this proxy proves itself by to the server, on an address.\nproxy_set_header X-Sentinel-Proxy-Key \"" + s.Secret + "\";\n")
}

// endFile tells the server what NGINX goes by, with each request.
func (m *Material) endFile() []byte {
	ends := `""` // which takes a client's own away
	if len(m.Lists) > 0 {
		ends = strconv.FormatInt(m.Ends().Unix(), 10)
	}
	return []byte("# When the first of the revocation lists ends that were loaded with this file.\nproxy_set_header X-Sentinel-Lists-End " + ends + ";\n")
}

// verifyFile is what NGINX verifies devices' certificates with, beside AuthoritiesFile.
func (m *Material) verifyFile(dir string) []byte {
	text := "# What devices' certificates are verified with, beside " + AuthoritiesFile + ".\n"
	if len(m.Outside) > 0 {
		text += "ssl_trusted_certificate " + dir + "/" + OutsideFile + ";\n"
	}
	if len(m.Lists) > 0 {
		text += "ssl_crl " + dir + "/" + ListsFile + ";\n"
	}
	return []byte(text)
}

// generationFile is what NGINX answers to who asks what it goes by.
func generationFile(generation string) []byte {
	return []byte("# What is loaded now: sentinel-server nginx asks whether NGINX took it over.\ndefault_type text/plain;\nreturn 200 " + generation + ";\n")
}
