//go:build unix

package journal

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// childEnv makes the test binary a child that uses up counters until killed.
const childEnv = "JOURNAL_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		useUpCounters(dir)
	}
	os.Exit(m.Run())
}

func useUpCounters(dir string) {
	j, err := Open(dir)
	for err == nil {
		var n int64
		if n, err = j.Next(); err == nil {
			fmt.Println(n) // stands for sending: it is out
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

// HBT-05: whatever a killed agent has sent, the next one goes on above it.
func TestKilledAgentsNeverUseACounterTwice(t *testing.T) {
	t.Parallel()
	const kills = 100
	j := begun(t, enrolled())
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	var last int64
	for round := range kills {
		last = killAfter(t, j.Dir(), 1+round%7, last)
	}
	if last < kills {
		t.Fatalf("only %d counters in %d rounds", last, kills)
	}
	survivor, err := Open(j.Dir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = survivor.Close() }()
	if n, err := survivor.Next(); err != nil || n <= last {
		t.Fatalf("the one that is not killed got %d after %d, %v", n, last, err)
	}
	if left, _ := filepath.Glob(filepath.Join(j.Dir(), ".*")); len(left) > 0 {
		t.Errorf("killed agents leave files behind: %v", left)
	}
}

// killAfter runs a child until it has printed lines counters, kills it while it
// goes on, and reads what it still printed.
func killAfter(t *testing.T, dir string, lines int, last int64) int64 {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	scan := bufio.NewScanner(out)
	for seen := 1; scan.Scan(); seen++ {
		n, err := strconv.ParseInt(scan.Text(), 10, 64)
		if err != nil {
			t.Fatalf("the child says: %s", scan.Text())
		}
		if n <= last {
			t.Fatalf("counter %d was sent after %d", n, last)
		}
		last = n
		if seen == lines {
			_ = child.Process.Kill() // SIGKILL
		}
	}
	_ = child.Wait()
	return last
}
