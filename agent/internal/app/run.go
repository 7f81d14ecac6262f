package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/lifecycle"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/version"
)

// ErrUnfinished means that an enrollment was begun and nobody has approved it yet.
var ErrUnfinished = errors.New("the enrollment of this device is not finished")

const (
	stopGrace = 10 * time.Second // a request on its way is given up at once; the journal's last write is not

	// The agent lives on machines that have other work: a heap of a few MiB is
	// collected often rather than left to double.
	gcPercent   = 25
	memoryLimit = 12 << 20
)

// Logger writes structured lines.
func Logger(cfg *config.Config, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// Run keeps the device in touch with its server until ctx is done. ready is
// called once everything on the disk was read and found in order. command.ErrRestart
// means that the agent was told to end, for its supervisor to start it again.
func Run(ctx context.Context, cfg *config.Config, log *slog.Logger, ready func()) error {
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(memoryLimit)
	d, err := open(cfg.StateDir, time.Now())
	if err != nil {
		return err
	}
	defer d.close()
	a, err := d.connect(ctx, cfg, log, true, thisMachine)
	if err != nil {
		return err
	}
	d.announce(log)
	ready()
	debug.FreeOSMemory() // what starting needed
	parts := []lifecycle.Part{
		{Name: "link", Run: a.link.Run},
		{Name: "renewal", Run: a.renewer.Run},
		{Name: "commands", Run: a.commands.Run},
	}
	if a.attester != nil {
		parts = append(parts, lifecycle.Part{Name: "attestation", Run: a.attester.Run})
	}
	if a.files != nil {
		parts = append(parts, lifecycle.Part{Name: "certificate files", Run: a.files.Run})
	}
	err = lifecycle.Run(ctx, log, stopGrace, parts...)
	log.Info("agent stopped", "why", why(err))
	return err
}

func why(err error) string {
	if err != nil {
		return err.Error()
	}
	return "asked to"
}

// Once sends one heartbeat, and returns nil if the server accepted it. It does no
// command; what is delivered is delivered again.
func Once(ctx context.Context, cfg *config.Config, log *slog.Logger) error {
	d, err := open(cfg.StateDir, time.Now())
	if err != nil {
		return err
	}
	defer d.close()
	a, err := d.connect(ctx, cfg, log, false, thisMachine)
	if err != nil {
		return err
	}
	return a.link.Once(ctx)
}

// announce logs who this is, and what a person should know about it.
func (d *device) announce(log *slog.Logger) {
	e := d.state.Enrolled
	log.Info("agent started", "version", version.String(), "device_id", d.state.DeviceID, "server", d.state.Server,
		"root_version", e.Root.Version, "first_use", e.FirstUse, "policy_version", e.Policy.Version,
		"certificate_until", d.id.Leaf.NotAfter.UTC())
	switch expired := e.Now(time.Now()).After(d.id.Leaf.NotAfter); {
	case expired && d.state.Outside:
		log.Warn("the device's certificate has expired; put another one of its authority into the files (SENTINEL_AGENT_CERTIFICATE_FILE, SENTINEL_AGENT_KEY_FILE)")
	case expired:
		log.Warn("the device's certificate has expired; the agent asks to be let in again, and a reviewer has to approve it")
	}
	if d.pins.Lapsed {
		log.Warn("the policy bundle has expired; only harmless commands are allowed until a new one arrives")
	}
}

// Unenroll removes everything that ties this device to its fleet. It works on a
// damaged state directory too, and tells the server nothing.
func Unenroll(dir string) error {
	j, err := journal.OpenToRemove(dir)
	if err != nil {
		return err
	}
	return errors.Join(enroll.Forget(j), j.Close())
}
