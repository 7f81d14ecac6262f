//go:build heavy

package heavy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Limits of the agent, as it is shipped.
const (
	maxAgentSize     = 15 << 20 // bytes on disk
	maxAgentResident = 20 << 10 // KiB
	maxAgentTicks    = 2        // of 10 ms, in 15 idle seconds
)

//nolint:tparallel // one thing measured after the other
func TestTheAgentTakesLittle(t *testing.T) {
	t.Parallel() // with tests that mostly wait
	t.Run("on disk", func(t *testing.T) {
		info, err := os.Stat(program("agent"))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%.1f MiB", float64(info.Size())/(1<<20))
		if info.Size() > maxAgentSize {
			t.Errorf("%d bytes, more than %d", info.Size(), maxAgentSize)
		}
	})

	t.Run("nothing of the server's", func(t *testing.T) {
		cmd := exec.Command("go", "list", "-deps", "./agent")
		cmd.Dir = filepath.Join("..", "..")
		packages, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		inside, err := exec.Command("go", "version", "-m", program("agent")).Output()
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"packages": string(packages), "modules": string(inside)} {
			for _, foreign := range []string{
				"sentinel-secure-x/server", "sentinel-secure-x/migrations", "database/sql", "uptrace/bun", "jackc/pgx", "modernc.org/sqlite",
				"pressly/goose", "danielgtaylor/huma", "prometheus/client_golang", "golang-jwt/jwt",
			} {
				if strings.Contains(text, foreign) {
					t.Errorf("among its %s is %s", name, foreign)
				}
			}
		}
		t.Logf("%d packages", strings.Count(string(packages), "\n"))
	})

	t.Run("when idle", func(t *testing.T) {
		f := newFleet(t, "")
		state := filepath.Join(t.TempDir(), "state")
		enroll := exec.Command(program("agent"), "enroll", "--state-dir", state, "--server", f.MachineURL, "--ca-fingerprint", f.CAFingerprint,
			"--fleet-root", f.RootDigest, "--token", f.operator.EnrollToken(1), "--device-id", "edge-1", "--wait", "30s")
		if out, err := enroll.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		agent := exec.Command(program("agent"), "run", "--state-dir", state)
		var log strings.Builder
		agent.Stderr = &log
		if err := agent.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = agent.Process.Kill(); _ = agent.Wait() })
		eventually(t, 20*time.Second, "its first heartbeat", func() bool { return f.Count("device_counters", "counter >= 1") == 1 })

		pause(t.Context(), 10*time.Second) // what starting took is over
		before := ticks(t, agent.Process.Pid)
		pause(t.Context(), 15*time.Second)
		used, resident := ticks(t, agent.Process.Pid)-before, residentKiB(t, agent.Process.Pid)
		t.Logf("%.1f MiB resident, %d ticks of CPU in 15 s", float64(resident)/1024, used)
		if resident > maxAgentResident {
			t.Errorf("%d KiB resident, more than %d", resident, maxAgentResident)
		}
		if used > maxAgentTicks {
			t.Errorf("%d ticks of CPU when idle, more than %d", used, maxAgentTicks)
		}
		if n := f.Count("device_counters", "counter > 2 OR gate <> 0"); n != 0 {
			t.Error("the agent was not idle, or not welcome")
		}
	})
}

// ticks is the CPU time that a process has used (proc_pid_stat(5): utime, stime).
func ticks(t *testing.T, pid int) int {
	t.Helper()
	text := proc(t, pid, "stat")
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // from the third, state
	total := 0
	for _, i := range []int{14 - 3, 15 - 3} {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	return total
}

// residentKiB is VmRSS (proc_pid_status(5)).
func residentKiB(t *testing.T, pid int) int {
	t.Helper()
	for line := range strings.Lines(proc(t, pid, "status")) {
		var n int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &n); err == nil {
			return n
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

func proc(t *testing.T, pid int, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
