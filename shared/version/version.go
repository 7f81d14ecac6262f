// Package version tells which build this is.
package version

// Version is set when a release is linked:
//
//	go build -ldflags "-X <module>/shared/version.Version=1.2.3"
//
// A build without it says so by its name.
var Version = "0.0.0-dev"

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
