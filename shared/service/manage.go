package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	native "github.com/kardianos/service"
)

// State is where a service stands with its manager.
type State string

// The states.
const (
	NotInstalled State = "not installed"
	Stopped      State = "stopped"
	Running      State = "running" // or about to run
	Failed       State = "failed"
	unknown      State = ""
)

var (
	// ErrInstalled says that a service of this name exists; it is never overwritten.
	ErrInstalled = errors.New("service is already installed")
	// ErrNotInstalled says that there is no service of this name to act on.
	ErrNotInstalled = errors.New("service is not installed")
	// ErrNoManager says that this host has no service manager that we support.
	ErrNoManager = errors.New("no supported service manager (systemd or Windows) runs here")
	// ErrPackaged says that the service came with a package, which alone may remove it.
	ErrPackaged = errors.New("service belongs to a package; remove the package instead")
)

// Install registers the service, to start with the host and to be started again
// whenever it ends. It does not start it now. What it began is undone if it
// cannot finish.
func Install(spec Spec) error {
	if err := spec.check(); err != nil {
		return err
	}
	if spec.Executable == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find the running program: %w", err)
		}
		spec.Executable = self
	}
	state, err := Status(spec)
	if err != nil {
		return err
	}
	if state != NotInstalled {
		return fmt.Errorf("%s: %w", spec.Name, ErrInstalled)
	}
	return explain("install", spec, install(spec))
}

// Uninstall stops the service and removes its registration. Its data stays.
func Uninstall(spec Spec) error {
	state, err := installed(spec)
	if err != nil {
		return err
	}
	if err := removable(spec); err != nil {
		return fmt.Errorf("%s: %w", spec.Name, err)
	}
	m, err := manager(spec)
	if err != nil {
		return err
	}
	if state == Running {
		if err := m.Stop(); err != nil {
			return explain("stop", spec, err)
		}
	}
	if err := m.Uninstall(); err != nil {
		return explain("uninstall", spec, err)
	}
	forget(spec)
	return nil
}

// Start returns once the service runs: on Linux, once it has said Ready.
func Start(spec Spec) error {
	if _, err := installed(spec); err != nil {
		return err
	}
	m, err := manager(spec)
	if err != nil {
		return err
	}
	if err := m.Start(); err != nil {
		return fmt.Errorf("%w; its own words are in: %s", explain("start", spec, err), logOf(spec))
	}
	return nil
}

// Stop returns once the service has ended.
func Stop(spec Spec) error {
	if _, err := installed(spec); err != nil {
		return err
	}
	m, err := manager(spec)
	if err != nil {
		return err
	}
	return explain("stop", spec, m.Stop())
}

// Status asks the manager. It needs no special rights.
func Status(spec Spec) (State, error) {
	m, err := manager(spec)
	if err != nil {
		return unknown, err
	}
	code, err := m.Status()
	return judge(spec, code, err)
}

// judge translates the library's answer; it has no code for a failed unit.
func judge(spec Spec, code native.Status, err error) (State, error) {
	switch {
	case errors.Is(err, native.ErrNotInstalled):
		return NotInstalled, nil
	case err != nil && err.Error() == "service in failed state":
		return Failed, nil
	case err != nil:
		return unknown, explain("ask about", spec, err)
	case code == native.StatusRunning:
		return Running, nil
	case code == native.StatusStopped:
		return Stopped, nil
	}
	return unknown, fmt.Errorf("ask about %s: the service manager gives no clear answer", spec.Name)
}

func installed(spec Spec) (State, error) {
	state, err := Status(spec)
	if err == nil && state == NotInstalled {
		err = fmt.Errorf("%s: %w", spec.Name, ErrNotInstalled)
	}
	return state, err
}

// Managed says whether a service manager that is known here runs on this host.
func Managed() bool { return supported() }

func manager(spec Spec) (native.Service, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	if !supported() {
		return nil, ErrNoManager
	}
	return native.New(nil, nativeConfig(spec))
}

// explain names the act and, where rights were missing, who has them.
func explain(act string, spec Spec, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s %s: %w; run this as %s", act, spec.Name, err, superuser)
	}
	return fmt.Errorf("%s %s: %w", act, spec.Name, err)
}
