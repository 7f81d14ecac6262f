package config

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one reason why a configuration is refused. It never holds the
// refused value, which may be a secret in the wrong place.
type Problem struct {
	Key     string `json:"key"`     // the setting, or the settings file's path
	Message string `json:"message"` // what is wrong
	Fix     string `json:"fix"`     // what to write instead
}

// Problems is every reason found, in the order of the settings' description.
type Problems []Problem

func (ps Problems) Error() string {
	var b strings.Builder
	if len(ps) == 1 {
		b.WriteString("1 problem with the settings:")
	} else {
		fmt.Fprintf(&b, "%d problems with the settings:", len(ps))
	}
	for _, p := range ps {
		fmt.Fprintf(&b, "\n  %s: %s\n      to fix it: %s", p.Key, p.Message, p.Fix)
	}
	return b.String()
}

func (ps *Problems) add(key, message, fix string) {
	*ps = append(*ps, Problem{Key: key, Message: message, Fix: fix})
}

// has says whether a problem names one of the keys.
func (ps Problems) has(keys ...string) bool {
	for _, p := range ps {
		if slices.Contains(keys, p.Key) {
			return true
		}
	}
	return false
}
