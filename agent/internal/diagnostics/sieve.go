package diagnostics

import (
	"bytes"
	"encoding/json"
	"net/url"
	"regexp"
)

const cut = "[left out]"

// shortest is how long a secret must be to be looked for: a shorter one would be
// found in half the words.
const shortest = 5

var (
	privateKey = regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)`)
	userInfo   = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s"'@]+@`)

	// named is a value whose name says that it is a secret: name=value, "name":
	// "value", --name value, in all the ways in which logs quote them.
	named = regexp.MustCompile(`(?i)((?:token|password|passwd|secret|authorization|cookie|nonce|receipt)\\*["']?\s*[:=]\s*\\*["']?|--(?:token|password)\s+)` +
		`(?:(?:basic|bearer)\s+)?[^\s"'\\,;}]+`)
	bearer = regexp.MustCompile(`(?i)\b((?:basic|bearer)\s+)[A-Za-z0-9+/=._~-]{8,}`)
)

// sieve cuts secrets out of what is about to be written.
type sieve struct{ known [][]byte }

// newSieve knows these secrets, each as it is, as JSON writes it and as an
// address does.
func newSieve(secrets []string) *sieve {
	s := &sieve{}
	for _, secret := range secrets {
		if len(secret) < shortest {
			continue
		}
		s.known = append(s.known, []byte(secret), []byte(url.QueryEscape(secret)), []byte(url.PathEscape(secret)))
		if quoted, err := json.Marshal(secret); err == nil {
			s.known = append(s.known, bytes.Trim(quoted, `"`))
		}
	}
	return s
}

// clean is for every member.
func (s *sieve) clean(data []byte) []byte {
	for _, secret := range s.known {
		data = bytes.ReplaceAll(data, secret, []byte(cut))
	}
	data = privateKey.ReplaceAll(data, []byte(cut))
	return userInfo.ReplaceAll(data, []byte("${1}"+cut+"@"))
}

// cleanText is for free text, where a secret may stand that nobody here knows.
func (s *sieve) cleanText(data []byte) []byte {
	data = s.clean(data)
	data = named.ReplaceAll(data, []byte("${1}"+cut))
	return bearer.ReplaceAll(data, []byte("${1}"+cut))
}
