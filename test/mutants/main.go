package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	only := flags.String("only", "", "`regexp` of the patches to run, by file name")
	jobs := flags.Int("jobs", runtime.NumCPU(), "how many patches to try at once")
	limit := flags.Duration("limit", 3*time.Minute, "the longest that one test run may take")
	assumeGreen := flags.Bool("assume-green", false, "do not run each test without its patch first; for use right after the whole suite passed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	root, err := repositoryRoot(ctx)
	if err != nil {
		return err
	}
	patches, err := load(filepath.Join(root, "test", "mutants"), chosen)
	if err != nil {
		return err
	}
	r := runner{root: root, jobs: *jobs, limit: *limit, assumeGreen: *assumeGreen, out: os.Stdout}
	return r.run(ctx, patches)
}

func repositoryRoot(ctx context.Context) (string, error) {
	out, err := git(ctx, ".", nil, "rev-parse", "--show-toplevel")
	if err != nil {
		return "", fmt.Errorf("find the top of the repository: %w", err)
	}
	return strings.TrimSpace(out), nil
}
