package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// report is what one run of go test said.
type report struct {
	passed   bool
	failed   []string // the tests that failed, as go test names them
	broken   bool     // a package did not compile
	timedOut bool
	output   string // everything printed
	took     time.Duration
}

// graceForBuilding is added to the limit of a test run before go itself is
// killed: go test counts the test's time only.
const graceForBuilding = 5 * time.Minute

// goTest runs go test in dir. Vet is left out: what it reports counts as a
// build failure, and the judge here is the test.
func goTest(ctx context.Context, dir string, args []string, limit time.Duration) report {
	ctx, cancel := context.WithTimeout(ctx, limit+graceForBuilding)
	defer cancel()
	args = append([]string{"test", "-json", "-count=1", "-vet=off", "-timeout=" + limit.String()}, args...)

	var complaint, out bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &complaint
	cmd.Env = buildEnvironment(args)
	cmd.WaitDelay = 10 * time.Second // a test may leave a process that holds the pipe
	start := time.Now()
	err := cmd.Run()

	r := parseEvents(out.Bytes())
	r.output += complaint.String()
	r.passed = err == nil
	r.timedOut = r.timedOut || ctx.Err() != nil
	r.took = time.Since(start)
	return r
}

// buildEnvironment makes all copies of the tree share the build cache, which
// otherwise keeps packages apart by their directory.
func buildEnvironment(args []string) []string {
	env := []string{"GOFLAGS=" + strings.TrimSpace(os.Getenv("GOFLAGS")+" -trimpath")}
	if !slices.Contains(args, "-race") { // which needs cgo
		env = append(env, "CGO_ENABLED=0")
	}
	return environment(env)
}

// parseEvents reads the lines of go test -json. Lines that are no events are
// kept as output.
func parseEvents(lines []byte) report {
	var r report
	var output strings.Builder
	scanner := bufio.NewScanner(bytes.NewReader(lines))
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		var event struct{ Action, Test, Output, FailedBuild string }
		if json.Unmarshal(scanner.Bytes(), &event) != nil {
			output.Write(scanner.Bytes())
			output.WriteByte('\n')
			continue
		}
		output.WriteString(event.Output)
		switch {
		case event.Action == "build-fail" || event.FailedBuild != "":
			r.broken = true
		case event.Action == "fail" && event.Test != "":
			r.failed = append(r.failed, event.Test)
		case strings.HasPrefix(event.Output, "panic: test timed out after"):
			r.timedOut = true
		}
	}
	r.output = output.String()
	return r
}
