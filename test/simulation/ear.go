package simulation

import (
	"context"
	"log/slog"
	"time"
)

// ear hears what an agent logs: which commands it begins, and moments between two
// writes of its disk, at which its machine may crash.
type ear struct {
	w *World
	a *agent
	p *process
}

// Enabled is part of slog.Handler.
func (e *ear) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs is part of slog.Handler.
func (e *ear) WithAttrs([]slog.Attr) slog.Handler { return e }

// WithGroup is part of slog.Handler.
func (e *ear) WithGroup(string) slog.Handler { return e }

// Handle is part of slog.Handler.
func (e *ear) Handle(_ context.Context, r slog.Record) error {
	if e.w.current != e.p {
		return nil
	}
	of := map[string]string{}
	r.Attrs(func(a slog.Attr) bool { of[a.Key] = a.Value.String(); return true })
	switch r.Message {
	case "a command begins":
		e.w.oracle.begins(e.w, e.a, of["action_id"], of["kind"])
	case "a command has ended", "newer documents are in force", "a new certificate was issued; trying it", "the server accepted the new certificate":
		e.w.tellf("%s: %s %s%s", e.a.name, r.Message, of["kind"], of["policy_version"])
	case "a command is refused":
		e.w.tellf("%s: a command is refused: %s", e.a.name, of["reason"])
	default:
		return nil
	}
	if e.w.chance(e.w.faults.agentCrashAt) {
		e.w.crashHere(e.a, e.p)
	}
	return nil
}

// crashHere ends an agent's process in the middle of what it does.
func (w *World) crashHere(a *agent, p *process) {
	w.tellf("%s: crashes in the middle", a.name)
	w.after(w.between(0, time.Minute), func() { w.power(a) })
	p.yield(crashed{})
}
