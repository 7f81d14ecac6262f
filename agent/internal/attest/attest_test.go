package attest

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/tpm"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/swtpm"
)

// server answers whatever it is told to.
type server func(path string, body []byte, answer any) error

func (s server) Post(_ context.Context, path string, body []byte, answer any) error {
	return s(path, body, answer)
}

func newAttester(chip *tpm.TPM, s server) (*Attester, *identity.Identity) {
	id := &identity.Identity{Leaf: &x509.Certificate{Raw: []byte("one")}}
	a := New(Options{
		TPM: chip, Server: s, Shown: func() *identity.Identity { return id }, Random: func() float64 { return 0 }, Log: slog.New(slog.DiscardHandler),
		State: func() (journal.State, error) {
			return journal.State{DeviceID: "edge-1", EnrollmentID: "0198c1f0-7c1e-7cc2-8a5d-0a4f6f1c2b3d"}, nil
		},
	})
	return a, id
}

func refusal(code protocol.Code, after time.Duration) error {
	return &link.RefusalError{Problem: protocol.Problem{Code: code}, RetryAfter: after}
}

func TestARoundThatFailsIsTriedAgainAsItsReasonSays(t *testing.T) {
	t.Parallel()
	chip := &tpm.TPM{Path: swtpm.Start(t).By(swtpm.NewMaker(t, "Maker")).Path}
	for name, c := range map[string]struct {
		chip *tpm.TPM
		err  error
		want time.Duration
	}{
		"no evidence is taken":         {chip, refusal(protocol.CodeAttestationOff, 0), time.Hour},
		"the maker is not believed":    {chip, refusal(protocol.CodeEndorsementUntrusted, 0), time.Hour},
		"the challenge is over":        {chip, refusal(protocol.CodeChallengeExpired, 0), time.Minute},
		"the server is busy":           {chip, refusal(protocol.CodeNotReady, 5*time.Minute), 5 * time.Minute},
		"no answer":                    {chip, link.ErrNoAnswer, time.Minute},
		"there is no TPM":              {&tpm.TPM{Path: chip.Path + ".gone"}, nil, time.Hour},
		"an answer that is no message": {chip, nil, time.Minute},
	} {
		a, _ := newAttester(c.chip, func(_ string, body []byte, _ any) error {
			var claim protocol.AttestationClaim
			if err := errors.Join(protocol.Decode(body, &claim), claim.Check()); err != nil {
				t.Errorf("%s: the claim: %v", name, err)
			}
			return c.err
		})
		if got := a.Round(t.Context()); got != c.want {
			t.Errorf("%s: again in %v, want %v", name, got, c.want)
		}
	}
}

// Evidence about one certificate, brought under another, would look like a forgery.
func TestEvidenceIsNotBroughtUnderAnotherCertificate(t *testing.T) {
	t.Parallel()
	soft := swtpm.Start(t).By(swtpm.NewMaker(t, "Maker"))
	chip := &tpm.TPM{Path: soft.Path}
	challenge, err := json.Marshal(soft.Challenge(make([]byte, 32), make([]byte, 32), 0))
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	a, id := newAttester(chip, nil)
	a.Server = server(func(path string, _ []byte, answer any) error {
		asked++
		if path != protocol.PathAttestationChallenge {
			t.Errorf("%s was asked", path)
		}
		next := *id
		a.Shown = func() *identity.Identity { return &next }
		return json.Unmarshal(challenge, answer)
	})
	if _, err := a.Once(t.Context()); !errors.Is(err, errChanged) || asked != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

// A new certificate is a reason for another round, once.
func TestAnotherCertificateAsksForARound(t *testing.T) {
	t.Parallel()
	a, _ := newAttester(nil, nil)
	kicked := func() bool {
		if err := a.After(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		select {
		case <-a.kick:
			return true
		default:
			return false
		}
	}
	if kicked() {
		t.Error("before any evidence")
	}
	a.attested = "of another"
	if !kicked() || kicked() {
		t.Error("not asked for exactly once")
	}
}
