package config

import "strings"

const (
	minSecret = 32   // bytes; 32 random bytes in hex or base64 are more
	maxSecret = 4096 // bytes; more than any key, less than a wrong file

	generate = "openssl rand -base64 48"
)

// placeholders stand in examples and habits. Each has at least six letters, so
// that a random base64 value holds one by chance in fewer than one of ten million.
var placeholders = []string{
	"change-me", "changeme", "change_me", "change-this", "secret", "password",
	"passwd", "placeholder", "example", "default", "sentinel", "replace", "insecure",
	"qwerty", "letmein", "1234567890",
}

// weakness says why a secret is refused, or nil. It judges carelessness, not
// entropy: what was made by the command it recommends always passes.
func weakness(text string) *fault {
	fix := "make one with: " + generate
	switch {
	case len(text) < minSecret:
		return &fault{"is shorter than 32 bytes", fix}
	case len(text) > maxSecret:
		return &fault{"is longer than 4096 bytes", fix}
	case strings.TrimSpace(text) != text:
		return &fault{"has spaces at its ends, which are easily lost", fix}
	case isPlaceholder(text):
		return &fault{"is or holds a placeholder", fix}
	case distinct(text) < 8 || repeats(text) || longestRun(text) >= 12:
		return &fault{"repeats itself or follows a pattern", fix}
	}
	return nil
}

func isPlaceholder(text string) bool {
	lower := strings.ToLower(text)
	for _, p := range placeholders {
		if strings.Contains(lower, p) {
			return true
		}
	}
	return false
}

func distinct(text string) int {
	var seen [256]bool
	n := 0
	for _, b := range []byte(text) {
		if !seen[b] {
			seen[b] = true
			n++
		}
	}
	return n
}

// repeats says whether text is a shorter text written several times over.
func repeats(text string) bool {
	// Such a text, doubled, holds itself before its own end.
	return strings.Index(text[1:]+text, text) < len(text)-1
}

// longestRun is the length of the longest stretch of consecutive bytes, as in
// abcdef or 987654.
func longestRun(text string) int {
	longest, up, down := 1, 1, 1
	for i := 1; i < len(text); i++ {
		up, down = up+1, down+1
		if text[i] != text[i-1]+1 {
			up = 1
		}
		if text[i] != text[i-1]-1 {
			down = 1
		}
		longest = max(longest, up, down)
	}
	return longest
}
