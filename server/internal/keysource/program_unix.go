//go:build unix

package keysource

import (
	"os/exec"
	"syscall"
)

// apart gives a program a process group of its own, which is ended as a whole: what it
// started goes with it.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
