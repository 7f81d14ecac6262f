package preflight

import (
	"context"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
)

// Ask is what Gather looks at.
type Ask struct {
	Inspection   config.Inspection
	SettingsFile string
	ProxyHeaders bool // a proxy is said to pass certificates on in headers
	Listeners    bool // look at what answers at the two addresses
	Units        []string
	Now          time.Time
}

// SystemdUnits is where systemd looks for units, the first place winning.
func SystemdUnits() []string {
	return []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}
}

// gatherFor bounds all of it: whoever asks waits at a terminal.
const gatherFor = time.Minute

// Gather finds the facts. It changes nothing: no file, no row, no directory. What it
// could not find is a fact, too; it has no error.
func Gather(ctx context.Context, ask Ask) *Facts {
	ctx, cancel := context.WithTimeout(ctx, gatherFor)
	defer cancel()
	f := &Facts{
		At: ask.Now, Written: ask.Inspection.Written, Config: ask.Inspection.Config, Problems: ask.Inspection.Problems,
		SettingsFile: ask.SettingsFile, ProxyHeaders: ask.ProxyHeaders,
	}
	f.Files = gatherFiles(f.Config, ask.SettingsFile)
	gatherDatabase(ctx, f)
	if ask.Listeners {
		f.Listening = gatherListening(ctx, f.Config)
	}
	f.Service = gatherService(ask.Units)
	return f
}
