package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"

	native "github.com/kardianos/service"
)

const superuser = "root"

func supported() bool {
	// As sd_booted(3) does it.
	_, err := os.Stat("/run/systemd/system")
	return err == nil && native.Platform() == "linux-systemd"
}

func nativeConfig(s Spec) *native.Config {
	return &native.Config{
		Name:        s.Name,
		DisplayName: s.DisplayName,
		Description: s.Description,
		Executable:  s.Executable,
		Arguments:   s.Arguments,
		Option:      native.KeyValue{"SystemdScript": SystemdUnit(s)},
	}
}

// unitPath is where the library writes the unit.
func unitPath(s Spec) string { return "/etc/systemd/system/" + s.Name + ".service" }

func install(s Spec) error {
	if s.User != "" {
		if _, err := user.Lookup(s.User); err != nil {
			return fmt.Errorf("there is no user %s; make it with: useradd --system --user-group --home-dir /var/lib/%s --shell /usr/sbin/nologin %s", s.User, s.StateDirectory, s.User)
		}
	}
	if _, err := os.Lstat(unitPath(s)); !errors.Is(err, fs.ErrNotExist) {
		return ErrInstalled
	}
	m, err := manager(s)
	if err != nil {
		return err
	}
	if err := m.Install(); err != nil {
		_ = os.Remove(unitPath(s))
		return err
	}
	return nil
}

// removable refuses a unit that is not ours to remove.
func removable(s Spec) error {
	if _, err := os.Lstat(unitPath(s)); errors.Is(err, fs.ErrNotExist) {
		return ErrPackaged
	}
	return nil
}

// forget clears the memory of a failure, by which systemd would still list a
// unit that is gone. It fails for a unit that never failed, which is fine.
func forget(s Spec) { _ = exec.Command("systemctl", "reset-failed", s.Name+".service").Run() } //nolint:gosec // G204: the name was checked by Spec

func logOf(s Spec) string { return "journalctl -u " + s.Name }
