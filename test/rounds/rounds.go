// Package rounds says how long the heavy suites are asked to be.
package rounds

import (
	"os"
	"strconv"
	"testing"
)

// Of is HEAVY_ROUNDS, a whole number from 1, which is what it is when nothing is said.
func Of(t testing.TB) int {
	t.Helper()
	said := os.Getenv("HEAVY_ROUNDS")
	if said == "" {
		return 1
	}
	n, err := strconv.Atoi(said)
	if err != nil || n < 1 {
		t.Fatalf("HEAVY_ROUNDS must be a whole number from 1, not %q", said)
	}
	return n
}
