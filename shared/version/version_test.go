package version

import (
	"strings"
	"testing"
	"time"
)

func TestABuildThatWasToldNoTimeKnowsNone(t *testing.T) {
	was := BuildTime
	defer func() { BuildTime = was }()
	for set, want := range map[string]time.Time{
		"": {}, "x": {}, "1700000000": {}, "2026-05-01": {},
		"2026-05-01T12:00:00Z":      time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
		"2026-05-01T14:00:00+02:00": time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
	} {
		if BuildTime = set; !Built().Equal(want) || Built().Location() != time.UTC {
			t.Errorf("%q is %v, want %v", set, Built(), want)
		}
	}
}

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
