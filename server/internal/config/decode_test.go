package config

import (
	"testing"
	"time"
)

func TestADurationIsWrittenShort(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{"8760h": 8760 * time.Hour, "1m": time.Minute, "1h1m": 61 * time.Minute, "1h0m1s": time.Hour + time.Second, "10s": 10 * time.Second, "0s": 0} {
		if got := Compact(d); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
