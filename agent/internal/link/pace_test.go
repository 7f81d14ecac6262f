package link

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

func refusal(code protocol.Code) error { return &RefusalError{Problem: protocol.Problem{Code: code}} }

func TestEachRefusalHasItsReaction(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want Reaction
	}{
		{nil, Go},
		{fmt.Errorf("x: %w", ErrNoAnswer), BackOff},
		{ErrNotServer, BackOff},
		{ErrBadAnswer, BackOff},
		{&RefusalError{Status: 502}, BackOff},
		{refusal(protocol.CodeRateLimited), BackOff},
		{refusal(protocol.CodeNotReady), BackOff},
		{refusal(protocol.CodeInternal), BackOff},
		{refusal(protocol.CodeEpochChanged), AtOnce},
		{refusal(protocol.CodeDeviceSuspended), Slowly},
		{refusal(protocol.CodeDeviceHeld), Slowly},
		{refusal(protocol.CodeCounterStale), Slowly},
		{refusal(protocol.CodeCounterJump), Slowly},
		{refusal(protocol.CodeDeviceRevoked), Rarely},
		{refusal(protocol.CodeDeviceUnknown), Rarely},
		{refusal(protocol.CodeCertificateExpired), Rarely},
		{refusal(protocol.CodeMalformed), Slowly},
		{refusal("from-a-newer-server"), Slowly},
		{errors.Join(refusal(protocol.CodeDeviceRevoked), errors.New("and the disk is full")), Rarely},
	} {
		if got := React(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

func TestThePaceStaysWithinItsBounds(t *testing.T) {
	t.Parallel()
	for _, random := range []float64{0, 0.5, 0.999999} {
		for _, interval := range []time.Duration{5 * time.Second, time.Minute, 30 * time.Minute, MaxInterval} {
			fresh := func() *pace { return &pace{interval: interval, random: func() float64 { return random }} }
			within := func(what string, got, least, most time.Duration) {
				t.Helper()
				if got < least || got > most {
					t.Errorf("%s at %v with %v: waits %v, want %v to %v", what, interval, random, got, least, most)
				}
			}
			within("the first", fresh().first(), 0, time.Second)
			within("accepted", fresh().after(Go, 0), interval*9/10, interval)
			slow := min(5*interval, time.Hour)
			within("slowly", fresh().after(Slowly, 0), slow*9/10, slow)
			within("rarely", fresh().after(Rarely, 0), 54*time.Minute, time.Hour)
			within("slowly, told to wait", fresh().after(Slowly, time.Hour), time.Hour, time.Hour)
			p := fresh()
			for n := range 100 {
				limit := max(5*time.Minute, interval)
				if n < 9 {
					limit = min(limit, time.Second<<n)
				}
				within("backing off", p.after(BackOff, 0), 0, limit)
				within("told to wait", p.after(BackOff, time.Minute), time.Minute, time.Minute+max(5*time.Minute, interval))
				p.failures--
			}
		}
	}
}

func TestBackingOffSpreadsFromNothingToTheLimit(t *testing.T) {
	t.Parallel()
	at := func(random float64) time.Duration {
		p := &pace{interval: time.Minute, random: func() float64 { return random }, failures: 50}
		return p.after(BackOff, 0)
	}
	if at(0) != 0 || at(0.5) != 150*time.Second {
		t.Errorf("waits %v and %v: not full jitter", at(0), at(0.5))
	}
	p := &pace{interval: time.Minute, random: func() float64 { return 0.5 }}
	for range 20 {
		p.after(BackOff, 0)
	}
	p.after(Go, 0)
	if got := p.after(BackOff, 0); got != time.Second/2 {
		t.Errorf("after a success the first failure waits %v", got)
	}
}

func TestChangingTheEpochAllTheTimeDoesNotMakeALoop(t *testing.T) {
	t.Parallel()
	p := &pace{interval: time.Minute, random: func() float64 { return 0.5 }}
	for n := range 10 {
		if got := p.after(AtOnce, 0); (got == 0) != (n < 3) {
			t.Errorf("change %d: waits %v", n+1, got)
		}
	}
}

func TestTheServersIntervalIsClamped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		seconds      int
		before, want time.Duration
	}{
		{60, time.Hour, time.Minute},
		{0, 2 * time.Minute, 2 * time.Minute},
		{-5, 2 * time.Minute, 2 * time.Minute},
		{1, time.Minute, 5 * time.Second},
		{1 << 40, time.Minute, time.Hour},
		{0, time.Second, 5 * time.Second},
	} {
		if got := clamp(c.seconds, c.before, 5*time.Second); got != c.want {
			t.Errorf("%d after %v: %v, want %v", c.seconds, c.before, got, c.want)
		}
	}
}
