package enroll

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/agenttest"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/pins"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// enrolledState is what must be on disk once the device says that it is enrolled.
func enrolledState(t *testing.T, dir string) journal.State {
	t.Helper()
	s, err := journal.Read(dir)
	if err != nil || s.Enrolled == nil {
		t.Fatalf("not enrolled: %+v, %v", s, err)
	}
	if _, err := identity.Load(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := pins.Load(dir, s.Enrolled, time.Now()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestADeviceThatIsApprovedHoldsAllThatItNeeds(t *testing.T) {
	t.Parallel()
	desk := agenttest.NewDesk(t, time.Now)
	desk.Pending = 3
	dev := newDevice(t, desk)
	result, err := dev.enroll(t)
	if err != nil {
		t.Fatal(err)
	}
	_, digest := desk.Fleet.Root(t)
	if result.DeviceID != "edge-1" || result.FirstRoot != digest || result.FirstUse {
		t.Errorf("got %+v", result)
	}
	s := enrolledState(t, dev.Dir)
	if s.Enrolled.Epoch != agenttest.Epoch || s.Enrolled.Interval != 60 || s.Enrolled.Counter != 0 || s.Enrolled.TimeFloor.IsZero() {
		t.Errorf("kept %+v", s.Enrolled)
	}
	if dev.waited != 4*5*time.Second {
		t.Errorf("waited %v in all, was asked for 5 s each time", dev.waited)
	}
	key, err := identity.LoadKey(dev.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if code, _ := certs.KeyCode(key.Public()); !strings.Contains(dev.out.String(), "Key code: "+code) {
		t.Errorf("the device does not print its key code:\n%s", dev.out.String())
	}
	if strings.Contains(dev.out.String(), agenttest.Token) {
		t.Error("the token is printed")
	}
}

func TestAnEnrolledDeviceIsNotEnrolledOver(t *testing.T) {
	t.Parallel()
	dev := newDevice(t, agenttest.NewDesk(t, time.Now))
	if _, err := dev.enroll(t); err != nil {
		t.Fatal(err)
	}
	before := enrolledState(t, dev.Dir)
	if _, err := dev.enroll(t); !errors.Is(err, ErrEnrolled) || !strings.Contains(err.Error(), "as edge-1") {
		t.Errorf("got %v", err)
	}
	if now := enrolledState(t, dev.Dir); now.EnrollmentID != before.EnrollmentID || now.Enrolled.FirstRoot != before.Enrolled.FirstRoot {
		t.Error("it is another enrollment")
	}
}

func TestTrustOnFirstUseIsRecordedAsSuch(t *testing.T) {
	t.Parallel()
	desk := agenttest.NewDesk(t, time.Now)
	dev := newDevice(t, desk)
	dev.FirstRoot = ""
	result, err := dev.enroll(t)
	_, digest := desk.Fleet.Root(t)
	if err != nil || !result.FirstUse || result.FirstRoot != digest {
		t.Fatalf("got %+v, %v", result, err)
	}
	if s := enrolledState(t, dev.Dir); !s.Enrolled.FirstUse || s.Enrolled.FirstRoot != digest {
		t.Errorf("kept %+v", s.Enrolled)
	}
}

// ENR-13: whatever is lost or interrupted, it stays one enrollment with one key.
func TestALostAnswerOrARestartGoesOnWithTheSameEnrollment(t *testing.T) {
	t.Parallel()
	one := func(t *testing.T, desk *agenttest.Desk, dev *device) {
		t.Helper()
		enrolledState(t, dev.Dir)
		first := desk.Requests[0]
		for _, req := range desk.Requests[1:] {
			if req.EnrollmentID != first.EnrollmentID || req.DeviceID != first.DeviceID {
				t.Errorf("another request: %+v", req)
			}
			a, _ := certs.ParseRequest(first.CSR, "edge-1")
			b, err := certs.ParseRequest(req.CSR, "edge-1")
			if err != nil || a.KeyCode != b.KeyCode {
				t.Errorf("another key, %v", err)
			}
		}
	}
	hangUp := func(upTo int) func(http.ResponseWriter, int) bool {
		return func(_ http.ResponseWriter, nth int) bool {
			if nth <= upTo {
				panic(http.ErrAbortHandler)
			}
			return false
		}
	}
	t.Run("the answer to the request is lost", func(t *testing.T) {
		t.Parallel()
		desk := agenttest.NewDesk(t, time.Now)
		desk.OnRequest = hangUp(7)
		dev := newDevice(t, desk)
		if _, err := dev.enroll(t); err != nil {
			t.Fatal(err)
		}
		one(t, desk, dev)
	})
	t.Run("answers to polls are lost, the certificate's too", func(t *testing.T) {
		t.Parallel()
		desk := agenttest.NewDesk(t, time.Now)
		desk.OnPoll = hangUp(7)
		dev := newDevice(t, desk)
		if _, err := dev.enroll(t); err != nil {
			t.Fatal(err)
		}
		one(t, desk, dev)
	})
	t.Run("the agent stops before the server has it", func(t *testing.T) {
		t.Parallel()
		desk := agenttest.NewDesk(t, time.Now)
		desk.OnRequest = hangUp(1 << 30)
		dev := newDevice(t, desk)
		sleep := dev.Sleep
		dev.Sleep = func(ctx context.Context, _ time.Duration) error { return sleep(ctx, time.Hour) }
		if _, err := dev.enroll(t); !errors.Is(err, ErrUnsent) || errors.Is(err, ErrPending) {
			t.Fatalf("got %v", err)
		}
		desk.OnRequest = nil
		dev.Token = ""
		if _, err := dev.enroll(t); !errors.Is(err, ErrMissing) {
			t.Fatalf("without the token: %v", err)
		}
		dev.Token, dev.Sleep = agenttest.Token, sleep
		if _, err := dev.enroll(t); err != nil {
			t.Fatal(err)
		}
		one(t, desk, dev)
	})
	t.Run("the agent stops while a person decides", func(t *testing.T) {
		t.Parallel()
		desk := agenttest.NewDesk(t, time.Now)
		desk.Pending = 1 << 30
		dev := newDevice(t, desk)
		dev.Wait = time.Minute
		for range 3 {
			if _, err := dev.enroll(t); !errors.Is(err, ErrPending) {
				t.Fatalf("got %v", err)
			}
			dev.Token, dev.CAFingerprint, dev.Server = "", "", "" // not needed any more
		}
		desk.Pending = 0
		if _, err := dev.enroll(t); err != nil {
			t.Fatal(err)
		}
		one(t, desk, dev)
		if len(desk.Requests) != 1 {
			t.Errorf("the request was sent %d times", len(desk.Requests))
		}
	})
}

func TestAKeyThatGotLostIsNotReplacedOnceTheServerHasIt(t *testing.T) {
	t.Parallel()
	desk := agenttest.NewDesk(t, time.Now)
	desk.Pending = 1 << 30
	dev := newDevice(t, desk)
	dev.Wait = time.Minute
	if _, err := dev.enroll(t); !errors.Is(err, ErrPending) {
		t.Fatal(err)
	}
	if err := identity.Remove(dev.Dir); err != nil {
		t.Fatal(err)
	}
	if _, err := dev.enroll(t); !errors.Is(err, identity.ErrNoKey) {
		t.Errorf("got %v", err)
	}
}

func TestAnotherEnrollmentIsNotBegunOverTheOneUnderWay(t *testing.T) {
	t.Parallel()
	desk := agenttest.NewDesk(t, time.Now)
	desk.Pending = 1 << 30
	dev := newDevice(t, desk)
	dev.Wait = time.Minute
	if _, err := dev.enroll(t); !errors.Is(err, ErrPending) {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"server":         func(o *Options) { o.Server = "https://other.test:443" },
		"device_id":      func(o *Options) { o.DeviceID = "edge-2" },
		"CA fingerprint": func(o *Options) { o.CAFingerprint = strings.Repeat("ab", 32) },
		"fleet root":     func(o *Options) { o.FirstRoot = strings.Repeat("ab", 32) },
	} {
		other := dev.Options
		change(&other)
		if _, err := Run(t.Context(), other); !errors.Is(err, ErrOther) || !strings.Contains(err.Error(), name) {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

func TestARefusalForGoodEndsItAndLeavesNothing(t *testing.T) {
	t.Parallel()
	refuse := func(code protocol.Code) func(http.ResponseWriter, int) bool {
		return func(w http.ResponseWriter, _ int) bool {
			agenttest.Refuse(w, 403, protocol.Problem{Code: code, Title: "Not with this"})
			return true
		}
	}
	for name, c := range map[string]struct {
		spoil func(*agenttest.Desk)
		says  string
	}{
		"an unknown token": {func(d *agenttest.Desk) { d.OnRequest = refuse(protocol.CodeTokenUnknown) }, "token-unknown"},
		"a taken name":     {func(d *agenttest.Desk) { d.OnRequest = refuse(protocol.CodeDeviceExists) }, "device-exists"},
		"forgotten":        {func(d *agenttest.Desk) { d.OnPoll = refuse(protocol.CodeEnrollUnknown) }, "enroll-unknown"},
		"rejected": {func(d *agenttest.Desk) {
			d.Issue = func(r *protocol.EnrollResult) {
				*r = protocol.EnrollResult{EnrollmentID: r.EnrollmentID, State: protocol.EnrollRejected, Reason: "the code differs"}
			}
		}, "rejected by the reviewer: the code differs"},
		"rejected in a nasty way": {func(d *agenttest.Desk) {
			d.Issue = func(r *protocol.EnrollResult) {
				*r = protocol.EnrollResult{EnrollmentID: r.EnrollmentID, State: protocol.EnrollRejected, Reason: "\x1b[2J"}
			}
		}, "rejected by the reviewer"},
		"expired": {func(d *agenttest.Desk) {
			d.Issue = func(r *protocol.EnrollResult) {
				*r = protocol.EnrollResult{EnrollmentID: r.EnrollmentID, State: protocol.EnrollExpired}
			}
		}, "nobody approved it in time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			desk := agenttest.NewDesk(t, time.Now)
			c.spoil(desk)
			dev := newDevice(t, desk)
			_, err := dev.enroll(t)
			var refused *RefusedError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\x1b") {
				t.Fatalf("got %v", err)
			}
			if _, err := journal.Read(dev.Dir); !errors.Is(err, journal.ErrNotEnrolled) {
				t.Errorf("the journal: %v", err)
			}
			if _, err := identity.LoadKey(dev.Dir); !errors.Is(err, identity.ErrNoKey) {
				t.Errorf("the key: %v", err)
			}
		})
	}
}

func TestARefusalThatMayPassIsWaitedOut(t *testing.T) {
	t.Parallel()
	for _, code := range []protocol.Code{protocol.CodeEnrollFull, protocol.CodeRateLimited, protocol.CodeNotReady, protocol.CodeInternal, ""} {
		t.Run("code "+string(code), func(t *testing.T) {
			t.Parallel()
			desk := agenttest.NewDesk(t, time.Now)
			desk.OnRequest = func(w http.ResponseWriter, nth int) bool {
				if nth > 2 {
					return false
				}
				w.Header().Set("Retry-After", "60")
				agenttest.Refuse(w, 503, protocol.Problem{Code: code})
				return true
			}
			dev := newDevice(t, desk)
			if _, err := dev.enroll(t); err != nil || dev.waited < 2*time.Minute {
				t.Fatalf("after %v: %v", dev.waited, err)
			}
		})
	}
}

// What the server has not taken needs its token again, and the person is told so.
func TestARefusalThatDoesNotPassInTimeLeavesTheTokenNeeded(t *testing.T) {
	t.Parallel()
	desk := agenttest.NewDesk(t, time.Now)
	desk.OnRequest = func(w http.ResponseWriter, _ int) bool {
		w.Header().Set("Retry-After", "600")
		agenttest.Refuse(w, 503, protocol.Problem{Code: protocol.CodeEnrollFull})
		return true
	}
	dev := newDevice(t, desk)
	_, err := dev.enroll(t)
	var refusal *link.RefusalError
	if !errors.Is(err, ErrUnsent) || errors.Is(err, ErrPending) || !errors.As(err, &refusal) || refusal.Problem.Code != protocol.CodeEnrollFull {
		t.Fatalf("got %v", err)
	}
	desk.OnRequest, dev.Token = nil, ""
	if _, err := dev.enroll(t); !errors.Is(err, ErrMissing) {
		t.Errorf("without the token: %v", err)
	}
	dev.Token = agenttest.Token
	if _, err := dev.enroll(t); err != nil {
		t.Error(err)
	}
}

func TestAStaleNonceIsReplacedButNotForEver(t *testing.T) {
	t.Parallel()
	desk := agenttest.NewDesk(t, time.Now)
	desk.OnPoll = func(_ http.ResponseWriter, nth int) bool {
		if nth == 1 {
			desk.Nonce = "after-a-restart"
		}
		return false
	}
	if _, err := newDevice(t, desk).enroll(t); err != nil || desk.Polls != 2 {
		t.Fatalf("%d polls, %v", desk.Polls, err)
	}
	mad := agenttest.NewDesk(t, time.Now)
	mad.OnPoll = func(w http.ResponseWriter, _ int) bool {
		agenttest.Refuse(w, 409, protocol.Problem{Code: protocol.CodeNonceStale, Nonce: "another"})
		return true
	}
	if _, err := newDevice(t, mad).enroll(t); !errors.Is(err, link.ErrBadAnswer) || mad.Polls > 3 {
		t.Fatalf("%d polls, %v", mad.Polls, err)
	}
}

// PKI-12: the token goes to the holder of the pinned CA and the exact name only.
func TestTheTokenIsNotShownToAnybodyElse(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]func(t *testing.T, d *agenttest.Desk, h http.Handler) string{
		"another CA": func(t *testing.T, _ *agenttest.Desk, h http.Handler) string {
			return agenttest.Serve(t, agenttest.NewFleet(t, time.Now()).ServerCertificate(t, "127.0.0.1"), h)
		},
		"the right CA and another name": func(t *testing.T, d *agenttest.Desk, h http.Handler) string {
			return agenttest.Serve(t, d.Fleet.ServerCertificate(t, "other.test"), h)
		},
		"another CA that shows the right one too": func(t *testing.T, d *agenttest.Desk, h http.Handler) string {
			cert := agenttest.NewFleet(t, time.Now()).ServerCertificate(t, "127.0.0.1")
			cert.Certificate = append(cert.Certificate, d.Fleet.ServerCA.Certificate.Raw)
			return agenttest.Serve(t, cert, h)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			desk := agenttest.NewDesk(t, time.Now)
			address := serve(t, desk, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it got a request") }))
			dev := newDevice(t, desk)
			dev.Server = "https://" + address
			if _, err := dev.enroll(t); err == nil {
				t.Error("enrolled")
			}
			if _, err := journal.Read(dev.Dir); !errors.Is(err, journal.ErrNotEnrolled) {
				t.Errorf("something was begun: %v", err)
			}
		})
	}
	t.Run("also when it takes the server's place later", func(t *testing.T) {
		t.Parallel()
		desk := agenttest.NewDesk(t, time.Now)
		desk.OnPoll = func(w http.ResponseWriter, _ int) bool {
			agenttest.Refuse(w, 403, protocol.Problem{Code: protocol.CodeCAMismatch, Title: "Another CA is seen"})
			return true
		}
		dev := newDevice(t, desk)
		if _, err := dev.enroll(t); !errors.Is(err, ErrBetween) {
			t.Errorf("got %v", err)
		}
		if _, err := journal.Read(dev.Dir); err != nil {
			t.Errorf("the enrollment is gone: %v", err)
		}
	})
}

func TestANewEnrollmentSaysWhatItLacks(t *testing.T) {
	t.Parallel()
	desk := agenttest.NewDesk(t, time.Now)
	for flag, drop := range map[string]func(*Options){
		"--server":         func(o *Options) { o.Server = "" },
		"--ca-fingerprint": func(o *Options) { o.CAFingerprint = "" },
		"--token":          func(o *Options) { o.Token = "" },
		"--device-id":      func(o *Options) { o.DeviceID = "" },
	} {
		dev := newDevice(t, desk)
		drop(&dev.Options)
		if _, err := dev.enroll(t); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

// AGT-06
func TestALooseDirectoryIsNotEnrolledInto(t *testing.T) {
	t.Parallel()
	desk := agenttest.NewDesk(t, time.Now)
	dev := newDevice(t, desk)
	if err := os.Mkdir(dev.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := dev.enroll(t); !errors.Is(err, journal.ErrLoose) || len(desk.Requests) != 0 {
		t.Fatalf("got %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dev.Dir, "*")); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestAHostNameIsMadeFit(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"Edge-1.Example":               "edge-1.example",
		"büro pc":                      "b-ro-pc",
		"-x-":                          "x",
		"":                             "",
		"..":                           "",
		"localhost":                    "",
		"localhost.localdomain":        "",
		strings.Repeat("a", 63) + "-b": strings.Repeat("a", 63),
	} {
		if got := NameFrom(host); got != want {
			t.Errorf("%q: got %q, want %q", host, got, want)
		}
		if got := NameFrom(host); got != "" && protocol.CheckDeviceID(got) != nil {
			t.Errorf("%q is not a device_id", got)
		}
	}
}
