package service

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

// Spec says what a service is. The zero value of a field means that it is not
// used, except where its comment says otherwise.
type Spec struct {
	Name        string // of the unit or service: lower-case letters, digits, hyphens
	DisplayName string // shown by Windows
	Description string // one line

	// Executable is the absolute path of the program; Install takes the running
	// program if it is empty.
	Executable string
	Arguments  []string
	// User runs the service and must exist; empty means root, or LocalSystem.
	User string

	// Environment are KEY=VALUE pairs that everyone on the host may read.
	Environment []string
	// EnvFile (systemd only) is read by root before the program starts, if it is
	// there; it may hold secrets, and wins over Environment.
	EnvFile string

	// StateDirectory (systemd only) is the directory below /var/lib that the
	// service owns, the only one it can write to.
	StateDirectory string
	// Final (systemd only) is an exit code after which starting again is no use, 0
	// for none: a person must act first.
	Final int
	// ReadsHost (systemd only) leaves open what a program needs that reports
	// facts about its host: interfaces, devices, users, other processes.
	ReadsHost bool
}

// Server is the service of sentinel-server, all roles in one process.
func Server() Spec {
	return Spec{
		Name:           "sentinel-server",
		DisplayName:    "Sentinel Secure X server",
		Description:    "Sentinel Secure X server",
		Arguments:      []string{"serve"},
		User:           "sentinel-server",
		Environment:    []string{"SENTINEL_DATA_DIR=/var/lib/sentinel-server"},
		EnvFile:        "/etc/sentinel/server.env",
		StateDirectory: "sentinel-server",
	}
}

// Agent is the service of sentinel-agent. It runs as root without capabilities:
// what it reads of the host and what it keeps belongs to root, so that no other
// user can change it.
func Agent() Spec {
	return Spec{
		Name:           "sentinel-agent",
		DisplayName:    "Sentinel Secure X agent",
		Description:    "Sentinel Secure X device agent",
		Arguments:      []string{"run"},
		EnvFile:        "/etc/sentinel/agent.env",
		StateDirectory: "sentinel-agent",
		Final:          3, // not enrolled
		ReadsHost:      true,
	}
}

// ErrSpec says that a Spec cannot be written down safely for a service manager.
var ErrSpec = errors.New("service cannot be described")

var (
	namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)
	pathPattern = regexp.MustCompile(`^/[A-Za-z0-9._+@/-]*$`)
	envPattern  = regexp.MustCompile(`^[A-Z][A-Z0-9_]*=`)
)

func (s Spec) check() error {
	switch {
	case !namePattern.MatchString(s.Name):
		return fmt.Errorf("%w: its name must be lower-case letters, digits and hyphens", ErrSpec)
	case s.StateDirectory != "" && !namePattern.MatchString(s.StateDirectory):
		return fmt.Errorf("%w: its state directory must be one name", ErrSpec)
	case s.EnvFile != "" && !pathPattern.MatchString(s.EnvFile):
		return fmt.Errorf("%w: the path of its environment file must be absolute, of letters, digits and ._+@/-", ErrSpec)
	case s.Executable != "" && !filepath.IsAbs(s.Executable):
		return fmt.Errorf("%w: the path of its program must be absolute", ErrSpec)
	}
	for _, e := range s.Environment {
		if !envPattern.MatchString(e) {
			return fmt.Errorf("%w: its environment must be KEY=VALUE pairs", ErrSpec)
		}
	}
	written := append([]string{s.DisplayName, s.Description, s.Executable, s.User}, s.Arguments...)
	for _, w := range append(written, s.Environment...) {
		// Two opening braces would be an action to the library's templates.
		if strings.ContainsFunc(w, unicode.IsControl) || strings.Contains(w, "{{") {
			return fmt.Errorf("%w: control characters and {{ are not allowed in it", ErrSpec)
		}
	}
	return nil
}
