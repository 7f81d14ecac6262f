package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// signInServer is a people side with a certificate of an authority of its own, which is
// in the file.
func signInServer(t *testing.T) (server *httptest.Server, caFile string) {
	t.Helper()
	server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/api/devices/edge-9" {
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(protocol.Problem{Code: protocol.CodeNotFound, Title: "Not found"})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"token": "t", "enrollment_id": "of " + r.URL.Path})
	}))
	t.Cleanup(server.Close)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(caFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return server, caFile
}

func TestASignInRemembersWhatItKnowsTheServerBy(t *testing.T) {
	t.Parallel()
	server, caFile := signInServer(t)
	other, _ := signInServer(t)
	home := t.TempDir()
	login := func(more ...string) (int, string) {
		var out, errOut bytes.Buffer
		args := append([]string{"login", "--name", "alice"}, more...)
		code := run(t.Context(), args, strings.NewReader("a password\n"), &out, &errOut, []string{"HOME=" + home})
		return code, errOut.String()
	}
	if code, said := login("--server", server.URL); code != exitError || !strings.Contains(said, "--ca-file") {
		t.Errorf("an authority that is not known: %d %s", code, said)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(here, caFile)
	if err != nil {
		t.Fatal(err)
	}
	if code, said := login("--server", server.URL, "--ca-file", relative); code != exitOK {
		t.Fatalf("%d %s", code, said)
	}
	data, err := os.ReadFile(filepath.Join(home, ".config", "sentinel", "login.json"))
	var saved savedLogin
	if err != nil || json.Unmarshal(data, &saved) != nil || !filepath.IsAbs(saved.CAFile) {
		t.Errorf("the file is kept as %s, %v", data, err)
	}
	for _, again := range [][]string{nil, {"--server", server.URL + "/"}} {
		if code, said := login(again...); code != exitOK {
			t.Errorf("signing in again with %v: %d %s", again, code, said)
		}
	}
	// httptest's servers all have one certificate.
	if code, _ := login("--server", other.URL); code == exitOK {
		t.Error("another server is known by the file of the first")
	}
}

func TestTheSmokeTestLooksTheEnrollmentUp(t *testing.T) {
	t.Parallel()
	server, caFile := signInServer(t)
	p := &program{environ: []string{"SENTINEL_SERVER=" + server.URL, "SENTINEL_TOKEN=t", "SENTINEL_CA_FILE=" + caFile, "HOME=" + t.TempDir()}}
	s := smoke{deviceID: "edge-1"}
	if err := s.lookUp(t.Context(), p); err != nil || s.enrollmentID != "of /api/devices/edge-1" {
		t.Errorf("%q %v", s.enrollmentID, err)
	}
	s = smoke{deviceID: "edge-9"}
	if err := s.lookUp(t.Context(), p); err == nil || !strings.Contains(err.Error(), "--enrollment-id") || s.enrollmentID != "" {
		t.Errorf("of a device that does not exist: %q %v", s.enrollmentID, err)
	}
}
