package main

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
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
	sample := flags.Int("sample", 0, "try only so many patches, others at each commit; 0 tries all")
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
	if *sample > 0 && *sample < len(patches) {
		head, err := git(ctx, root, nil, "rev-parse", "HEAD")
		if err != nil {
			return fmt.Errorf("find the commit: %w", err)
		}
		all := len(patches)
		patches = pick(patches, *sample, strings.TrimSpace(head))
		fmt.Printf("%d of %d patches, chosen by the commit\n", len(patches), all)
	}
	r := runner{root: root, jobs: *jobs, limit: *limit, assumeGreen: *assumeGreen, out: os.Stdout}
	return r.run(ctx, patches)
}

// pick takes n patches, others for another seed, so that a short round at each
// commit comes to all of them in time.
func pick(patches []patch, n int, seed string) []patch {
	order := func(p patch) string {
		sum := sha256.Sum256([]byte(seed + "/" + p.name))
		return string(sum[:])
	}
	chosen := slices.SortedFunc(slices.Values(patches), func(a, b patch) int { return strings.Compare(order(a), order(b)) })[:n]
	slices.SortFunc(chosen, func(a, b patch) int { return strings.Compare(a.name, b.name) })
	return chosen
}

func repositoryRoot(ctx context.Context) (string, error) {
	out, err := git(ctx, ".", nil, "rev-parse", "--show-toplevel")
	if err != nil {
		return "", fmt.Errorf("find the top of the repository: %w", err)
	}
	return strings.TrimSpace(out), nil
}
