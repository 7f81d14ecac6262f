package service_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/service"
)

var update = flag.Bool("update", false, "write the units in packaging/systemd anew")

const unitFiles = "../../packaging/systemd"

func TestThePackagedUnitsAreWhatInstallWrites(t *testing.T) {
	for _, spec := range []service.Spec{service.Server(), service.Agent()} {
		file := filepath.Join(unitFiles, spec.Name+".service")
		want := []byte(service.SystemdUnit(spec))
		if *update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is stale; write it with: go test ./shared/service -update\n%s", file, cmp.Diff(string(got), string(want)))
		}
	}
}

func TestEveryUnitHoldsItsPromises(t *testing.T) {
	t.Parallel()
	common := []string{
		"Type=notify", "Restart=always", "RestartSec=2", "StartLimitIntervalSec=0", "StateDirectoryMode=0700", "UMask=0077",
		"NoNewPrivileges=yes", "ProtectSystem=strict", "PrivateTmp=yes", "MemoryDenyWriteExecute=yes",
		"CapabilityBoundingSet=", "AmbientCapabilities=", "SystemCallFilter=@system-service", "WantedBy=multi-user.target",
	}
	for name, c := range map[string]struct {
		spec service.Spec
		more []string
	}{
		"server": {service.Server(), []string{
			"ExecStart=/usr/bin/sentinel-server serve", "User=sentinel-server", "StateDirectory=sentinel-server",
			"Environment=SENTINEL_DATA_DIR=/var/lib/sentinel-server", "EnvironmentFile=-/etc/sentinel/server.env",
			"RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX", "PrivateUsers=yes", "PrivateDevices=yes",
		}},
		"agent": {service.Agent(), []string{
			"ExecStart=/usr/bin/sentinel-agent run", "StateDirectory=sentinel-agent", "EnvironmentFile=-/etc/sentinel/agent.env",
			"RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
		}},
	} {
		lines := strings.Split(service.SystemdUnit(c.spec), "\n")
		for _, want := range append(common, c.more...) {
			found := false
			for _, line := range lines {
				found = found || line == want
			}
			if !found {
				t.Errorf("the unit of the %s lacks the line %s", name, want)
			}
		}
	}
	if strings.Contains(service.SystemdUnit(service.Agent()), "\nUser=") {
		t.Error("the agent's unit names a user, but its files belong to root")
	}
}

func TestWordsOfTheCommandLineReachTheProgramAsTheyAre(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"--data-dir=/var/lib/x": "--data-dir=/var/lib/x",
		"two words":             `"two words"`,
		`say "hi"`:              `"say \"hi\""`,
		`back\slash`:            `"back\\slash"`,
		"50%":                   `"50%%"`,
		"$HOME":                 `"$$HOME"`,
		"":                      `""`,
		";":                     `";"`,
		"-":                     "-",
	} {
		unit := service.SystemdUnit(service.Spec{Name: "x", Executable: "/opt/my app/x", Arguments: []string{word}})
		if line := `ExecStart="/opt/my app/x" ` + want; !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("%q: no line %s in\n%s", word, line, unit)
		}
	}
	unit := service.SystemdUnit(service.Spec{Name: "x", Description: "100% of it", Environment: []string{"A=1 2 $3 %"}})
	for _, line := range []string{"Description=100%% of it", `Environment="A=1 2 $3 %%"`} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("no line %s in\n%s", line, unit)
		}
	}
}
