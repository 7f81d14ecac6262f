// Package version tells which build this is.
package version

import "time"

// Version is set when a release is linked:
//
//	go build -ldflags "-X <module>/shared/version.Version=1.2.3"
//
// A build without it says so by its name.
var Version = "0.0.0-dev"

// BuildTime is set beside it, in RFC 3339: the time of the commit, so that two
// builds of it are the same bytes. Empty, it is not known.
var BuildTime = ""

// Built is a time that has come for sure, since this program exists. It is zero
// when the linker was told none, or no time.
func Built() time.Time {
	t, err := time.Parse(time.RFC3339, BuildTime)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// maxLength is what a heartbeat may carry of it (protocol.MaxVersion).
const maxLength = 64

// String is the version as it is shown and sent: one line of printable ASCII, at
// most 64 bytes, whatever the linker was given.
func String() string {
	v := make([]byte, 0, maxLength)
	for i := 0; i < len(Version) && len(v) < maxLength; i++ {
		if c := Version[i]; c > ' ' && c < 0x7f {
			v = append(v, c)
		}
	}
	if len(v) == 0 {
		return "unknown"
	}
	return string(v)
}
