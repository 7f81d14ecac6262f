package config

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.conf")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAFlagBeatsTheEnvironmentBeatsTheFileBeatsTheDefault(t *testing.T) {
	t.Parallel()
	src := Sources{
		Flags:   map[string]string{"log-level": "error"},
		Environ: []string{"SENTINEL_AGENT_LOG_LEVEL=warn", "SENTINEL_AGENT_LOG_FORMAT=text", "PATH=/bin"},
		File: file(t, "# settings\n\nSENTINEL_AGENT_LOG_LEVEL=debug\nSENTINEL_AGENT_LOG_FORMAT=json\r\n"+
			"SENTINEL_AGENT_SERVER=https://Sentinel.example\n"),
	}
	c, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	if c.LogLevel != slog.LevelError || c.LogFormat != "text" || c.Server != "https://sentinel.example:443" || c.MinInterval != 5*time.Second {
		t.Errorf("got %+v", c)
	}
}

func TestEveryProblemIsToldAtOnceAndNoValueIsRepeated(t *testing.T) {
	t.Parallel()
	_, err := Load(Sources{
		Flags:   map[string]string{"state-dir": "s3cret/relative", "device-id": "S3CRET"},
		Environ: []string{"SENTINEL_AGENT_TOKEN=s3cret with blanks", "SENTINEL_AGENT_SERVR=s3cret", "SENTINEL_AGENT_MIN_INTERVAL=s3cret"},
		File:    file(t, "SENTINEL_AGENT_LOG_LEVEL=s3cret\nSENTINEL_AGENT_LOG_LEVEL=info\ns3cret\nSENTINEL_AGENT_PROXY=\"http://s3cret:1\"\n"),
	})
	if _, ok := errors.AsType[Problems](err); !ok {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"--state-dir: write an absolute path", "--device-id:", "SENTINEL_AGENT_TOKEN:", "line 2: the setting stands twice", "line 3: write SENTINEL_AGENT_NAME=value",
		"line 4: write the value without quotes", "line 1: write debug, info", "SENTINEL_AGENT_MIN_INTERVAL:", "SENTINEL_AGENT_SERVR: there is no such setting; leave it out, or write SENTINEL_AGENT_SERVER",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing about %q in:\n%v", want, err)
		}
	}
	if strings.Contains(strings.ToLower(err.Error()), "s3cret") {
		t.Errorf("a value is repeated:\n%v", err)
	}
}

func TestAServerIsAnAddressAndNothingMore(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"https://s.example:8443":   "https://s.example:8443",
		"https://S.Example/":       "https://s.example:443",
		"https://192.0.2.1:8443":   "https://192.0.2.1:8443",
		"https://[2001:db8::1]:1":  "https://[2001:db8::1]:1",
		"http://s.example":         "",
		"s.example:8443":           "",
		"https://":                 "",
		"https://:8443":            "",
		"https://u:p@s.example":    "",
		"https://s.example/path":   "",
		"https://s.example?x=1":    "",
		"https://s.example#x":      "",
		"https://s.example:0":      "",
		"https://s.example:99999":  "",
		"https://s%2eexample":      "",
		"https://s.example\\@evil": "",
		"https://sé.example":       "",
	} {
		c, err := Load(Sources{Flags: map[string]string{"server": given}})
		switch {
		case want == "" && err == nil:
			t.Errorf("%q was taken as %q", given, c.Server)
		case want != "" && (err != nil || c.Server != want):
			t.Errorf("%q: got %+v, %v", given, c, err)
		}
	}
}

// AGT-12: the proxy comes from the agent's own settings only.
func TestAProxyInTheEnvironmentIsNotLookedAt(t *testing.T) {
	t.Parallel()
	c, err := Load(Sources{Environ: []string{"HTTPS_PROXY=http://evil:1", "https_proxy=http://evil:1", "ALL_PROXY=http://evil:1", "HTTP_PROXY=http://evil:1"}})
	if err != nil || c.Proxy != nil {
		t.Fatalf("got %v, %v", c.Proxy, err)
	}
	c, err = Load(Sources{Environ: []string{"SENTINEL_AGENT_PROXY=http://proxy.example:3128"}})
	if err != nil || c.Proxy.Host != "proxy.example:3128" {
		t.Fatalf("got %v, %v", c, err)
	}
}

