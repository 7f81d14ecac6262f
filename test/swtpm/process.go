package swtpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TPM is a running software TPM.
type TPM struct {
	Path string // of its socket

	t testing.TB
}

const startWithin = 20 * time.Second

// Start starts a TPM that nobody has used before.
func Start(t testing.TB) *TPM {
	t.Helper()
	program, err := exec.LookPath("swtpm")
	if err != nil {
		t.Fatal("this test needs swtpm; install it with: test/postgres/ensure swtpm")
	}
	dir, err := os.MkdirTemp("", "tpm") // the test's own directory may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &TPM{Path: filepath.Join(dir, "s"), t: t}
	var said bytes.Buffer
	cmd := exec.Command(program, "socket", "--tpm2", "--tpmstate", "dir="+dir, "--server", "type=unixio,path="+s.Path,
		"--ctrl", "type=unixio,path="+filepath.Join(dir, "c"), "--flags", "not-need-init,startup-clear")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	limit, every := time.After(startWithin), time.NewTicker(5*time.Millisecond)
	defer every.Stop()
	for {
		if _, err := s.Send([]byte{0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 1}); err == nil { // TPM2_GetRandom of one byte
			return s
		}
		select {
		case <-ended:
			t.Fatalf("swtpm ended: %s", said.String())
		case <-limit:
			t.Fatalf("swtpm does not answer within %v", startWithin)
		case <-every.C:
		}
	}
}

// maxAnswer is more than a TPM ever answers.
const maxAnswer = 64 << 10

// Send sends one command and returns the answer. It makes a TPM a transport.TPM.
func (s *TPM) Send(command []byte) ([]byte, error) {
	c, err := net.Dial("unix", s.Path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write(command); err != nil {
		return nil, err
	}
	head := make([]byte, 10) // tag, size, code (TPM 2.0 Part 1, section 18)
	if _, err := io.ReadFull(c, head); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[2:])
	if size < 10 || size > maxAnswer {
		return nil, errors.New("not an answer of a TPM")
	}
	rest := make([]byte, size-10)
	if _, err := io.ReadFull(c, rest); err != nil {
		return nil, err
	}
	return slices.Concat(head, rest), nil
}
