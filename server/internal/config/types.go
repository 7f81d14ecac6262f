package config

import (
	"fmt"
	"io"
)

// Profile says what an installation is for. It decides which defaults and which
// refusals apply.
type Profile string

// The profiles, from the loosest to the strictest.
const (
	Trial      Profile = "trial"
	Staging    Profile = "staging"
	Production Profile = "production"
)

// ExternalCA is the value of SENTINEL_DEVICE_CA that says that devices come with
// certificates of another authority.
const ExternalCA = "external"

// LogFormat is how log lines are written to standard error.
type LogFormat string

// The formats.
const (
	LogJSON LogFormat = "json"
	LogText LogFormat = "text"
)

// People is a number of people. Where it was a switch before, true means one and
// false nobody.
type People int

// Secret is a value that no log, error or listing shows: every way of printing
// or encoding it gives "[secret]". Convert to string to use it.
type Secret string

const hidden = "[secret]"

// Format answers every verb of package fmt.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText answers encoding/json and log/slog.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

func (Secret) String() string { return hidden }
