//go:build unix

package keysource

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keyfile"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/extsign"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// TestMain is also the signer that the tests start: this program itself, told how to
// behave.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "as-signer" {
		behave(os.Args[2], os.Args[3:])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const cannotSign = 3

func behave(how string, args []string) {
	serve := func(path string) {
		if err := extsign.Serve(os.Stdin, os.Stdout, func() (crypto.Signer, error) { return keyfile.Load(path) }); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(cannotSign)
		}
	}
	switch how {
	case "good":
		serve(args[0])
	case "slow": // answers when a file is there
		for range 10_000 {
			if _, err := os.Stat(args[1]); err == nil {
				break
			}
			<-time.After(time.Millisecond)
		}
		serve(args[0])
	case "other": // says it has one key, and signs with another
		r, err := extsign.ReadRequest(os.Stdin)
		if err != nil {
			os.Exit(cannotSign)
		}
		key, err := keyfile.Load(args[0])
		if err != nil {
			os.Exit(cannotSign)
		}
		_, hash, _, _ := extsign.Method(key.Public())
		sig, _ := key.Sign(rand.Reader, r.Data, hash)
		fmt.Printf("{\"version\":1,\"signature\":\"%s\"}\n", b64(sig))
	case "hang":
		_ = os.WriteFile(args[0], []byte(strconv.Itoa(os.Getpid())), 0o600)
		<-time.After(2 * time.Minute)
	case "child": // leaves somebody behind who holds its output
		child := exec.Command(os.Args[0], "as-signer", "hang", args[0])
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		_ = child.Start()
		if len(args) > 1 {
			_ = child.Wait()
		}
	case "much":
		line := strings.Repeat("x", 1<<16)
		for {
			if _, err := fmt.Print(line); err != nil {
				os.Exit(cannotSign)
			}
		}
	case "dies":
		fmt.Fprintln(os.Stderr, "no\x1b[31m token")
		os.Exit(cannotSign)
	case "half":
		fmt.Print(`{"version":1,"signature":"AAAA`)
		os.Exit(cannotSign)
	case "signs and dies":
		serve(args[0])
		os.Exit(cannotSign)
	case "garbage":
		fmt.Println("c2lnbmF0dXJl")
	case "nothing":
	case "refuses":
		fmt.Println(`{"version":1,"error":"the token is locked"}`)
	case "key for signature":
		fmt.Println(`{"version":1,"public_key":"AAAA"}`)
	case "environment":
		fmt.Printf("{\"version\":1,\"error\":%q}\n", strings.Join(os.Environ(), " "))
	}
}

func b64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// plant is a place for keys and signers.
type plant struct {
	*testing.T
	dir string
	now time.Time
	o   *Opener
}

