package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/nginx"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/proxy"
)

// behindNGINX is an environment of a server that believes a proxy.
func behindNGINX(dir string, more ...string) []string {
	return append([]string{
		"SENTINEL_DATA_DIR=" + dir, "SENTINEL_TRUST_PROXY_CERT_HEADERS=true", "SENTINEL_PROXY_LISTEN=unix:/run/sentinel-proxy/machines.sock", "SENTINEL_PROXY_USERS=www-data", "SENTINEL_MACHINE_LISTEN=127.0.0.1:8444",
		"SENTINEL_MACHINE_NAMES=devices.example.com,192.0.2.7", "SENTINEL_MACHINE_URL=https://devices.example.com:8443",
	}, more...)
}

func people(url string) []string {
	return []string{"SENTINEL_PROXY_PEOPLE_LISTEN=unix:/run/sentinel-proxy/people.sock", "SENTINEL_PEOPLE_URL=" + url}
}

func TestTheConfigurationFollowsFromTheSettings(t *testing.T) {
	t.Parallel()
	dry := []string{"nginx", "install", "--dry-run"}
	console := []string{"--console-certificate", "/etc/ssl/c.pem", "--console-key", "/etc/ssl/k.pem"}
	for name, c := range map[string]struct {
		args, environ []string
		code          int
		says          []string
	}{
		"devices alone": {dry, nil, 0, []string{"server_name devices.example.com 192.0.2.7;", "listen 0.0.0.0:8443 ssl;", "server unix:/run/sentinel-proxy/machines.sock;", "keepalive_timeout           180s;"}},
		"two names, one port": {
			slices.Concat(dry, console), append(people("https://console.example.com"), "SENTINEL_MACHINE_URL=https://devices.example.com"), 0,
			[]string{"server_name console.example.com;", "listen 0.0.0.0:443 ssl;", "server unix:/run/sentinel-proxy/people.sock;"},
		},
		"one name, two ports":                {slices.Concat(dry, console), people("https://devices.example.com"), 0, []string{"listen 0.0.0.0:443 ssl http2;", "listen 0.0.0.0:8443 ssl;"}},
		"one name, one port":                 {slices.Concat(dry, console), people("https://devices.example.com:8443"), 1, []string{"another name or another port"}},
		"an address of its own":              {append(dry, "--listen-machines", "192.0.2.7:9443"), nil, 0, []string{"listen 192.0.2.7:9443 ssl;"}},
		"where the server listens itself":    {dry, []string{"SENTINEL_MACHINE_LISTEN=127.0.0.1:8443"}, 1, []string{"SENTINEL_MACHINE_LISTEN=127.0.0.1:8444"}},
		"where the server listens to all":    {append(dry, "--listen-machines", "192.0.2.7:8444"), []string{"SENTINEL_MACHINE_LISTEN=:8444"}, 1, []string{"SENTINEL_MACHINE_LISTEN"}},
		"where the server shows the console": {slices.Concat(dry, console), people("https://console.example.com:8080"), 1, []string{"SENTINEL_PEOPLE_LISTEN=127.0.0.1:8081"}},
		"beside where the server listens":    {append(dry, "--listen-machines", "192.0.2.7:8444,[::1]:8444"), nil, 0, []string{"listen 192.0.2.7:8444 ssl;"}},
		"people without their certificate":   {dry, people("https://console.example.com"), 2, []string{"--console-certificate"}},
		"a certificate without people":       {slices.Concat(dry, console), nil, 2, []string{"SENTINEL_PROXY_PEOPLE_LISTEN"}},
		"people in plain text":               {slices.Concat(dry, console), people("http://localhost:8080"), 1, []string{"SENTINEL_PEOPLE_URL"}},
		"a server that believes no proxy":    {dry, []string{"SENTINEL_TRUST_PROXY_CERT_HEADERS=false"}, 1, []string{"believes no proxy"}},
		"before the server wrote anything":   {[]string{"nginx", "install"}, nil, 1, []string{"has written nothing"}},
		"refreshing what was not installed":  {[]string{"nginx", "refresh", "--dir", "/nonexistent"}, nil, 1, []string{"nginx install"}},
		"a smoke test of nothing":            {[]string{"nginx", "smoke-test"}, nil, 2, []string{"--base-url"}},
		"a smoke test of a path":             {[]string{"nginx", "smoke-test", "--base-url", "https://devices.example.com/x"}, nil, 2, []string{"--base-url"}},
		"a certificate without its device":   {[]string{"nginx", "smoke-test", "--base-url", "https://localhost:1", "--client-cert", "c", "--client-key", "k"}, nil, 2, []string{"belong together"}},
		"an enrollment that is no enrolment": {[]string{"nginx", "smoke-test", "--base-url", "https://localhost:1", "--client-cert", "c", "--client-key", "k", "--device-id", "edge-1", "--enrollment-id", "x"}, nil, 2, []string{"--enrollment-id"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			environ := map[string]string{}
			for _, kv := range append(behindNGINX(t.TempDir()), c.environ...) {
				k, v, _ := strings.Cut(kv, "=")
				environ[k] = v
			}
			var list []string
			for k, v := range environ {
				list = append(list, k+"="+v)
			}
			var said bytes.Buffer
			if code := run(context.Background(), c.args, strings.NewReader(""), &said, &said, list); code != c.code {
				t.Errorf("exit code %d, not %d", code, c.code)
			}
			for _, says := range c.says {
				if !strings.Contains(said.String(), says) {
					t.Errorf("it does not say %q:\n%s", says, said.String())
				}
			}
		})
	}
}

