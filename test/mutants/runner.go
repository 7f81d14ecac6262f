package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// verdict is what became of one patch, in the words that are printed.
type verdict string

const (
	red           verdict = "red"
	survived      verdict = "SURVIVED"
	doesNotApply  verdict = "does not apply"
	doesNotBuild  verdict = "does not compile"
	notGreen      verdict = "not green"
	noFailingTest verdict = "no failing test"
	timedOut      verdict = "timed out"
	malformed     verdict = "malformed"
)

// runner tries patches, each in a copy of the repository.
type runner struct {
	root        string
	jobs        int
	limit       time.Duration
	assumeGreen bool
	out         io.Writer

	mu     sync.Mutex // guards what follows, and out
	counts map[verdict]int
	green  map[string]func() report // by test command: its run without a patch, made once
}

// errNotAllRed says that at least one patch was not caught by its test.
var errNotAllRed = errors.New("not every patch turned its test red")

// run tries all patches and prints a line for each, then the sum. It returns
// errNotAllRed unless all are red.
func (r *runner) run(ctx context.Context, patches []patch) error {
	r.counts = map[verdict]int{}
	r.green = map[string]func() report{}
	work, err := os.MkdirTemp("", "sentinel-mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	pristine, err := copyTree(ctx, r.root, filepath.Join(work, "pristine"))
	if err != nil {
		return err
	}

	queue := make(chan patch, len(patches))
	for _, p := range patches {
		queue <- p
	}
	close(queue)
	group, ctx := errgroup.WithContext(ctx)
	for n := range min(max(r.jobs, 1), len(patches)) {
		group.Go(func() error {
			t, err := copyTree(ctx, r.root, filepath.Join(work, strconv.Itoa(n)))
			if err != nil {
				return err
			}
			for p := range queue {
				if err := r.try(ctx, p, t, pristine); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return r.sum(len(patches))
}

// try judges one patch and prints the verdict. Its error is one of the runner,
// not of the patch: the tree is as it was before, or the run is over.
func (r *runner) try(ctx context.Context, p patch, t, pristine tree) error {
	if p.malformed != nil {
		r.print(p, malformed, p.malformed.Error(), 0)
		return ctx.Err()
	}
	if !r.assumeGreen {
		if before := r.withoutPatch(ctx, pristine, p); !before.passed {
			r.print(p, notGreen, before.output, before.took)
			return ctx.Err()
		}
	}
	if err := t.apply(ctx, p.path); err != nil {
		r.print(p, doesNotApply, err.Error(), 0)
		return ctx.Err()
	}
	after := goTest(ctx, t.dir, p.test, r.limit)
	if err := ctx.Err(); err != nil {
		return err
	}
	v := judge(after)
	detail := after.output
	if v == red {
		detail = after.failed[0]
	}
	r.print(p, v, detail, after.took)
	if err := t.revert(ctx, p.path); err != nil {
		return fmt.Errorf("take %s back: %w", p.name, err)
	}
	return nil
}

func judge(r report) verdict {
	switch {
	case r.passed:
		return survived
	case r.broken:
		return doesNotBuild
	case r.timedOut:
		return timedOut
	case len(r.failed) == 0:
		return noFailingTest
	default:
		return red
	}
}

// withoutPatch runs a patch's test on the code as it is, once for all patches
// that name the same test.
func (r *runner) withoutPatch(ctx context.Context, pristine tree, p patch) report {
	key := strings.Join(p.test, "\x00")
	r.mu.Lock()
	once, ok := r.green[key]
	if !ok {
		once = sync.OnceValue(func() report { return goTest(ctx, pristine.dir, p.test, r.limit) })
		r.green[key] = once
	}
	r.mu.Unlock()
	return once()
}

func (r *runner) print(p patch, v verdict, detail string, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[v]++
	if v == red {
		fmt.Fprintf(r.out, "%-16s  %s  (%s, %.1fs)\n", v, p.name, detail, took.Seconds())
		return
	}
	fmt.Fprintf(r.out, "%-16s  %s\n%s", v, p.name, indent(detail))
}

// indent shows the end of an output, where the reason stands.
func indent(text string) string {
	const keep = 12
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) > keep {
		lines = lines[len(lines)-keep:]
	}
	return "    | " + strings.Join(lines, "\n    | ") + "\n"
}

func (r *runner) sum(total int) error {
	broken := total - r.counts[red] - r.counts[survived]
	line := fmt.Sprintf("%d red, %d survived", r.counts[red], r.counts[survived])
	if broken > 0 {
		line = fmt.Sprintf("%d could not be judged, %s", broken, line)
	}
	fmt.Fprintln(r.out, line)
	if r.counts[red] != total {
		return errNotAllRed
	}
	return nil
}
