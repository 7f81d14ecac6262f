//go:build unix

package keysource

import (
	"crypto"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keyfile"
)

// DOS-02: while a program hangs, whoever needs its signature is told so at once, nothing
// is started, and other programs go on; when it answers again, so does everything.
func TestAProgramThatHangsHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	w := newPlant(t, 3*time.Second)
	key, path := w.key("a.key", keyfile.NewEd25519)
	answers := filepath.Join(w.dir, "go")
	hangs := w.program("slow", path, answers)
	signer, err := w.o.Signer("device-ca", hangs, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sign := func() error {
		_, err := signer.Sign(rand.Reader, []byte("m"), crypto.Hash(0))
		return err
	}
	// As many as may run, and as many behind them: those are not run one after another.
	came := make(chan error, 2*atOnce)
	for range cap(came) {
		go func() { came <- sign() }()
	}
	slow := 0
	for range cap(came) {
		switch err := <-came; {
		case errors.Is(err, ErrSlow):
			slow++
		case !errors.Is(err, ErrResting) && !errors.Is(err, ErrBusy):
			t.Errorf("%v", err)
		}
	}
	if slow == 0 || slow > atOnce {
		t.Errorf("%d were waited for to the end, of %d that may run", slow, atOnce)
	}
	for range cap(w.o.line(hangs).gate) { // nothing is started: no place is needed
		w.o.line(hangs).gate <- struct{}{}
	}
	for range 1000 {
		if err := sign(); !errors.Is(err, ErrResting) {
			t.Fatalf("while it hangs: %v", err)
		}
	}
	for range cap(w.o.line(hangs).gate) {
		<-w.o.line(hangs).gate
	}
	other, err := w.o.Signer("command", w.program("good", path), key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Sign(rand.Reader, []byte("m"), crypto.Hash(0)); err != nil {
		t.Errorf("another program: %v", err)
	}
	w.now = w.now.Add(restFor)
	if err := sign(); !errors.Is(err, ErrSlow) {
		t.Errorf("it is not asked again: %v", err)
	}
	if err := sign(); !errors.Is(err, ErrResting) {
		t.Errorf("it hangs still: %v", err)
	}
	if err := os.WriteFile(answers, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(restFor)
	for range 2 {
		if err := sign(); err != nil {
			t.Errorf("it answers again: %v", err)
		}
	}
	if n := w.o.line(hangs).waiting; n != 0 {
		t.Errorf("%d places are not given back", n)
	}
}

func TestOneFindsOutWhetherAProgramAnswersAgain(t *testing.T) {
	t.Parallel()
	l, at := newLine(), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	enter := func(want error) *place {
		t.Helper()
		p, err := l.enter(at)
		if !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
		return p
	}
	first, second := enter(nil), enter(nil)
	first.silent(at)
	first.leave()
	if !errors.Is(second.goOn(), ErrResting) {
		t.Error("who waited goes on")
	}
	second.leave()
	enter(ErrResting)
	at = at.Add(restFor)
	tries := enter(nil)
	if tries.goOn() != nil {
		t.Error("nobody finds out")
	}
	enter(ErrResting)
	tries.leave() // gave up: neither an answer nor silence
	tries = enter(nil)
	tries.silent(at)
	tries.leave()
	enter(ErrResting)
	at = at.Add(restFor)
	tries = enter(nil)
	tries.answered()
	enter(nil).leave()
	tries.leave()

	// One that is slow once, while it answers others, does not hang.
	late, other := enter(nil), enter(nil)
	other.answered()
	other.leave()
	late.silent(at)
	late.leave()
	for range inLine {
		enter(nil)
	}
	enter(ErrBusy)
}
