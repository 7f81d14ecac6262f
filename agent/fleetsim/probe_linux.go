package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTick is the unit of CPU times in /proc (USER_HZ), the same on every
// architecture that Go runs on.
const clockTick = 10 * time.Millisecond

// probe measures the CPU time of a process and its children: PostgreSQL has one
// for each connection.
type probe struct {
	pid   int
	name  string
	begin time.Duration
}

func startProbes(pids []int) ([]*probe, error) {
	list := make([]*probe, len(pids))
	for i, pid := range pids {
		name, _, err := readStat(pid)
		if err != nil {
			return nil, fmt.Errorf("--cpu-of %d: %w", pid, err)
		}
		list[i] = &probe{pid: pid, name: name}
		if list[i].begin, err = cpuOfFamily(pid); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (p *probe) used() (time.Duration, error) {
	now, err := cpuOfFamily(p.pid)
	return now - p.begin, err
}

// stat are the fields of proc_pid_stat(5) that are looked at.
type stat struct {
	parent int
	cpu    time.Duration // own, and of children that have ended
}

func readStat(pid int) (name string, s stat, err error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", s, err
	}
	// The name stands in parentheses and may hold any character.
	text := string(data)
	from, to := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if from < 0 || to < from {
		return "", s, fmt.Errorf("/proc/%d/stat cannot be read", pid)
	}
	const third = 3 // the first field after the name
	fields := strings.Fields(text[to+1:])
	field := func(n int) int64 {
		if n-third >= len(fields) {
			return 0
		}
		v, _ := strconv.ParseInt(fields[n-third], 10, 64)
		return v
	}
	s.parent = int(field(4))
	for n := 14; n <= 17; n++ { // utime, stime, cutime, cstime
		s.cpu += time.Duration(field(n)) * clockTick
	}
	return text[from+1 : to], s, nil
}

func cpuOfFamily(pid int) (time.Duration, error) {
	_, own, err := readStat(pid)
	if err != nil {
		return 0, err
	}
	total := own.cpu
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if _, s, err := readStat(child); err == nil && s.parent == pid {
			total += s.cpu
		}
	}
	return total, nil
}

// ownCPU is what this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
