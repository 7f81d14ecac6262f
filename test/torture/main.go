package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// options are what may be asked for.
type options struct {
	seed     uint64
	kills    int
	only     string
	database string
	agents   int
	race     bool
	late     bool
	life     time.Duration
	keep     string
}

func main() {
	var o options
	flag.Uint64Var(&o.seed, "seed", 0, "of the schedule of faults; 0 takes another each time")
	flag.IntVar(&o.kills, "kills", 1000, "how many SIGKILLs in all")
	flag.StringVar(&o.only, "only", "", "kill only this: agent, server or postgres")
	flag.StringVar(&o.database, "database", "", "only on this one: sqlite or postgres")
	flag.IntVar(&o.agents, "agents", 4, "how many real agents")
	flag.BoolVar(&o.race, "race", false, "build the programs with the race detector")
	flag.BoolVar(&o.late, "late", true, "restart agents also while a server is stopped: what they sent before arrives late, as a clone's would")
	flag.DurationVar(&o.life, "life", usualLife, "of the devices' certificates")
	flag.StringVar(&o.keep, "keep", "", "directory to keep everything in, also when all is well")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := torture(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (o options) check() error {
	switch {
	case o.only != "" && o.only != toAgent && o.only != toServer && o.only != toPostgres:
		return errors.New("-only is agent, server or postgres")
	case o.database != "" && o.database != "sqlite" && o.database != "postgres":
		return errors.New("-database is sqlite or postgres")
	case o.only == toPostgres && o.database == "sqlite":
		return errors.New("there is no PostgreSQL to kill with -database sqlite")
	case o.kills < 1 || o.agents < 1:
		return errors.New("-kills and -agents are at least 1")
	case o.life < shortestLife:
		return fmt.Errorf("-life is at least %v: what is broken may take as long as a shorter one lasts", shortestLife)
	}
	return nil
}

// usualLife is one in which an agent renews after a minute or two: certificates
// begin five minutes early, and two thirds are counted from there.
const usualLife = 4 * time.Minute

// shortestLife of a certificate in which every device finds the time to renew it.
const shortestLife = 2 * time.Minute

// torture runs the phases and prints one summary.
func torture(ctx context.Context, o options, out io.Writer) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1 << 32)
	}
	begin := time.Now()
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	dir := o.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "torture"); err != nil {
			return err
		}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	bin := filepath.Join(dir, "bin")
	if err := binaries(strings.TrimSpace(string(root)), bin, o.race); err != nil {
		return err
	}
	databases := []string{"sqlite", "postgres"}
	if o.database != "" {
		databases = []string{o.database}
	} else if o.only == toPostgres {
		databases = []string{"postgres"}
	}
	fmt.Fprintf(out, "seed %d, %d kills, in %s\n", o.seed, o.kills, dir)
	var broken []string
	total := 0
	for _, database := range databases {
		fmt.Fprintf(out, "%s\n", database)
		failures, kills, err := phase(ctx, o, database, bin, filepath.Join(dir, database), o.kills/len(databases), out)
		if err != nil {
			return fmt.Errorf("%s: %w", database, err)
		}
		total += kills
		for _, f := range failures {
			broken = append(broken, database+": "+f)
		}
	}
	fmt.Fprintf(out, "%d kills in %v, seed %d\n", total, time.Since(begin).Round(time.Second), o.seed)
	if len(broken) > 0 {
		fmt.Fprintf(out, "\nFAILED:\n  %s\n\nEverything is kept in %s. The same faults again:\n  %s\n", strings.Join(broken, "\n  "), dir, o.again())
		return errBroken
	}
	fmt.Fprintln(out, "everything holds")
	if o.keep == "" {
		return os.RemoveAll(dir)
	}
	return nil
}

// again is the command that brings the same faults.
func (o options) again() string {
	text := fmt.Sprintf("go run ./test/torture -seed %d -kills %d -agents %d", o.seed, o.kills, o.agents)
	if !o.late {
		text += " -late=false"
	}
	if o.life != usualLife {
		text += fmt.Sprintf(" -life %v", o.life)
	}
	if o.only != "" {
		text += " -only " + o.only
	}
	if o.database != "" {
		text += " -database " + o.database
	}
	return text
}
