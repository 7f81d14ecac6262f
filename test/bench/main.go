// Command bench measures the server and the agent against the goals for their
// performance, each beside a bare reference in the same run: a program that does
// only what cannot be left out. Rates differ between runs and machines by more
// than any change of the code; ratios within one run do not. Rounds alternate
// between what is compared, and a line's figure is the median of its rounds.
//
// It starts the programs as they are shipped, as processes of their own, and counts
// the CPU time of server and database together. Run it as "make bench", which
// builds them and provides PostgreSQL. BENCH=1,4 chooses lines, ROUNDS and DEVICES
// the size. The table is printed and kept as JSON in dist/bench.
//
// The lines, by the number of their goal:
//
//	1  a heartbeat on an open connection, beside an mTLS server that does the
//	   batched update and nothing else
//	2  heartbeats in batches, beside one commit each
//	3  a renewal, beside its request, signature and rows alone
//	4  a heartbeat on a new connection; all devices coming back at once
//	5  memory: idle, with 50,000 devices enrolled, for each connection
//	6  a heartbeat with 1,000,000 devices in the database, beside 1,000
//	7  from the start of the process to the first heartbeat
//	8  the agent when idle
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := choose(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// choose runs the bench, or the reference that it started this program again for.
func choose(args []string) error {
	if len(args) == 2 && args[0] == "reference" {
		return runReference(args[1])
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, args, os.Stdout, os.Stderr)
}

// plan is what to measure and how large.
type plan struct {
	lines     []int
	rounds    int
	devices   int
	bulk      int
	window    time.Duration
	inFlight  int
	databases []string
	bin       string
	fleets    string
	out       string
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	p, err := parse(args, progress)
	if err != nil {
		return err
	}
	b, err := newBench(ctx, p, progress)
	if err != nil {
		return err
	}
	defer b.close()
	for _, line := range lines {
		if !slices.Contains(p.lines, line.number) {
			continue
		}
		b.sayf("line %d: %s", line.number, line.name)
		err := line.measure(ctx, b)
		if err != nil {
			b.print(out) // what was measured before it took long enough
			err = fmt.Errorf("line %d (%s): %w", line.number, line.name, err)
		}
		if err := errors.Join(err, b.keep()); err != nil {
			return err
		}
	}
	b.print(out)
	return nil
}

// A line is one goal.
var lines = []struct {
	number  int
	name    string
	measure func(context.Context, *bench) error
}{
	{1, "a heartbeat", heartbeat},
	{2, "batches", batches},
	{3, "a renewal", renewal},
	{4, "new connections", connections},
	{5, "memory", memory},
	{6, "a million devices", million},
	{7, "cold start", coldStart},
	{8, "the agent", agent},
}

func parse(args []string, usage io.Writer) (*plan, error) {
	p := &plan{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	chosen := flags.String("lines", "", "lines to measure, such as 1,4; all when empty")
	flags.IntVar(&p.rounds, "rounds", 5, "how often each is measured")
	flags.IntVar(&p.devices, "devices", 10_000, "devices that are connected")
	flags.IntVar(&p.bulk, "bulk", 1_000_000, "devices in the large database")
	flags.DurationVar(&p.window, "window", 3*time.Second, "how long one measurement loads a server")
	flags.IntVar(&p.inFlight, "in-flight", 128, "heartbeats on their way at once")
	databases := flags.String("databases", "sqlite,postgres", "databases to measure on")
	flags.StringVar(&p.bin, "bin", "bin", "folder of sentinel-server, sentinel-agent and fleetsim")
	flags.StringVar(&p.out, "out", filepath.Join("dist", "bench"), "folder for the figures as JSON")
	flags.StringVar(&p.fleets, "fleets", "", "keep enrolled fleets in this folder and use them again; a new one each run when empty")
	short := flags.Bool("short", false, "small sizes and one round: see that it runs, not how fast")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *short {
		p.rounds, p.devices, p.bulk, p.window, p.inFlight = 1, min(p.devices, 200), min(p.bulk, 5000), 500*time.Millisecond, 32
	}
	if p.rounds < 1 || p.devices < 1 || p.devices > 100_000 || p.bulk < p.devices || p.window <= 0 || p.inFlight < 1 {
		return nil, errors.New("a size is out of range; see -help")
	}
	for _, l := range lines {
		p.lines = append(p.lines, l.number)
	}
	if *chosen != "" {
		p.lines = nil
		for text := range strings.SplitSeq(*chosen, ",") {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > len(lines) {
				return nil, fmt.Errorf("there is no line %q", text)
			}
			p.lines = append(p.lines, n)
		}
	}
	p.databases = strings.Split(*databases, ",")
	for _, d := range p.databases {
		if d != sqlite && d != postgres {
			return nil, fmt.Errorf("there is no database %q", d)
		}
	}
	return p, nil
}
