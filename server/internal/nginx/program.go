package nginx

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Program is NGINX as it is installed.
type Program struct {
	Path string // of the program, or its name on the PATH
	Conf string // its main configuration; "" is its own default
}

// patience is how long NGINX may take to read its configuration: lists may be long.
const patience = time.Minute

// Test has NGINX read its configuration.
func (p Program) Test(ctx context.Context) error { return p.run(ctx, "-t", "-q") }

// Reload has the NGINX that runs take it over.
func (p Program) Reload(ctx context.Context) error { return p.run(ctx, "-s", "reload") }

func (p Program) run(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if p.Conf != "" {
		args = append(args, "-c", p.Conf)
	}
	cmd := exec.CommandContext(ctx, p.Path, args...) //nolint:gosec // G204: the operator names the program
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(said.String())
		if args[0] == "-s" && strings.Contains(text, "invalid PID number") {
			text += "\nNGINX does not run; start it (systemctl start nginx), then try again"
		}
		return fmt.Errorf("%s %s: %w\n%s", p.Path, strings.Join(args, " "), err, text[max(0, len(text)-4000):])
	}
	return nil
}
