package link

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// maxSkew between the clocks of device and server goes without a word.
const maxSkew = 5 * time.Minute

// report logs what changed. That things go on as before is for debugging only:
// a log that repeats itself every minute is not read.
func (l *Link) report(ctx context.Context, err error, r Reaction, wait time.Duration) {
	level := slog.LevelDebug
	if r != l.last || !l.reported {
		level = slog.LevelInfo
		if r >= BackOff {
			level = slog.LevelWarn
		}
	}
	l.last, l.reported = r, true
	if err == nil {
		l.Log.Log(ctx, level, "heartbeat accepted", "next_in", wait.Round(time.Second).String())
		return
	}
	attrs := []any{"error", err.Error(), "reaction", r.String(), "next_in", wait.Round(time.Second).String()}
	if refusal, ok := errors.AsType[*RefusalError](err); ok {
		attrs = append(attrs, "code", string(refusal.Problem.Code), "status", refusal.Status)
	}
	l.Log.Log(ctx, level, "heartbeat not accepted", attrs...)
}

// compareClocks warns once when the clocks part, and says once that they met.
func (l *Link) compareClocks(ctx context.Context, own, server time.Time) {
	if server.IsZero() {
		return
	}
	skew := own.Sub(server)
	skewed := skew.Abs() > maxSkew
	if skewed == l.skewed {
		return
	}
	l.skewed = skewed
	if skewed {
		l.Log.WarnContext(ctx, "the clocks of device and server differ; check both", "device_ahead_by", skew.Round(time.Second).String())
	} else {
		l.Log.InfoContext(ctx, "the clocks of device and server agree again")
	}
}
