package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
)

// asProgram makes the test binary stand for sentinel-server, with the password of every
// person in it.
const asProgram = "SENTINEL_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	in, errOut := io.Reader(os.Stdin), io.Writer(os.Stderr)
	switch args := strings.Join(os.Args[1:], " "); {
	case strings.Contains(args, "admin create"), strings.Contains(args, "login"):
		in = strings.NewReader(strings.Repeat(os.Getenv(asProgram)+"\n", 2))
	case strings.HasSuffix(args, "factor totp"):
		in, errOut = authenticator(os.Stderr)
	}
	environ := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, asProgram) })
	os.Exit(run(context.Background(), os.Args[1:], in, os.Stdout, errOut, environ))
}

// authenticator is a person with an authenticator app: it reads the secret from what
// the program says, and types the code that belongs to it.
func authenticator(screen io.Writer) (in io.Reader, errOut io.Writer) {
	typed, types := io.Pipe()
	heard, says := io.Pipe()
	go func() {
		lines := bufio.NewScanner(heard)
		for lines.Scan() {
			_, _ = io.WriteString(screen, lines.Text()+"\n")
			if secret, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "secret "); ok {
				code, err := totp.GenerateCode(strings.TrimSpace(secret), time.Now())
				if err != nil {
					code = err.Error()
				}
				go func() { _, _ = io.WriteString(types, code+"\n") }()
			}
		}
	}()
	return typed, says
}
