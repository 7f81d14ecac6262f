package admin

import (
	_ "embed"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPassword bounds what is hashed, in bytes.
const maxPassword = 256

//go:embed common.txt
var commonList string

var common = func() map[string]bool {
	m := map[string]bool{}
	for word := range strings.Lines(commonList) {
		m[strings.TrimSpace(word)] = true
	}
	return m
}()

// checkPassword applies the rules for a new password: long enough, not one that
// everybody tries first, and no demands on its composition (NIST SP 800-63B
// section 3.1.1).
func checkPassword(password, name string, minLength int) error {
	switch {
	case !utf8.ValidString(password):
		return &InvalidError{"password", "is not UTF-8"}
	case utf8.RuneCountInString(password) < minLength:
		return &InvalidError{"password", fmt.Sprintf("must have at least %d characters", minLength)}
	case len(password) > maxPassword:
		return &InvalidError{"password", fmt.Sprintf("must have at most %d bytes", maxPassword)}
	case guessable(password, name):
		return &InvalidError{"password", "is among the first that anyone would try"}
	}
	return nil
}

// guessable reports whether the password is a short piece over and over, or
// little else than a common password or the account's name, once or repeated.
func guessable(password, name string) bool {
	if piece(strings.ToLower(password)) <= 4 {
		return true
	}
	bare := bareText(password)
	if 4*len(bare) < 3*len(password) {
		return false // mostly signs: its letters and digits alone say little
	}
	unit := bare[:piece(bare)]
	return common[bare] || common[unit] || unit == bareText(name)
}

func bareText(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// piece is the length of the shortest text that s is a repetition of.
func piece(s string) int {
	if s == "" {
		return 0
	}
	return strings.Index((s + s)[1:], s) + 1
}
