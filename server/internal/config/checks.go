package config

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// pattern compiles a regular expression when it is first asked for: to compile them
// all takes a start longer than to read its settings, and few settings ask for one.
func pattern(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// checks are what a value must satisfy by itself, before it is stored; the tag
// "check" names one. Faults never hold the value.
var checks = map[string]func(string) *fault{
	"database-url": checkDatabaseURL,
	"header-token": checkHeaderToken,
	"https-url":    checkHTTPSURL,
	"key-source":   checkKeySource,
	"listen":       checkListen,
	"name-pattern": checkNamePattern,
	"names":        checkNames,
	"origins":      checkOrigins,
	"path":         checkPath,
	"proxy-listen": checkProxyListen,
	"pcrs":         checkPCRs,
	"responder":    checkResponder,
	"roles":        checkRoles,
	"some-source":  checkSomeKeySource,
	"sources":      checkSources,
	"title":        checkTitle,
	"trust-domain": checkTrustDomain,
	"url":          checkURL,
	"users":        checkUsers,
	"usages":       checkUsages,
}

func checkPath(text string) *fault {
	if len(text) > 4096 {
		return &fault{"is longer than any path", "write the path of one file or directory"}
	}
	return nil
}

func checkPCRs(text string) *fault {
	list := splitList(text)
	for i, word := range list {
		n, err := strconv.Atoi(word)
		if err != nil || n < 0 || n > 23 || strconv.Itoa(n) != word || slices.Contains(list[:i], word) {
			return &fault{"is not a list of registers", "write numbers from 0 to 23, each once, separated by commas, for example 0,2,4,7"}
		}
	}
	if len(list) == 0 {
		return &fault{"names no register", "write numbers from 0 to 23, separated by commas, for example 0,2,4,7"}
	}
	return nil
}

// fetchURL reports whether a text is a URL that something can be fetched from.
func fetchURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && isHost(u.Hostname()) && u.User == nil && u.Fragment == "" && len(text) <= 2048
}

func checkSources(text string) *fault {
	for _, s := range splitList(text) {
		if s == "" || strings.Contains(s, "://") && !fetchURL(s) || len(s) > 4096 {
			return &fault{"has an item that is neither a file nor a URL", "write paths, and URLs that begin with http:// or https://, separated by commas"}
		}
	}
	if len(splitList(text)) > 32 {
		return &fault{"has more than 32 items", "name at most 32 lists"}
	}
	return nil
}

func checkResponder(text string) *fault {
	if text != "aia" && !fetchURL(text) {
		return &fault{"is no responder", "write a URL that begins with http:// or https://, or aia for the one that each certificate names"}
	}
	return nil
}

func checkNamePattern(text string) *fault {
	if strings.Count(text, "{device_id}") != 1 || len(text) > 255 {
		return &fault{"does not hold {device_id} once", "write the whole name with {device_id} in its place, for example {device_id}.devices.example.com"}
	}
	return nil
}

var usage = pattern(`^[0-2](\.(0|[1-9][0-9]{0,9})){2,19}$`)

func checkUsages(text string) *fault {
	for _, u := range splitList(text) {
		named := u == "client-auth" || u == "server-auth"
		if !named && !usage().MatchString(u) || u == "2.5.29.37.0" { // anyExtendedKeyUsage asks for nothing
			return &fault{"has an item that is no usage", "write client-auth, or object identifiers such as 1.3.6.1.4.1.311.20.2.2, separated by commas"}
		}
	}
	return nil
}

func checkRoles(text string) *fault {
	for _, role := range splitList(text) {
		if !slices.Contains([]string{"viewer", "operator", "approver", "security", "admin"}, role) {
			return &fault{"names something that is no role", "write some of viewer, operator, approver, security and admin, separated by commas"}
		}
	}
	return nil
}

func checkTitle(text string) *fault {
	ok := utf8.RuneCountInString(text) <= 64 && strings.TrimSpace(text) == text
	for _, r := range text {
		ok = ok && unicode.IsPrint(r)
	}
	if !ok {
		return &fault{"is not a name that can be shown", "write at most 64 printable characters, without spaces at the ends"}
	}
	return nil
}

func checkListen(text string) *fault {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return &fault{"is not an address to listen on", "write host:port, for example 127.0.0.1:8080 or [::1]:8080"}
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return &fault{"has no usable port", "write a port from 1 to 65535 after the colon, or 0 for any free one"}
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "localhost" && host != "" {
		return &fault{"listens on a name, which may change its meaning", "write an IP address or localhost before the colon; nothing there means every address"}
	}
	return nil
}

// unixPrefix begins an address that is a Unix socket.
const unixPrefix = "unix:"

// maxSocketPath is what sockaddr_un holds, with the zero byte at its end (unix(7)).
const maxSocketPath = 107

// socketPath is plain, so that it stands in the proxy's own configuration as it is.
var socketPath = pattern(`^/[A-Za-z0-9._@+/-]+$`)

