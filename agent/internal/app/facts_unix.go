//go:build unix

package app

import (
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

func addSystem(facts protocol.Facts) {
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		facts["kernel"] = unix.ByteSliceToString(u.Release[:])
	}
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} { // os-release(5)
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		data, _ := io.ReadAll(io.LimitReader(f, 8<<10))
		_ = f.Close()
		facts["os_version"] = osVersion(string(data))
		return
	}
}

// osVersion is the line that the distribution calls itself by. Quotes are taken
// off; the shell's other liberties are not.
func osVersion(release string) string {
	for line := range strings.Lines(release) {
		if v, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(strings.TrimSpace(v), `"'`)
		}
	}
	return ""
}