func TestDigestsAreTakenAsOtherToolsPrintThem(t *testing.T) {
	t.Parallel()
	plain := strings.Repeat("ab", 32)
	colons := strings.TrimSuffix(strings.Repeat("AB:", 32), ":")
	c, err := Load(Sources{Flags: map[string]string{"ca-fingerprint": colons, "fleet-root": plain}})
	if err != nil || c.CAFingerprint != plain || c.FleetRoot != plain {
		t.Fatalf("got %+v, %v", c, err)
	}
	for _, bad := range []string{plain[2:], plain + "00", strings.Repeat("xy", 32)} {
		if _, err := Load(Sources{Flags: map[string]string{"fleet-root": bad}}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// AGT-09: whoever may change the file may send the device elsewhere.
func TestASettingsFileThatOthersMayChangeIsRefused(t *testing.T) {
	t.Parallel()
	path := file(t, "SENTINEL_AGENT_LOG_LEVEL=debug\n")
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o644: true, 0o620: false, 0o602: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(Sources{File: path}); (err == nil) != ok {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	for _, missing := range []string{path + ".missing", filepath.Dir(path)} {
		if _, err := Load(Sources{File: missing}); err == nil {
			t.Errorf("%s was taken", missing)
		}
	}
}

func TestEverySettingIsDescribedOnce(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range Settings() {
		if s.Key == "" || s.Flag == "" || s.About == "" || s.read == nil || seen[s.Key] || seen[s.Flag] {
			t.Errorf("%+v", s)
		}
		if strings.ReplaceAll(strings.ToLower(s.Key), "_", "-") != s.Flag {
			t.Errorf("%s has the flag --%s", s.Env(), s.Flag)
		}
		seen[s.Key], seen[s.Flag] = true, true
	}
	groups := 0
	for _, group := range [][]string{Everywhere, Logging, Connecting, Enrolling, Running, Hardware, Outside} {
		for _, key := range group {
			groups++
			if !seen[key] {
				t.Errorf("%s is in a group and not described", key)
			}
		}
	}
	if groups != len(Settings()) {
		t.Errorf("%d settings in groups, %d described", groups, len(Settings()))
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "# x\n", "SENTINEL_AGENT_SERVER=https://a\n", "SENTINEL_AGENT_=x", "A=b", "SENTINEL_AGENT_A=\x00", "SENTINEL_AGENT_A=1\nSENTINEL_AGENT_A=2", "SENTINEL_AGENT_A='x'"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		values, problems := parse("f", data)
		for key, v := range values {
			if key == "" || strings.ContainsAny(key, "= \t\n") || strings.ContainsAny(v.text, "\n\"'\\\x00") {
				t.Errorf("%q=%q came through", key, v.text)
			}
		}
		for _, p := range problems {
			if p.Where == "" || p.Fix == "" {
				t.Errorf("a problem that does not help: %+v", p)
			}
		}
	})
}

// C1: both files or none, each by its whole path.
func TestTheFilesOfACertificateComeTogether(t *testing.T) {
	t.Parallel()
	c, err := Load(Sources{Environ: []string{"SENTINEL_AGENT_CERTIFICATE_FILE=/etc/device/edge.pem", "SENTINEL_AGENT_KEY_FILE=/etc/device/edge.key"}})
	if err != nil || c.CertificateFile != "/etc/device/edge.pem" || c.KeyFile != "/etc/device/edge.key" {
		t.Fatalf("%+v %v", c, err)
	}
	for _, environ := range [][]string{
		{"SENTINEL_AGENT_CERTIFICATE_FILE=/etc/device/edge.pem"}, {"SENTINEL_AGENT_KEY_FILE=/etc/device/edge.key"},
		{"SENTINEL_AGENT_CERTIFICATE_FILE=edge.pem", "SENTINEL_AGENT_KEY_FILE=/etc/device/edge.key"},
	} {
		if _, err := Load(Sources{Environ: environ}); err == nil {
			t.Errorf("%v is taken", environ)
		}
	}
}
