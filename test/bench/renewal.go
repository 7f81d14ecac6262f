package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// renewalMedian is what the test of renewals logs for each database.
var renewalMedian = regexp.MustCompile(`(sqlite|postgres): median ratio ([0-9.]+) CPU`)

// enrollmentMedian is the same test's figure for letting a device in.
var enrollmentMedian = regexp.MustCompile(`(sqlite|postgres): median enrollment ([0-9]+) µs CPU`)

// renewal is line 3. What it is compared with takes the server's own signing and
// storing apart, so it is measured inside the server's package, by a test that is
// run here.
func renewal(ctx context.Context, b *bench) error {
	out, err := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-tags", "heavy", "-run", "^TestARenewalCostsLittleMoreThanItsParts$", "./server/internal/flow").CombinedOutput()
	if err != nil {
		return fmt.Errorf("the measurement of renewals: %w: %s", err, out[max(0, len(out)-2000):])
	}
	found := renewalMedian.FindAllSubmatch(out, -1)
	if len(found) == 0 {
		return errors.New("the measurement of renewals said nothing")
	}
	for _, m := range found {
		ratio, err := strconv.ParseFloat(string(m[2]), 64)
		if err != nil {
			return err
		}
		b.compare(3, "a renewal, beside its parts, batched too (CPU)", string(m[1]), "times", 1.5).alone(ratio)
	}
	for _, m := range enrollmentMedian.FindAllSubmatch(out, -1) {
		b.notef("line 3, %s: an enrollment without a review, both requests, takes %s µs of CPU", m[1], m[2])
	}
	return nil
}
