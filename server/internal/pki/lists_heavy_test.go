//go:build heavy

package pki_test

import "testing"

// REV-03: a fleet that lost 100,000 certificates has its list in time.
func TestAVeryLongListIsMadeInGoodTime(t *testing.T) { longList(t, 100_000) }
