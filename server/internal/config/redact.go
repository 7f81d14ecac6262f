package config

import (
	"maps"
	"net/url"
)

// KV is a setting and its value in a form that may be shown.
type KV struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Redacted lists every setting with its value in effect, in the order of the
// description. Of a secret it says only whether it is set; of the database's URL
// it shows host, port and database; of a program that signs not its arguments.
func (c *Config) Redacted() []KV {
	list := make([]KV, len(settings))
	for i, s := range settings {
		list[i] = KV{Key: s.Key, Value: s.shown(c)}
	}
	return list
}

func (s setting) shown(c *Config) string {
	value := s.text(c)
	if source, ok := s.field(c).(*KeySource); ok {
		value = source.Shown()
	}
	switch {
	case s.secret == secretURL && value != "":
		u, err := url.Parse(value)
		if err != nil {
			return hidden
		}
		return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	case s.secret == "":
		return value
	case value == "":
		return "[not set]"
	}
	return hidden
}

// Reserved lists the reserved settings that were set, in the order of the
// description: they are not in effect, and their operator must be told so.
func (c *Config) Reserved() []string {
	var keys []string
	for _, s := range settings {
		if s.Reserved && c.set[s.Key] {
			keys = append(keys, s.Key)
		}
	}
	return keys
}

// Files are the files that the settings name and that hold a secret, a private key
// or what must not be changed, by their setting.
func (c *Config) Files() map[string]string {
	named := maps.Clone(c.files)
	if named == nil {
		named = map[string]string{}
	}
	for key, path := range map[string]string{
		"SENTINEL_PEOPLE_TLS_CERT_FILE": c.PeopleTLSCertFile, "SENTINEL_PEOPLE_TLS_KEY_FILE": c.PeopleTLSKeyFile,
	} {
		if path != "" {
			named[key] = path
		}
	}
	return named
}
