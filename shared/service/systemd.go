package service

import (
	"path"
	"regexp"
	"strconv"
	"strings"
)

// SystemdUnit is the text of the service's unit file. An empty Executable means
// /usr/bin and the service's name, where packages put it.
//
// The unit takes away everything that the program does not need. What stays open
// has a reason:
//   - ProcSubset=all: Go sizes its listen queue by /proc/sys/net/core/somaxconn;
//   - no PrivateNetwork, no IPAddressDeny: both programs talk to the network;
//   - ReadsHost: netlink lists the interfaces; the users, devices and processes
//     of the host are facts that the agent reports.
func SystemdUnit(s Spec) string {
	var u unit
	u.section("Unit")
	u.set("Description", escape(s.Description))
	u.set("Wants", "network-online.target")
	u.set("After", "network-online.target")
	u.comment("Never give up: a device or server that stays down helps nobody.")
	u.set("StartLimitIntervalSec", "0")

	u.section("Service")
	u.set("Type", "notify")
	u.set("NotifyAccess", "main")
	u.set("ExecStart", command(s))
	if s.User != "" {
		u.set("User", s.User)
		u.set("Group", s.User)
	}
	for _, e := range s.Environment {
		u.set("Environment", quote(e, false))
	}
	if s.EnvFile != "" {
		u.set("EnvironmentFile", "-"+s.EnvFile)
	}
	if s.StateDirectory != "" {
		u.set("StateDirectory", s.StateDirectory)
		u.set("StateDirectoryMode", "0700")
		u.set("WorkingDirectory", "/var/lib/"+s.StateDirectory)
	}
	u.set("Restart", "always")
	u.set("RestartSec", "2")
	if s.Final != 0 {
		u.set("RestartPreventExitStatus", strconv.Itoa(s.Final))
	}
	u.comment("Longer than the program takes to stop by itself.")
	u.set("TimeoutStopSec", "90")
	u.set("LimitNOFILE", "65536")

	u.gap()
	for _, line := range hardening {
		u.set(line[0], line[1])
	}
	if s.ReadsHost {
		u.set("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX AF_NETLINK")
		u.set("DeviceAllow", "/dev/tpmrm0 rw")
	} else {
		u.set("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX")
		u.set("PrivateDevices", "yes")
		u.set("PrivateUsers", "yes")
		u.set("ProtectProc", "invisible")
	}

	u.section("Install")
	u.set("WantedBy", "multi-user.target")
	return u.b.String()
}

// hardening holds for every service; see systemd.exec(5).
var hardening = [][2]string{
	{"NoNewPrivileges", "yes"},
	{"CapabilityBoundingSet", ""},
	{"AmbientCapabilities", ""},
	{"UMask", "0077"},
	{"ProtectSystem", "strict"},
	{"ProtectHome", "yes"},
	{"PrivateTmp", "yes"},
	{"PrivateIPC", "yes"},
	{"DevicePolicy", "closed"},
	{"ProtectKernelTunables", "yes"},
	{"ProtectKernelModules", "yes"},
	{"ProtectKernelLogs", "yes"},
	{"ProtectControlGroups", "yes"},
	{"ProtectClock", "yes"},
	{"ProtectHostname", "yes"},
	{"RestrictNamespaces", "yes"},
	{"RestrictRealtime", "yes"},
	{"RestrictSUIDSGID", "yes"},
	{"LockPersonality", "yes"},
	{"MemoryDenyWriteExecute", "yes"},
	{"RemoveIPC", "yes"},
	{"KeyringMode", "private"},
	{"SystemCallArchitectures", "native"},
	{"SystemCallFilter", "@system-service"},
	{"SystemCallFilter", "~@privileged @resources"},
	{"SystemCallErrorNumber", "EPERM"},
}

type unit struct{ b strings.Builder }

func (u *unit) section(name string) {
	if u.b.Len() > 0 {
		u.gap()
	}
	u.b.WriteString("[" + name + "]\n")
}

func (u *unit) set(key, value string)   { u.b.WriteString(key + "=" + value + "\n") }
func (u *unit) comment(sentence string) { u.b.WriteString("# " + sentence + "\n") }
func (u *unit) gap()                    { u.b.WriteByte('\n') }

func command(s Spec) string {
	program := s.Executable
	if program == "" {
		program = path.Join("/usr/bin", s.Name)
	}
	words := []string{quote(program, false)}
	for _, a := range s.Arguments {
		words = append(words, quote(a, true))
	}
	return strings.Join(words, " ")
}

var plain = regexp.MustCompile(`^[A-Za-z0-9._+@/:=,-]+$`)

// quote writes one word so that systemd reads it back as it was: systemd.syntax(7)
// for quotes and backslashes, systemd.unit(5) for %, and for arguments
// systemd.service(5) for $.
func quote(word string, argument bool) string {
	if plain.MatchString(word) {
		return word
	}
	word = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(escape(word))
	if argument {
		word = strings.ReplaceAll(word, "$", "$$")
	}
	return `"` + word + `"`
}

func escape(text string) string { return strings.ReplaceAll(text, "%", "%%") }