func newPlant(t *testing.T, timeout time.Duration) *plant {
	t.Helper()
	w := &plant{T: t, dir: t.TempDir(), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	w.o = New(timeout, func() time.Time { return w.now })
	return w
}

func (w *plant) key(name string, create func(string) (crypto.Signer, error)) (crypto.Signer, string) {
	w.Helper()
	path := filepath.Join(w.dir, name)
	key, err := create(path)
	if err != nil {
		w.Fatal(err)
	}
	return key, path
}

// program is a signer that behaves in a way.
func (w *plant) program(how string, args ...string) config.KeySource {
	w.Helper()
	words := append([]string{must(os.Executable()), "as-signer", how}, args...)
	source, err := config.ParseKeySource("exec:" + string(must(json.Marshal(words))))
	if err != nil {
		w.Fatal(err)
	}
	return source
}

const patient = time.Minute

func TestAProgramSignsWithoutTheKeyComingHere(t *testing.T) {
	t.Parallel()
	w := newPlant(t, patient)
	for name, create := range map[string]func(string) (crypto.Signer, error){"ed25519": keyfile.NewEd25519, "p256": keyfile.NewP256} {
		key, path := w.key(name, create)
		source := w.program("good", path)
		pub, err := w.o.Public(t.Context(), "command", source)
		if err != nil || !same(pub, key.Public()) {
			t.Fatal(name, err)
		}
		signer, err := w.o.Signer("command", source, pub)
		if err != nil {
			t.Fatal(name, err)
		}
		s, err := signing.NewSigner(signing.PurposeCommand, signer)
		if err != nil {
			t.Fatal(name, err)
		}
		env, err := signing.Seal(t.Context(), signing.PurposeCommand, []byte(`{"type":"command"}`), s)
		if err != nil {
			t.Fatal(name, err)
		}
		if _, _, err := env.Verify(signing.PurposeCommand, []signing.Key{s.Key()}, 1); err != nil {
			t.Error(name, err)
		}
	}
	key, path := w.key("ca", keyfile.NewP256)
	signer, err := w.o.Signer("device-ca", w.program("good", path), key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := certs.NewRootCA("root", signer, w.now, time.Hour); err != nil {
		t.Errorf("a certificate: %v", err)
	}
	if _, err := signer.Sign(rand.Reader, []byte("no digest"), crypto.SHA256); !errors.Is(err, signing.ErrKey) {
		t.Errorf("what is no digest: %v", err)
	}
	if _, err := signer.Sign(rand.Reader, make([]byte, 48), crypto.SHA384); !errors.Is(err, signing.ErrKey) {
		t.Errorf("another hash: %v", err)
	}
}

// Each fault of a program is an error of its own that says what to do, and no signature
// leaves.
func TestAProgramThatDoesNotSignSaysWhy(t *testing.T) {
	t.Parallel()
	for how, c := range map[string]struct {
		reason  error
		says    string
		timeout time.Duration
	}{
		"hang":              {ErrSlow, "SENTINEL_SIGNER_TIMEOUT", 400 * time.Millisecond},
		"child":             {ErrDied, "", patient},
		"child that waits":  {ErrSlow, "SENTINEL_SIGNER_TIMEOUT", 400 * time.Millisecond},
		"much":              {ErrTooMuch, "one line", patient},
		"other":             {ErrOtherKey, "right key", patient},
		"dies":              {ErrDied, "no [31m token", patient},
		"half":              {ErrDied, "exit status 3", patient},
		"signs and dies":    {ErrDied, "exit status 3", patient},
		"garbage":           {ErrAnswer, "", patient},
		"nothing":           {ErrAnswer, "", patient},
		"refuses":           {ErrRefused, "the token is locked", patient},
		"key for signature": {ErrAnswer, "", patient},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := newPlant(t, c.timeout)
			key, path := w.key("a.key", keyfile.NewEd25519)
			mode, args := how, []string{path}
			pidFile := filepath.Join(w.dir, "pid")
			switch how {
			case "hang", "child":
				args = []string{pidFile}
			case "child that waits":
				mode, args = "child", []string{pidFile, "wait"}
			case "other":
				_, other := w.key("b.key", keyfile.NewEd25519)
				args = []string{other}
			}
			signer, err := w.o.Signer("command", w.program(mode, args...), key.Public())
			if err != nil {
				t.Fatal(err)
			}
			var sig []byte
			done := make(chan struct{})
			go func() { sig, err = signer.Sign(rand.Reader, []byte("a message"), crypto.Hash(0)); close(done) }()
			select {
			case <-done:
			case <-time.After(patient / 2):
				t.Fatal("it is waited for without end")
			}
			if sig != nil || !errors.Is(err, c.reason) || !strings.Contains(err.Error(), c.says) || strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("%x %v", sig, err)
			}
			if f, ok := errors.AsType[*Error](err); !ok || f.Program == "" {
				t.Errorf("%T", err)
			}
			if strings.Contains(how, "hang") || strings.Contains(how, "child") {
				gone(t, pidFile)
			}
		})
	}
}

// gone waits until the process whose id a file holds has ended.
func gone(t *testing.T, pidFile string) {
	t.Helper()
	data, err := os.ReadFile(pidFile)
	if err != nil {
		return // it was ended before it wrote its id
	}
	pid, err := strconv.Atoi(string(data))
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	t.Errorf("process %d goes on", pid)
}

func TestASlowProgramIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newPlant(t, patient)
	key, path := w.key("a.key", keyfile.NewEd25519)
	started := filepath.Join(w.dir, "go")
	signer, err := w.o.Signer("command", w.program("slow", path, started), key.Public())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := signer.Sign(rand.Reader, []byte("m"), crypto.Hash(0))
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := os.WriteFile(started, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestOnlySoManyProgramsRunAtATime(t *testing.T) {
	t.Parallel()
	w := newPlant(t, 50*time.Millisecond)
	key, path := w.key("a.key", keyfile.NewEd25519)
	for range atOnce {
		w.o.line(w.program("good", path)).gate <- struct{}{}
	}
	signer, err := w.o.Signer("command", w.program("good", path), key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signer.Sign(rand.Reader, []byte("m"), crypto.Hash(0)); !errors.Is(err, ErrBusy) {
		t.Errorf("one more: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.o.Public(ctx, "command", w.program("good", path)); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}

// It runs alone: it changes this process's environment.
func TestAProgramIsToldNothingOfThisProcess(t *testing.T) {
	t.Setenv("SENTINEL_SECRET_KEY", "canary-of-a-secret")
	w := newPlant(t, patient)
	key, _ := w.key("a.key", keyfile.NewEd25519)
	signer, err := w.o.Signer("command", w.program("environment"), key.Public())
	if err != nil {
		t.Fatal(err)
	}
	_, err = signer.Sign(rand.Reader, []byte("m"), crypto.Hash(0))
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "PATH=") || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "HOME=") {
		t.Errorf("%v", err)
	}
}

func TestTheSourceThatHoldsAKeyIsFound(t *testing.T) {
	t.Parallel()
	w := newPlant(t, patient)
	first, firstPath := w.key("first.key", keyfile.NewEd25519)
	second, secondPath := w.key("second.key", keyfile.NewEd25519)
	stranger, _ := w.key("stranger.key", keyfile.NewEd25519)
	for name, set := range map[string]*Set{
		"files":    w.o.Set("command", config.FileSource(secondPath), config.FileSource(firstPath)),
		"programs": w.o.Set("command", w.program("good", secondPath), w.program("good", firstPath)),
		"both":     w.o.Set("command", config.FileSource(secondPath), config.KeySource{}, w.program("good", firstPath)),
	} {
		for _, key := range []crypto.Signer{first, second} {
			signer, err := set.Signer(t.Context(), key.Public())
			if err != nil {
				t.Error(name, err)
				continue
			}
			message := []byte("m")
			sig, err := signer.Sign(rand.Reader, message, crypto.Hash(0))
			if err != nil || !ed25519.Verify(key.Public().(ed25519.PublicKey), message, sig) {
				t.Error(name, err)
			}
		}
		if _, err := set.Signer(t.Context(), stranger.Public()); !errors.Is(err, ErrNoKey) {
			t.Errorf("%s: a key that none has: %v", name, err)
		}
		if pub, err := set.Newest(t.Context()); err != nil || !same(pub, second.Public()) {
			t.Errorf("%s: the newest: %v", name, err)
		}
	}
	var none *Set
	if _, err := none.Signer(t.Context(), first.Public()); !errors.Is(err, ErrNoKey) || !none.Empty() {
		t.Error(err)
	}
	if _, err := w.o.Signer("command", config.FileSource(firstPath), second.Public()); !errors.Is(err, ErrNoKey) {
		t.Errorf("a file of another key: %v", err)
	}
}

// A program that does not name its key is not asked with every breath.
func TestAProgramThatFailsIsLeftAloneForAWhile(t *testing.T) {
	t.Parallel()
	w := newPlant(t, patient)
	_, path := w.key("a.key", keyfile.NewEd25519)
	source := w.program("good", path)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.o.Public(t.Context(), "command", source); !errors.Is(err, ErrRefused) {
		t.Fatal(err)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	if _, err := w.o.Public(t.Context(), "command", source); !errors.Is(err, ErrRefused) {
		t.Errorf("asked at once again: %v", err)
	}
	w.now = w.now.Add(restFor)
	if _, err := w.o.Public(t.Context(), "command", source); err != nil {
		t.Errorf("not asked again: %v", err)
	}
}

// A server starts while a module does not answer, and signs once it does.
func TestAmongSeveralSourcesOneThatDoesNotAnswerIsAskedLater(t *testing.T) {
	t.Parallel()
	w := newPlant(t, patient)
	key, path := w.key("a.key", keyfile.NewEd25519)
	_, other := w.key("b.key", keyfile.NewEd25519)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	signer, err := w.o.Set("command", config.FileSource(other), w.program("good", path)).Signer(t.Context(), key.Public())
	if err != nil || !same(signer.Public(), key.Public()) {
		t.Fatal(err)
	}
	if sig, err := signer.Sign(rand.Reader, []byte("m"), crypto.Hash(0)); sig != nil || !errors.Is(err, ErrRefused) {
		t.Errorf("%v", err)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(restFor)
	if _, err := signer.Sign(rand.Reader, []byte("m"), crypto.Hash(0)); err != nil {
		t.Error(err)
	}
}

// AGT-06
func TestWhatOthersMayHavePutThereIsNotTaken(t *testing.T) {
	t.Parallel()
	w := newPlant(t, patient)
	_, path := w.key("a.key", keyfile.NewEd25519)
	read := func() error {
		_, err := w.o.Public(t.Context(), "command", config.FileSource(path))
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o602} {
		change(t, path, mode)
		if err := read(); !errors.Is(err, files.ErrExposed) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	change(t, path, 0o600)
	link := config.FileSource(filepath.Join(w.dir, "link"))
	if err := os.Symlink(path, link.Path); err != nil {
		t.Fatal(err)
	}
	if _, err := w.o.Public(t.Context(), "command", link); err == nil {
		t.Error("a link is followed")
	}
	for _, mode := range []os.FileMode{0o777, 0o770, 0o702} {
		change(t, w.dir, mode)
		if err := read(); !errors.Is(err, files.ErrForeign) {
			t.Errorf("in a directory of mode %o: %v", mode, err)
		}
	}
	change(t, w.dir, 0o777|os.ModeSticky)
	if err := read(); err != nil {
		t.Errorf("in a sticky directory: %v", err)
	}
	change(t, w.dir, 0o700)

	copied := filepath.Join(w.dir, "signer")
	copyFile(t, must(os.Executable()), copied)
	program := must(config.ParseKeySource("exec:" + copied + " as-signer good " + path))
	if _, err := w.o.askPublic(t.Context(), "command", program); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o722, 0o770} {
		change(t, copied, mode)
		if _, err := w.o.askPublic(t.Context(), "command", program); !errors.Is(err, ErrUnsafe) || !errors.Is(err, files.ErrForeign) {
			t.Errorf("a program of mode %o: %v", mode, err)
		}
	}
	change(t, copied, 0o700)
	if os.Geteuid() != 0 {
		return // giving files away takes root
	}
	const somebody = 4242
	for _, name := range []string{path, copied} {
		if err := os.Chown(name, somebody, -1); err != nil {
			t.Fatal(err)
		}
	}
	if err := read(); !errors.Is(err, files.ErrForeign) {
		t.Errorf("a file of somebody else: %v", err)
	}
	if _, err := w.o.askPublic(t.Context(), "command", program); !errors.Is(err, ErrUnsafe) {
		t.Errorf("a program of somebody else: %v", err)
	}
	owners := New(patient, func() time.Time { return w.now }, somebody)
	if _, err := owners.Public(t.Context(), "command", config.FileSource(path)); err != nil {
		t.Errorf("a file of the data directory's owner: %v", err)
	}
}

func change(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// A signature of the right key over other bytes is none either.
func TestASignatureOverOtherBytesIsRefused(t *testing.T) {
	t.Parallel()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	digest := sha256.Sum256([]byte("what was asked"))
	other := sha256.Sum256([]byte("something else"))
	sig := must(key.Sign(rand.Reader, other[:], crypto.SHA256))
	if verifies(key.Public(), digest[:], sig) || !verifies(key.Public(), other[:], sig) || verifies("no key", other[:], sig) {
		t.Error("it is taken")
	}
}
