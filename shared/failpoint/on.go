//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrInjected is what Fail returns when it was chosen to fail.
var ErrInjected = fmt.Errorf("a failpoint was told to fail")

const (
	variable = "FAILPOINTS"
	lookAt   = 20 * time.Millisecond // how soon a change of the file is seen
	paused   = time.Second
)

// armed is the one point that is armed, if any.
var armed struct {
	sync.Mutex
	once   sync.Once
	line   string
	name   string
	left   int
	action string
}

// Here is a moment that a test can choose for a crash or a pause.
func Here(name string) { _ = Fail(name) }

// Fail is Here, and returns the error that a test chose for this moment.
func Fail(name string) error {
	armed.once.Do(watch)
	switch pass(name) {
	case "kill":
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Kill()
		}
		select {} // the kernel is on its way
	case "error":
		return fmt.Errorf("%w (%s)", ErrInjected, name)
	case "pause":
		<-time.After(paused)
	}
	return nil
}

// pass returns the action that is due, or nothing.
func pass(name string) string {
	armed.Lock()
	defer armed.Unlock()
	if name != armed.name || armed.left == 0 {
		return ""
	}
	armed.left--
	if armed.left > 0 {
		return ""
	}
	return armed.action
}

// watch reads the file now, and goes on to do so for as long as the program runs.
func watch() {
	path := os.Getenv(variable) //nolint:forbidigo // a setting of tests, in no build that is shipped
	if path == "" {
		return
	}
	arm(path)
	go func() {
		for range time.NewTicker(lookAt).C {
			arm(path)
		}
	}()
}

func arm(path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		return
	}
	armed.Lock()
	defer armed.Unlock()
	line := strings.TrimSpace(string(data))
	if line == armed.line {
		return
	}
	armed.line, armed.name, armed.left = line, "", 0
	words := strings.Fields(line)
	if len(words) < 3 { // a fourth word tells two equal orders apart
		return
	}
	if n, err := strconv.Atoi(words[1]); err == nil {
		armed.name, armed.left, armed.action = words[0], n, words[2]
	}
}