// PRX-01: every header that is the proxy's word is set by it or taken away, on both sides.
func TestNGINXPassesOnNoneOfTheProxysHeadersFromAClient(t *testing.T) {
	t.Parallel()
	s := &nginx.Site{Dir: "/etc/nginx/sentinel", Machines: nginx.Machines{Names: []string{"d.test"}, Listen: []string{"0.0.0.0:8443"}, Upstream: "unix:/m.sock"},
		People: &nginx.People{Names: []string{"c.test"}, Listen: []string{"0.0.0.0:443"}, Upstream: "unix:/p.sock", Certificate: "/c.pem", Key: "/k.pem"}}
	conf, err := s.Render()
	if err != nil {
		t.Fatal(err)
	}
	machines, forPeople, ok := strings.Cut(string(conf), "# People.\n")
	if !ok || strings.Count(machines, "proxy_pass_request_headers off;") != strings.Count(machines, "proxy_pass ") {
		t.Error("on the devices' side not only what is listed is passed on")
	}
	included := map[string]string{proxy.HeaderSecret: "secret.conf;", proxy.HeaderLists: "lists-end.conf;"}
	for _, name := range proxy.Headers {
		want := "proxy_set_header      " + name + " "
		if file := included[name]; file != "" {
			want = "/etc/nginx/sentinel/" + file
		}
		if strings.Count(forPeople, want) != 1 {
			t.Errorf("on the people's side %s is not set exactly once", name)
		}
	}
}

// The units run what there is, on the files that there are.
func TestTheUnitsFitTheCommand(t *testing.T) {
	t.Parallel()
	text := func(name string) string {
		data, err := os.ReadFile(filepath.Join("..", "packaging", "nginx", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for name, lines := range map[string][]string{
		"sentinel-nginx.service": {"ExecStart=/usr/bin/sentinel-server nginx refresh", "ConditionPathExists=" + defaultNGINXDir + "/site.json", "Type=oneshot"},
		"sentinel-nginx.path":    {"PathChanged=" + defaultNGINXFrom + "/" + nginx.StampFile, "Unit=sentinel-nginx.service"},
		"sentinel-nginx.timer":   {"Unit=sentinel-nginx.service"},
	} {
		for _, line := range lines {
			if !strings.Contains(text(name), line+"\n") {
				t.Errorf("%s lacks %s", name, line)
			}
		}
	}
	var said bytes.Buffer
	if code := run(context.Background(), []string{"nginx", "refresh", "--help"}, strings.NewReader(""), &said, &said, nil); code != 0 ||
		!strings.Contains(said.String(), defaultNGINXFrom) || !strings.Contains(said.String(), defaultNGINXDir) {
		t.Errorf("%d %s", code, said.String())
	}
}
