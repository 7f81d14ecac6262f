package app

import (
	"regexp"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/service"
)

// stateful are mentions of the commands that take the state directory.
var stateful = regexp.MustCompile(`sentinel-agent (enroll|run|status|doctor|diagnostics|unenroll)\b( --help| --state-dir)?`)

// Here makes the commands that a text mentions ones for this state directory: it is
// named where it is not the default, and not yet.
func Here(dir, text string) string {
	if dir == "" || dir == config.DefaultStateDir() {
		return text
	}
	return stateful.ReplaceAllStringFunc(text, func(mention string) string {
		if strings.HasSuffix(mention, "--help") || strings.HasSuffix(mention, "--state-dir") {
			return mention
		}
		return mention + " --state-dir " + quoted(dir)
	})
}

// plain is what every shell takes as it is.
var plain = regexp.MustCompile(`^[A-Za-z0-9_./:\\-]+$`)

func quoted(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return `"` + s + `"`
}

// Start says how the agent is started. The service is offered where a service
// manager runs, for the state directory that the service uses.
func Start(dir string) string {
	return start(dir, service.Managed())
}

func start(dir string, managed bool) string {
	if managed && dir == config.DefaultStateDir() {
		return "sentinel-agent service install && sentinel-agent service start, or: sentinel-agent run"
	}
	return Here(dir, "sentinel-agent run")
}
