package deviceapi_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// ENR-02: whatever stands in a request, without a device's certificate and its
// signatures nothing is issued and nothing stored.
func TestNoFormOfARenewalGivesACertificateToWhoIsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:", servertest.Options{})
	d := w.device("edge-1")
	d.MustBeat()
	body := string(d.Wish(false).Body)
	before := w.state()
	nobody := w.caller(nil, nil)
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "renew"} {
		for _, kind := range []string{
			"", "renewal", "recovery", "enroll-poll", "command", "command-result", "fleet-root", "policy-bundle", "rekey", "revoke", "ssh", "scep", "acme", "est",
			"null", "0", "true", "[]", "{}", "../renewal", "renewal\x00", "RENEWAL", "renewal ", "*",
		} {
			for _, path := range []string{protocol.PathRenew, protocol.PathEnroll} {
				forms := []string{
					strings.Replace(body, "renewal", kind, 1), fmt.Sprintf(`{"type":%q,"recovery":%s}`, kind, body),
					fmt.Sprintf(`{"protocol":1,"enrollment_id":%q,"device_id":"edge-1","recovery":{"type":%q}}`, d.EnrollmentID, kind),
				}
				for _, form := range forms {
					a, err := w.try(nobody, call{method: method, path: path, body: []byte(form)})
					if err == nil && a.status < 400 && method != "OPTIONS" {
						t.Fatalf("%s %s with kind %q: %d", method, path, kind, a.status)
					}
				}
			}
		}
	}
	w.unchanged(before, "a request of nobody")
	d.MustBeat()
}

// AGT-13, ENR-13: expired is said of the certificate that the device goes by, and of
// no other: from the answer it knows by which key it may come back.
func TestOnlyTheCertificateInUseIsSaidToHaveExpired(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, database string) {
		clock := newClock()
		w := newWorld(t, database, servertest.Options{Now: clock.now, Settings: map[string]string{"SENTINEL_DEVICE_CERT_LIFETIME": "1h"}})
		type shown struct {
			device *servertest.Device
			want   protocol.Code
		}
		var all []shown
		for name, used := range map[string]bool{"edge-1": true, "edge-2": false} {
			d := w.device(name)
			d.MustBeat()
			wish := d.Wish(false)
			answer, problem, err := d.SendWish(wish)
			if err != nil || problem != nil {
				t.Fatal(problem, err)
			}
			before := d.At(w.Server)
			d.Use(wish, answer.Certificates)
			if used {
				d.MustBeat()
				all = append(all, shown{d, protocol.CodeCertificateExpired}, shown{before, protocol.CodeCertificateUnknown})
			} else {
				all = append(all, shown{before, protocol.CodeCertificateExpired}, shown{d, protocol.CodeCertificateUnknown})
			}
		}
		clock.advance(2 * time.Hour)
		for i, s := range all {
			s.device.Hangup()
			if p, err := s.device.Beat(); err != nil || p == nil || p.Code != s.want {
				t.Errorf("%d, %s: %+v %v, want %s", i, s.device.ID, p, err, s.want)
			}
		}
	})
}

// ENR-13: the answer is lost after the commit, again and again.
func TestALostAnswerToARenewalIsAskedForAgain(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, database string) {
		const devices, renewals = 10, 5
		w := newWorld(t, database, servertest.Options{})
		token := w.operator.EnrollToken(devices)
		fleet := make([]*servertest.Device, devices)
		for i := range fleet {
			fleet[i] = w.Enroll(fmt.Sprintf("edge-%d", i), token, w.reviewer)
			fleet[i].MustBeat()
		}
		var all sync.WaitGroup
		for i, d := range fleet {
			all.Go(func() {
				for n := range renewals {
					wish := d.Wish(false)
					for range (i+n)%5 + 1 {
						lose(t, w, d, wish.Body)
						d.Hangup()
					}
					answer, problem, err := d.SendWish(wish)
					if err != nil || problem != nil || answer.State != protocol.EnrollIssued {
						t.Errorf("%s asks again: %+v %v %v", d.ID, answer, problem, err)
						return
					}
					d.Use(wish, answer.Certificates)
					d.MustBeat()
				}
			})
		}
		all.Wait()
		if n := w.Count("certificates", "kind = 'device' AND revoked_at = 0"); n != devices {
			t.Errorf("%d certificates in force for %d devices", n, devices)
		}
		if n := w.Count("certificates", "kind = 'device'"); n != devices*(renewals+1) {
			t.Errorf("%d certificates for %d renewals", n, devices*renewals)
		}
	})
}

// lose sends a request and hangs up before its answer is read.
func lose(t *testing.T, w *world, d *servertest.Device, body []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.MachineURL+protocol.PathRenew, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := d.Transport().RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
	}
}

// A device of a retired authority is told to renew, and only such a one.
func TestADeviceOfARetiredAuthorityIsToldToRenew(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, database string) {
		w := newWorld(t, database, servertest.Options{})
		d := w.device("edge-1")
		dials := countDials(d)
		if d.MustBeat(); d.Answer.Renew {
			t.Fatal("told to renew without a reason")
		}
		if err := w.Publish(nil, certs.KindDevice); err != nil {
			t.Fatal(err)
		}
		if d.MustBeat(); d.Answer.Renew {
			t.Fatal("told to renew while its authority issues")
		}
		if err := w.Activate(certs.KindDevice, false); err != nil {
			t.Fatal(err)
		}
		if d.MustBeat(); !d.Answer.Renew || dials.Load() != 1 {
			t.Fatal("not told on the open connection that its authority is retired")
		}
		if _, problem, err := d.Renew(); err != nil || problem != nil {
			t.Fatal(problem, err)
		}
		if d.MustBeat(); d.Answer.Renew || d.Root.Root.Version != 2 {
			t.Errorf("told to renew again, or not given fleet root 2: %d", d.Root.Root.Version)
		}
	})
}

// AGT-13: the way of an expired device, over the network.
func TestAnExpiredDeviceIsToldSoAndComesBack(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, database string) {
		clock := newClock()
		w := newWorld(t, database, servertest.Options{Now: clock.now})
		d := w.device("edge-1")
		d.MustBeat()
		clock.advance(30 * 24 * time.Hour)
		w.operator, w.reviewer = w.SignIn("olivia"), w.SignIn("ben")
		for what, ask := range map[string]func() (*protocol.Problem, error){
			"a heartbeat": d.Beat,
			"a renewal":   func() (*protocol.Problem, error) { _, p, err := d.SendWish(d.Wish(false)); return p, err },
		} {
			if p, err := ask(); err != nil || p == nil || p.Code != protocol.CodeCertificateExpired {
				t.Errorf("%s is told %v %v", what, p, err)
			}
		}
		lost, problem, err := d.Recover()
		if err != nil || problem != nil {
			t.Fatal(problem, err)
		}
		w.reviewer.Agree("edge-1")
		if r, problem, err := d.PollLost(lost); err != nil || problem != nil || r.State != protocol.EnrollIssued {
			t.Fatal(r, problem, err)
		}
		d.MustBeat()
		if w.Count("devices", "1 = 1") != 1 || w.Count("enrollments", "1 = 1") != 1 {
			t.Error("it came back as another device")
		}
	})
}
