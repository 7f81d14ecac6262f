package keysource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/extsign"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
)

// What a program did instead of signing. Each is the Reason of an Error.
var (
	// ErrSlow says that it was not ready in time and was ended. It is tried again with
	// the next signature.
	ErrSlow = errors.New("it gave no answer in time and was ended; look at what it waits for, or raise SENTINEL_SIGNER_TIMEOUT")
	// ErrTooMuch says that it printed more than any answer has, and was ended.
	ErrTooMuch = errors.New("it printed more than any answer has and was ended; it must print one line and nothing else")
	// ErrDied says that it ended without an answer.
	ErrDied = errors.New("it ended without an answer")
	// ErrAnswer says that what it printed is no answer.
	ErrAnswer = errors.New("it printed something that is no answer")
	// ErrRefused says that it answered that it does not sign.
	ErrRefused = errors.New("it refused")
	// ErrOtherKey says that the signature it printed is not of the key that is configured.
	ErrOtherKey = errors.New("it printed a signature that is not of the key that is configured; nothing was signed. Let it use the right key")
	// ErrUnsafe says that others may change what the program does.
	ErrUnsafe = errors.New("it is not run")
)

// Error is a program that did not sign. Nothing of what it printed was used.
type Error struct {
	Program string // its path
	Reason  error
	Said    string // on its error output, or as its refusal; printable
}

func (e *Error) Error() string {
	text := "the signer " + filepath.Base(e.Program) + ": " + e.Reason.Error()
	if e.Said != "" {
		text += " (" + e.Said + ")"
	}
	return text
}

// Unwrap is the reason.
func (e *Error) Unwrap() error { return e.Reason }

const (
	maxComplaint = 2 << 10
	maxShown     = 300
	// lastWords is how long the output of a program that has ended may stay open in
	// others' hands.
	lastWords = time.Second
)

// environment is all that a program is told by its environment: nothing of this
// process's, which holds secrets. A program that needs more is started by env(1).
var environment = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}

// ask starts a source's program for one request.
func (o *Opener) ask(ctx context.Context, source config.KeySource, r *extsign.Request) (*extsign.Answer, error) {
	fail := func(reason error, said string) error {
		return &Error{Program: source.Path, Reason: reason, Said: extsign.Printable(said, maxShown)}
	}
	line, err := r.Marshal()
	if err != nil {
		return nil, err
	}
	if err := files.CheckProgram(source.Path, o.owners...); err != nil {
		return nil, fail(fmt.Errorf("%w: %w", ErrUnsafe, err), "")
	}
	here, err := o.line(source).enter(o.now())
	if err != nil {
		return nil, fail(err, "")
	}
	defer here.leave()
	inTime, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	select {
	case here.l.gate <- struct{}{}:
		defer func() { <-here.l.gate }()
	case <-inTime.Done():
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fail(ErrBusy, "")
	}
	if err := here.goOn(); err != nil {
		return nil, fail(err, "")
	}
	out := &bounded{limit: extsign.MaxAnswer, full: cancel}
	complaint := &bounded{limit: maxComplaint}
	cmd := exec.CommandContext(inTime, source.Path, source.Args...) //nolint:gosec // G204: what the settings name, and only they
	cmd.Env, cmd.Dir, cmd.WaitDelay = environment, filepath.Dir(source.Path), lastWords
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(line), out, complaint
	apart(cmd)
	err = cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) { // it ended, and left others behind who hold its output
		_ = cmd.Cancel()
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case out.over:
		here.answered()
		return nil, fail(ErrTooMuch, "")
	case inTime.Err() != nil:
		here.silent(o.now())
		return nil, fail(ErrSlow, string(complaint.data))
	}
	here.answered()
	answer, bad := extsign.ReadAnswer(out.data, r.Operation)
	switch {
	case bad == nil && answer.Error != "":
		return nil, fail(ErrRefused, answer.Error)
	case err != nil: // also what it printed before it failed is not used
		return nil, fail(fmt.Errorf("%w: %w", ErrDied, err), string(complaint.data))
	case bad != nil:
		return nil, fail(fmt.Errorf("%w: %w", ErrAnswer, bad), string(complaint.data))
	}
	return answer, nil
}

// bounded keeps the first bytes of what is printed. With full, that is called when
// there is more; without it the rest is let go. It is no more than a Writer: a buffer
// that could also read from the program by itself would know no limit.
type bounded struct {
	limit int
	full  func()

	data []byte
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	room := b.limit - len(b.data)
	b.data = append(b.data, p[:min(len(p), room)]...)
	if len(p) <= room {
		return len(p), nil
	}
	b.over = true
	if b.full != nil {
		b.full()
	}
	return len(p), nil
}
