package service

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	native "github.com/kardianos/service"
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc/mgr"
)

const (
	superuser = "an administrator"

	// failuresForgotten is after how many seconds without one the count of
	// failures starts again.
	failuresForgotten = 24 * 60 * 60
	restartDelay      = 2 * time.Second
)

func supported() bool { return true }

func removable(Spec) error { return nil }

func forget(Spec) {}

func logOf(s Spec) string { return "the event log, Application, source " + s.Name }

func nativeConfig(s Spec) *native.Config {
	env := map[string]string{}
	for _, e := range s.Environment {
		key, value, _ := strings.Cut(e, "=")
		env[key] = value
	}
	return &native.Config{
		Name:        s.Name,
		DisplayName: s.DisplayName,
		Description: s.Description,
		Executable:  s.Executable,
		Arguments:   append(slices.Clone(s.Arguments), "--"+Flag),
		UserName:    s.User,
		EnvVars:     env,
		Option: native.KeyValue{
			native.OnFailure:              native.OnFailureRestart,
			native.OnFailureDelayDuration: restartDelay.String(),
			native.OnFailureResetPeriod:   failuresForgotten,
		},
	}
}

func install(s Spec) error {
	m, err := manager(s)
	if err != nil {
		return err
	}
	if err := m.Install(); err != nil {
		return err
	}
	if err := finish(s); err != nil {
		return errors.Join(err, m.Uninstall())
	}
	return nil
}

// finish does what the library does not: it lets recovery follow any failure,
// not a crash only, and makes sure that Windows starts the program we meant.
func finish(s Spec) error {
	m, err := mgr.Connect()
	if err != nil {
		return err
	}
	defer m.Disconnect()
	service, err := m.OpenService(s.Name)
	if err != nil {
		return err
	}
	defer service.Close()
	config, err := service.Config()
	if err != nil {
		return err
	}
	if !startsOnly(config.BinaryPathName, s.Executable) {
		return fmt.Errorf("the path of the program is not quoted in the service's command line")
	}
	err = service.SetRecoveryActionsOnNonCrashFailures(true)
	if errors.Is(err, windows.ERROR_INVALID_LEVEL) {
		return nil // emulations of Windows do not know this setting
	}
	return err
}
