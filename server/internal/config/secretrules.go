package config

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// missingSecrets lists what must be set in this profile and is not.
func (c *Config) missingSecrets(known Problems) Problems {
	var found Problems
	for _, s := range settings {
		if !s.Required || c.Profile == Trial || c.set[s.Key] || known.has(s.Key, s.Key+fileSuffix) {
			continue
		}
		found.add(s.Key, fmt.Sprintf("is not set; only in the %s profile does the server make its own", Trial),
			fmt.Sprintf("make one with: %s; then set %s, or write it to a file of mode 0600 and set %s%s to its path", generate, s.Key, s.Key, fileSuffix))
	}
	return found
}

// sharedSecrets lists secrets that equal one before them: whoever learns the one
// would have the other, and a rotation that keeps the value rotates nothing.
func (c *Config) sharedSecrets() Problems {
	var found Problems
	owner := map[string]string{}
	for _, s := range settings {
		value := s.text(c)
		if s.secret != secretKey || value == "" {
			continue
		}
		if first, taken := owner[value]; taken {
			found.add(s.Key, "has the same value as "+first, "give each its own; make one with: "+generate)
			continue
		}
		owner[value] = s.Key
	}
	return found
}

// brokenTLS checks that the people side's certificate and key are there, closed
// and belong together, so that a mistake shows before anyone is served.
func (c *Config) brokenTLS(known Problems) Problems {
	const certKey, keyKey = "SENTINEL_PEOPLE_TLS_CERT_FILE", "SENTINEL_PEOPLE_TLS_KEY_FILE"
	var found Problems
	switch {
	case known.has(certKey, keyKey) || c.PeopleTLSCertFile == "" && c.PeopleTLSKeyFile == "":
		return nil
	case c.PeopleTLSCertFile == "":
		found.add(certKey, "is empty, but "+keyKey+" is set", "set both, or none for plain HTTP on loopback")
		return found
	case c.PeopleTLSKeyFile == "":
		found.add(keyKey, "is empty, but "+certKey+" is set", "set both, or none for plain HTTP on loopback")
		return found
	}
	cert, _, f := readLimited(c.PeopleTLSCertFile, maxFile)
	if f != nil {
		found.add(certKey, "its file "+f.message, f.fix)
	}
	key, mode, f := readLimited(c.PeopleTLSKeyFile, maxFile)
	if f != nil {
		found.add(keyKey, "its file "+f.message, f.fix)
	} else if modesCount && mode.Perm()&0o077 != 0 {
		found.add(keyKey, "its file is open to other users", "run: chmod 0600 on the file")
	}
	if found != nil {
		return found
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		found.add(certKey, "and "+keyKey+" are no certificate and its key in PEM", "give the certificate chain, the server's own certificate first, and the private key that belongs to it")
	}
	return found
}

// DatabaseInTheClear says whether the connection may leave this host in plain text.
func (c *Config) DatabaseInTheClear() bool { return unprotected(c.DatabaseURL) }

// DatabasePasswordWeak says whether the database's password is a placeholder.
func (c *Config) DatabasePasswordWeak() bool { return guessable(c.DatabaseURL) }

// DatabaseSSLMode is the URL's sslmode, and whether the database is on this host.
func (c *Config) DatabaseSSLMode() (mode string, local bool) {
	u, err := url.Parse(string(c.DatabaseURL))
	if err != nil || c.DatabaseURL == "" {
		return "", false
	}
	return u.Query().Get("sslmode"), onThisHost(u)
}

// unprotected says whether the connection may leave this host in plain text.
func unprotected(database Secret) bool {
	u, err := url.Parse(string(database))
	if err != nil || database == "" {
		return false
	}
	mode := u.Query().Get("sslmode")
	return !onThisHost(u) && mode != "require" && mode != "verify-ca" && mode != "verify-full"
}

// onThisHost says whether every host that a database's URL names is this one.
func onThisHost(u *url.URL) bool {
	hosts := strings.Split(u.Host, ",")
	if h := u.Query().Get("host"); h != "" {
		hosts = strings.Split(h, ",") // as pgx reads it, the query wins
	}
	return !slices.ContainsFunc(hosts, func(h string) bool {
		if name, _, err := net.SplitHostPort(h); err == nil {
			h = name
		}
		return !strings.HasPrefix(h, "/") && !isLoopback(strings.Trim(h, "[]"))
	})
}

func guessable(database Secret) bool {
	u, err := url.Parse(string(database))
	if err != nil {
		return false
	}
	password, set := u.User.Password()
	if q := u.Query(); q.Has("password") {
		password, set = q.Get("password"), true
	}
	return set && (password == "" || password == u.User.Username() || password == "postgres" || isPlaceholder(password))
}