func checkProxyListen(text string) *fault {
	path, ok := strings.CutPrefix(text, unixPrefix)
	if !ok {
		return checkListen(text)
	}
	if !socketPath().MatchString(path) || len(path) > maxSocketPath {
		return &fault{"is not the path of a Unix socket", "write unix: and an absolute path of letters, digits and ._@+-, at most 107 characters, for example unix:/run/sentinel-proxy/machines.sock"}
	}
	return nil
}

// userName is what useradd takes, or a number.
var userName = pattern(`^([a-z_][a-z0-9_-]{0,31}|[0-9]{1,10})$`)

func checkUsers(text string) *fault {
	for _, user := range splitList(text) {
		if !userName().MatchString(user) {
			return &fault{"names something that is no user", "write the user that the proxy's workers run as, by name or number, for example www-data"}
		}
	}
	return nil
}

// checkHeaderToken keeps to what is the same in a header and in the proxy's own
// configuration, in which a dollar sign would begin a variable.
func checkHeaderToken(text string) *fault {
	if strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_.~-") != "" {
		return &fault{"has characters that cannot be written in a header", "make one with: " + generate}
	}
	return nil
}

// dnsName is a host name of lower-case letters, digits and hyphens (RFC 1123, 2.1).
var dnsName = pattern(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func isHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return len(host) <= 253 && dnsName().MatchString(host)
}

func isLoopback(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback()
	}
	// RFC 6761, 6.3: every name under localhost is this host.
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// maxNames bounds the server's certificate, which every handshake carries.
const maxNames = 32

func checkNames(text string) *fault {
	names := splitList(text)
	if len(names) > maxNames {
		return &fault{"has more than 32 names", "write the names that devices use, at most 32"}
	}
	for i, n := range names {
		if !isHost(n) {
			return &fault{"has an item that is no DNS name and no IP address", "write lower-case names and addresses separated by commas, without wildcards, schemes or ports, for example devices.example.com,192.0.2.7"}
		}
		if slices.Contains(names[:i], n) {
			return &fault{"names something twice", "write each name once"}
		}
	}
	return nil
}

// checkTrustDomain follows SPIFFE-ID, 2.1.
func checkTrustDomain(text string) *fault {
	strange := strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789.-_")
	if strange != "" || len(text) > 255 || strings.Trim(text, ".") != text || strings.Contains(text, "..") {
		return &fault{"is not a SPIFFE trust domain", "write a name of lower-case letters, digits, dots, hyphens and underscores, for example fleet.example.com"}
	}
	return nil
}

// bareURL parses scheme://host[:port] with nothing after it.
func bareURL(text string, schemes ...string) (*url.URL, bool) {
	u, err := url.Parse(text)
	if err != nil || !slices.Contains(schemes, u.Scheme) || !isHost(u.Hostname()) {
		return nil, false
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return nil, false
		}
	}
	// Whatever else a URL may hold shows here, a trailing colon included.
	host := u.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if u.Port() != "" {
		host += ":" + u.Port()
	}
	return u, text == u.Scheme+"://"+host
}

func checkURL(text string) *fault {
	if _, ok := bareURL(text, "https", "http"); !ok {
		return &fault{"is not the URL of a host", "write https:// and a lower-case host, with a port if needed and nothing after it, for example https://console.example.com"}
	}
	return nil
}

func checkHTTPSURL(text string) *fault {
	if _, ok := bareURL(text, "https"); !ok {
		return &fault{"is not the https URL of a host", "write https:// and a lower-case host, with a port if needed and nothing after it, for example https://devices.example.com:8443"}
	}
	return nil
}

func checkOrigins(text string) *fault {
	origins := splitList(text)
	for i, o := range origins {
		if o == "*" {
			if len(origins) > 1 {
				return &fault{"has * beside others", "write the exact origins only, without *"}
			}
			return nil
		}
		u, ok := bareURL(o, "https", "http")
		if !ok {
			return &fault{"has an item that is no origin", "write origins as browsers send them, separated by commas: scheme://host, a port if needed, nothing after it, for example https://dashboard.example.com"}
		}
		if u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" {
			return &fault{"has an origin with its scheme's usual port, which browsers leave out, so that it would never match", "leave out :443 after an https host and :80 after an http host"}
		}
		if slices.Contains(origins[:i], o) {
			return &fault{"names an origin twice", "write each origin once"}
		}
	}
	return nil
}

// checkDatabaseURL never passes on the error of url.Parse, which holds the URL.
func checkDatabaseURL(text string) *fault {
	fix := "write postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full (special characters in the password as %XX), or remove the line to use SQLite"
	u, err := url.Parse(text)
	if err != nil {
		return &fault{"is not a URL", fix}
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return &fault{"is not the URL of a PostgreSQL database", fix}
	}
	if _, err := url.ParseQuery(u.RawQuery); err != nil || u.Fragment != "" {
		return &fault{"has something after the database's name that cannot be read", fix}
	}
	if u.Hostname() == "" && u.Query().Get("host") == "" {
		return &fault{"names no host", fix}
	}
	if strings.Trim(u.Path, "/") == "" {
		return &fault{"names no database", fix}
	}
	return nil
}
