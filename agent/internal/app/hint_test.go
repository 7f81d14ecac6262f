package app

import (
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
)

func TestCommandsInTextsAreForTheStateDirectoryInUse(t *testing.T) {
	t.Parallel()
	const text = "sentinel-agent unenroll, and then: sentinel-agent enroll; sentinel-agent enroll --help; sentinel-agent service stop"
	for dir, want := range map[string]string{
		config.DefaultStateDir(): text,
		"":                       text,
		"/srv/a": "sentinel-agent unenroll --state-dir /srv/a, and then: sentinel-agent enroll --state-dir /srv/a; " +
			"sentinel-agent enroll --help; sentinel-agent service stop",
		"/srv/a b": `sentinel-agent unenroll --state-dir "/srv/a b", and then: sentinel-agent enroll --state-dir "/srv/a b"; ` +
			"sentinel-agent enroll --help; sentinel-agent service stop",
	} {
		if got := Here(dir, text); got != want {
			t.Errorf("in %q: %s", dir, got)
		}
		if got := Here(dir, Here(dir, text)); got != want {
			t.Errorf("twice in %q: %s", dir, got)
		}
	}
}

func TestTheServiceIsOfferedWhereAManagerRunsAndForItsOwnState(t *testing.T) {
	t.Parallel()
	const foreground = "sentinel-agent run"
	const both = "sentinel-agent service install && sentinel-agent service start, or: sentinel-agent run"
	for _, c := range []struct {
		dir     string
		managed bool
		want    string
	}{
		{config.DefaultStateDir(), true, both},
		{config.DefaultStateDir(), false, foreground},
		{"/srv/a", true, foreground + " --state-dir /srv/a"},
	} {
		if got := start(c.dir, c.managed); got != c.want {
			t.Errorf("%s, a manager %v: %s", c.dir, c.managed, got)
		}
	}
}
