package main

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
)

// ear is a log that says when a line was heard.
type ear struct {
	mu    sync.Mutex
	log   bytes.Buffer
	heard chan struct{}
}

func (e *ear) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if bytes.Contains(p, []byte(`"msg":"ready"`)) {
		close(e.heard)
	}
	return e.log.Write(p)
}

func TestTheHelpOfServeListsTheSettings(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"serve", "--help"}, {"help", "serve"}} {
		var out bytes.Buffer
		if err := run(t.Context(), args, strings.NewReader(""), &out, &out, nil); err != 0 {
			t.Errorf("%v: %v\n%s", args, err, out.String())
		}
		for _, part := range []string{"serve runs the server", "SENTINEL_DATA_DIR", "sentinel-server serve [flags]"} {
			if strings.Count(out.String(), part) != 1 {
				t.Errorf("%v: %q is not in it once:\n%s", args, part, out.String())
			}
		}
	}
}

func TestAServerThatIsAskedToStopSaysSoAndWhenItHas(t *testing.T) {
	t.Parallel()
	e := &ear{heard: make(chan struct{})}
	p := &program{in: strings.NewReader(""), out: e, err: e, environ: []string{
		"SENTINEL_DATA_DIR=" + t.TempDir(), "SENTINEL_PEOPLE_LISTEN=127.0.0.1:0", "SENTINEL_MACHINE_LISTEN=127.0.0.1:0",
	}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- p.serve(ctx) }()
	select {
	case <-e.heard:
	case err := <-ended:
		t.Fatalf("it ended: %v\n%s", err, e.log.String())
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	log := e.log.String()
	stopping, stopped := strings.Index(log, `"level":"INFO","msg":"stopping"`), strings.Index(log, `"level":"INFO","msg":"stopped"`)
	if stopping < 0 || stopped < stopping || strings.Count(log, "stopped") != 1 {
		t.Errorf("the log:\n%s", log)
	}
}
