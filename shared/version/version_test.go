package version

import (
	"strings"
	"testing"
)

func TestTheVersionIsAlwaysOneShortPrintableWord(t *testing.T) {
	was := Version
	defer func() { Version = was }()
	for set, want := range map[string]string{
		"0.0.0-dev":              "0.0.0-dev",
		"":                       "unknown",
		"1.2.3\n\x1b[2J":         "1.2.3[2J",
		strings.Repeat("1", 100): strings.Repeat("1", 64),
	} {
		if Version = set; String() != want {
			t.Errorf("%q is shown as %q, want %q", set, String(), want)
		}
	}
}
