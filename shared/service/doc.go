// Package service runs the binaries as native services: it installs, removes,
// starts and stops them (through kardianos/service), writes their systemd units,
// and is what the service manager talks to while they run.
//
// On Linux the manager is systemd: a program is started, says READY=1, and is
// stopped by SIGTERM. On Windows it is the Service Control Manager. A program
// learns that this manager started it from its own command line, where Install
// puts --as-service, and from nothing else: guessing from the session is wrong
// in containers and under emulation.
//
// Recovery is the manager's: it starts again what ended without being asked,
// whatever the reason. There is no watchdog of our own.
//
// A service is not installed, stopped, running or failed (State). Only root, or
// an administrator, may change it.
package service
