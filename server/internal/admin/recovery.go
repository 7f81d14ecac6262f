package admin

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// A recovery code is 80 random bits. A plain hash of them cannot be turned around.
const (
	recoveryCodes = 10
	recoverySize  = 10
)

// codeText is base32 without letters that are taken for digits (Crockford's).
var codeText = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

func newRecoveryCodes() []string {
	codes := make([]string, recoveryCodes)
	for i := range codes {
		codes[i] = newCode(recoverySize)
	}
	return codes
}

// newCode is so many random bytes as people write them down: groups of four.
func newCode(size int) string {
	raw := make([]byte, size)
	rand.Read(raw)
	text := codeText.EncodeToString(raw)
	var groups []string
	for len(text) > 4 {
		groups, text = append(groups, text[:4]), text[4:]
	}
	return strings.Join(append(groups, text), "-")
}

// codeHash is what the database keeps of a code, "" for what is none. Spaces,
// hyphens and case say nothing, and letters that look like digits are those.
func codeHash(use, code string, size int) []byte {
	if len(code) > 128 {
		return nil
	}
	code = strings.NewReplacer("-", "", " ", "", "o", "0", "i", "1", "l", "1").Replace(strings.ToLower(code))
	raw, err := codeText.DecodeString(code)
	if err != nil || len(raw) != size || codeText.EncodeToString(raw) != code {
		return nil
	}
	sum := sha256.Sum256(append([]byte("sentinel-secure-x "+use+"\n"), raw...))
	return sum[:]
}
