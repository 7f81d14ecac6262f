// Package cputime says what other processes of this machine have used.
package cputime

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Of is the CPU time of processes with their children, exact to the microsecond:
// proc_pid_schedstat(5) of every thread. What a child used that has ended is not
// in it; servers and databases under load keep theirs.
func Of(pids ...int) time.Duration {
	var total time.Duration
	for _, pid := range pids {
		for _, member := range append(childrenOf(pid), pid) {
			threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", member))
			for _, t := range threads {
				data, err := os.ReadFile(t)
				if err != nil {
					continue
				}
				first, _, _ := strings.Cut(string(data), " ")
				ns, _ := strconv.ParseInt(first, 10, 64)
				total += time.Duration(ns)
			}
		}
	}
	return total
}

func childrenOf(pid int) []int {
	var list []int
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range files {
		data, _ := os.ReadFile(f)
		for text := range strings.FieldsSeq(string(data)) {
			if n, err := strconv.Atoi(text); err == nil {
				list = append(list, n)
			}
		}
	}
	return list
}

// ParentOf is who started a process; of a PostgreSQL backend it is the server.
func ParentOf(pid int) (int, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:])) // proc_pid_stat(5): state, parent
	return strconv.Atoi(fields[1])
}
