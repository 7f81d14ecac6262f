package diagnostics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/service"
)

const (
	logLines = 500
	maxLog   = 1 << 20 // 500 lines of 2 KiB
	logTime  = 10 * time.Second
)

// ServiceLog is the last lines of the service's log. It runs journalctl by its
// absolute path and with an environment of its own, so that nothing of the
// caller's decides what is run.
func ServiceLog(ctx context.Context) ([]byte, error) {
	program := ""
	for _, path := range []string{"/usr/bin/journalctl", "/bin/journalctl"} {
		if _, err := os.Stat(path); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		return nil, errors.New("the system keeps no journal (there is no journalctl)")
	}
	ctx, cancel := context.WithTimeout(ctx, logTime)
	defer cancel()
	//nolint:gosec // G204: a fixed path and fixed arguments
	cmd := exec.CommandContext(ctx, program, "--no-pager", "--quiet", "--output=short-iso", "--unit="+service.Agent().Name, "--lines="+strconv.Itoa(logLines))
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	cmd.WaitDelay = time.Second
	out := &tail{limit: maxLog}
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("journalctl: %w", err)
	}
	if len(out.data) == 0 {
		return nil, errors.New("there is no line of the service in the system's journal")
	}
	return out.data, nil
}

// tail keeps the last bytes of what is written to it, from the beginning of a line.
type tail struct {
	data  []byte
	limit int
}

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if over := len(t.data) - t.limit; over > 0 {
		t.data = t.data[over:]
		if i := bytes.IndexByte(t.data, '\n'); i >= 0 {
			t.data = t.data[i+1:]
		}
	}
	return len(p), nil
}
