package flow_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/trust"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// wish is what a device asks for, to be changed before it is signed.
type wish struct {
	signing.Renewal
	current, next crypto.Signer
	identity      certs.Identity // what the connection proves
}

// wish is the device's honest one, for a fresh key.
func (a *agent) wish(change ...func(*wish)) *wish {
	a.w.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.w.must(err)
	w := &wish{current: a.key, next: key, identity: a.identity,
		Renewal: signing.Renewal{RequestID: db.NewID(a.w.clock.Now()), DeviceID: a.id, EnrollmentID: a.enrollmentID, Current: a.identity.Fingerprint}}
	for _, f := range change {
		f(w)
	}
	if w.CSR == nil {
		w.CSR, err = certs.NewRequest(w.DeviceID, w.next)
		a.w.must(err)
	}
	return w
}

func (w *wish) body(t testing.TB) []byte {
	t.Helper()
	env, err := signing.SignRenewal(t.Context(), w.Renewal, w.current, w.next)
	if err != nil {
		t.Fatal(err)
	}
	data, err := env.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (a *agent) renew(w *wish) (*protocol.RenewAnswer, error) {
	a.w.Helper()
	return a.w.Renew(context.Background(), "192.0.2.9", "", w.identity, w.body(a.w))
}

// with is the device as it goes on with another certificate.
func (a *agent) with(w *wish, chain [][]byte) *agent {
	a.w.Helper()
	next := *a
	next.key, next.chain = w.next.(*ecdsa.PrivateKey), chain
	next.identity = a.w.identify(chain[0])
	return &next
}

// renewed is the device after a renewal, before its first use.
func (a *agent) renewed() *agent {
	a.w.Helper()
	w := a.wish()
	answer, err := a.renew(w)
	a.w.must(err)
	if answer.State != protocol.EnrollIssued || answer.RequestID != w.RequestID {
		a.w.Fatalf("answer %+v", answer)
	}
	return a.with(w, answer.Certificates)
}

// ENR-13: the old certificate stays until the new one is used, and ends then.
func TestARenewalTakesEffectAtItsFirstUse(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		w.must(a.beat())
		w.clock.Add(time.Hour)
		b := a.renewed()
		if b.identity.Fingerprint == a.identity.Fingerprint || !b.identity.NotAfter.After(a.identity.NotAfter) {
			t.Fatal("the certificate is not a new one")
		}
		w.must(a.beat())
		if c := w.counter("edge-1"); c.Fingerprint != a.identity.Fingerprint || c.NextFingerprint != b.identity.Fingerprint {
			w.Fatalf("before the first use: %+v", c)
		}
		b.counter, b.beatNonce, b.receipt = a.counter, a.beatNonce, a.receipt
		w.must(b.beat())
		c := w.counter("edge-1")
		if c.Fingerprint != b.identity.Fingerprint || c.NextFingerprint != "" || c.NextUntil != 0 || c.Counter != b.counter {
			w.Fatalf("after the first use: %+v", c)
		}
		a.counter = b.counter
		if err := a.beat(); !errors.Is(err, device.ErrCertificate) {
			w.Errorf("the old certificate after that: %v", err)
		}
		if _, err := a.renew(a.wish()); !errors.Is(err, device.ErrCertificate) {
			w.Errorf("the old certificate renews after that: %v", err)
		}
		w.must(b.beat())
		page, err := view.DevicePage(t.Context(), w.d.Read(), "edge-1", w.clock.Now())
		w.must(err)
		if len(page.Certificates) != 2 || page.Certificates[0].RevokedAt != 0 || page.Certificates[1].RevokedReason != "superseded" || page.Identity != nil {
			w.Errorf("page %+v", page)
		}
		if code, _ := certs.KeyCode(b.key.Public()); page.KeyCode != code {
			w.Errorf("the page shows the key code %s, the device %s", page.KeyCode, code)
		}
		if v := w.verdict("edge-1"); v.Verdict != trust.Trusted || !v.HoldsUntil.Equal(b.identity.NotAfter.Add(time.Second)) {
			w.Errorf("verdict %+v", v)
		}
		if w.count("audit_entries", "action = ?", audit.CertRenew) != 1 || w.count("audit_entries", "action = ?", audit.CertSupersede) != 1 ||
			w.count("identity_requests", "state = 'used'") != 1 {
			w.Error("renewal and first use are not written down once each")
		}
	})
}

// ENR-13: after a rotation many devices use their next certificates in one batch. Each
// ends its own, whatever else the batch brings.
func TestFirstUsesInOneBatchEndEachDevicesOwn(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		var agents []*agent
		for _, id := range []string{"edge-1", "edge-2", "edge-3", "told", "stale", "quiet"} {
			agents = append(agents, w.enrolled(id))
		}
		old := map[string]string{}
		for i, a := range agents {
			h := a.heartbeat()
			h.Facts = protocol.Facts{"os": "linux"}
			w.must(a.send(h))
			old[a.id] = a.identity.Fingerprint
			if strings.HasPrefix(a.id, "edge-") {
				agents[i] = a.renewed()
			}
		}
		settings := standard
		settings.BatchWindow, settings.BatchSize = time.Minute, len(agents) // it is full before its time is over
		gathered := *w
		gathered.Flow = w.flow(settings)
		gathered.run()
		var all sync.WaitGroup
		begun := w.begun.Load()
		for _, a := range agents {
			h := a.heartbeat()
			switch a.id {
			case "edge-2": // another version, and a trust of another kind, with its first use
				h.AgentVersion, h.FirstUse = "2.0.0", true
			case "edge-3":
				h.Facts = protocol.Facts{"os": "three"}
			case "told":
				h.AgentVersion, h.Facts = "3.0.0", protocol.Facts{"os": "told"}
			case "stale":
				h.Counter = 1
			}
			all.Go(func() {
				_, err := gathered.Heartbeat(context.Background(), a.identity, h)
				if want := map[bool]error{true: device.ErrStale}[a.id == "stale"]; !errors.Is(err, want) {
					t.Errorf("%s: %v", a.id, err)
				}
			})
		}
		all.Wait()
		if n := w.begun.Load() - begun; n != 1 {
			t.Errorf("it took %d transactions", n)
		}
		for _, a := range agents {
			d, err := device.Get(t.Context(), w.d.Read(), a.id)
			w.must(err)
			code, err := certs.KeyCode(a.key.Public())
			w.must(err)
			c, renewed := w.counter(a.id), a.identity.Fingerprint != old[a.id]
			if c.Fingerprint != a.identity.Fingerprint || c.NextFingerprint != "" || c.NextUntil != 0 || d.KeyCode != code {
				t.Errorf("%s goes by %+v, key %s", a.id, c, d.KeyCode)
			}
			if live := w.count("certificates", "device_id = ? AND revoked_at = 0", a.id); live != 1 ||
				w.count("certificates", "fingerprint = ? AND revoked_reason = 'superseded'", old[a.id]) != map[bool]int{true: 1}[renewed] {
				t.Errorf("%s has %d certificates in force", a.id, live)
			}
			if w.count("identity_requests", "device_id = ? AND state = 'used'", a.id) != map[bool]int{true: 1}[renewed] {
				t.Errorf("%s: its request is not used, or is one that was never made", a.id)
			}
			var details []string
			w.must(w.d.Read().NewSelect().Table("audit_entries").Column("details").Where("action = ? AND object_id = ?", audit.CertSupersede, a.id).Scan(t.Context(), &details))
			if renewed && (len(details) != 1 || !strings.Contains(details[0], `"fingerprint":"`+a.identity.Fingerprint) || !strings.Contains(details[0], `"superseded":"`+old[a.id]+`"`)) || !renewed && len(details) > 0 {
				t.Errorf("%s: written down as %q", a.id, details)
			}
			if until := w.verdict(a.id).HoldsUntil; !until.Equal(a.identity.NotAfter.Add(time.Second)) {
				t.Errorf("%s: the verdict holds until %v", a.id, until)
			}
			want := map[string][3]string{"edge-2": {"2.0.0", `{"os":"linux"}`, "true"}, "edge-3": {"1.0.0", `{"os":"three"}`, "false"}, "told": {"3.0.0", `{"os":"told"}`, "false"}}[a.id]
			if got := [3]string{d.AgentVersion, d.Facts, fmt.Sprint(d.FirstUse)}; want[0] != "" && got != want {
				t.Errorf("%s says %q, want %q", a.id, got, want)
			}
			first := slices.ContainsFunc(w.verdict(a.id).Reasons, func(r trust.Reason) bool { return r.Code == "first-use" })
			if first != (a.id == "edge-2") {
				t.Errorf("%s: reasons %+v", a.id, w.verdict(a.id).Reasons)
			}
		}
	})
}

// ENR-13: an answer that was lost is asked for again, however often.
func TestTheSameRenewalAgainGetsTheSameCertificate(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		wish := a.wish()
		body := wish.body(t)
		var answers sync.Map
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for {
					answer, err := w.Renew(context.Background(), "192.0.2.9", "", a.identity, body)
					if errors.Is(err, flow.ErrBusy) {
						continue // others of this device are on their way
					}
					if err != nil {
						t.Error(err)
						return
					}
					answers.Store(certs.Fingerprint(answer.Certificates[0]), answer.Certificates)
					return
				}
			})
		}
		all.Wait()
		n := 0
		answers.Range(func(_, chain any) bool { n++; a = a.with(wish, chain.([][]byte)); return true })
		if n != 1 || w.count("certificates", "device_id = 'edge-1'") != 2 || w.count("identity_requests", "1 = 1") != 1 {
			w.Fatalf("%d certificates for one request", n)
		}
		w.must(a.beat())
	})
}

// ENR-11, ENR-02: a renewal is of one device, by both of its keys, in one form.
func TestARenewalIsBoundToItsDevice(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, sibling := w.enrolled("edge-1"), w.enrolled("edge-2")
		w.must(a.beat())
		w.must(sibling.beat())
		fresh := func() crypto.Signer {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			w.must(err)
			return key
		}
		for name, c := range map[string]struct {
			change func(*wish)
			want   error
		}{
			"another device in the body": {func(r *wish) { r.DeviceID = "edge-2" }, flow.ErrIdentity},
			"the sibling's connection":   {func(r *wish) { r.identity = sibling.identity }, flow.ErrIdentity},
			"all of the sibling but the key": {func(r *wish) {
				r.identity, r.DeviceID, r.EnrollmentID, r.Current = sibling.identity, "edge-2", sibling.enrollmentID, sibling.identity.Fingerprint
			}, flow.ErrRenewal},
			"the sibling's certificate named":    {func(r *wish) { r.Current = sibling.identity.Fingerprint }, flow.ErrRenewal},
			"the sibling's enrollment":           {func(r *wish) { r.EnrollmentID = sibling.enrollmentID }, device.ErrEnrollment},
			"signed by the sibling's key":        {func(r *wish) { r.current = sibling.key }, flow.ErrRenewal},
			"signed by a stranger's key":         {func(r *wish) { r.current = fresh() }, flow.ErrRenewal},
			"the present key":                    {func(r *wish) { r.CSR, _ = certs.NewRequest("edge-1", a.key) }, flow.ErrRenewal},
			"the sibling's key":                  {func(r *wish) { r.next = sibling.key }, identity.ErrKeyUsed},
			"a recovery over a live connection":  {func(r *wish) { r.Recovery = true }, flow.ErrRenewal},
			"a request for another name":         {func(r *wish) { r.CSR, _ = certs.NewRequest("edge-2", r.next) }, certs.ErrWrongName},
			"a request by a key that signed not": {func(r *wish) { r.CSR, _ = certs.NewRequest("edge-1", fresh()) }, flow.ErrRenewal},
			"a request that cannot be read":      {func(r *wish) { r.CSR = []byte("x") }, certs.ErrCSRMalformed},
		} {
			if _, err := a.renew(a.wish(c.change)); !errors.Is(err, c.want) {
				w.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
		body := a.wish().body(t)
		for name, data := range map[string][]byte{
			"nothing": {}, "half": body[:len(body)/2], "no envelope": []byte(`{"type":"renewal"}`),
			"one signature": oneSignature(t, body), "a poll": a.pollBody(),
		} {
			if _, err := w.Renew(t.Context(), "", "", a.identity, data); !errors.Is(err, flow.ErrRenewal) {
				w.Errorf("%s: %v", name, err)
			}
		}
		if n := w.count("certificates", "kind = 'device'"); n != 2 || w.count("identity_requests", "1 = 1") != 0 {
			w.Fatalf("%d certificates after refusals only", n)
		}
		w.must(a.beat())
	})
}

func oneSignature(t *testing.T, body []byte) []byte {
	t.Helper()
	env, err := signing.ParseEnvelope(body)
	if err != nil {
		t.Fatal(err)
	}
	env.Signatures = env.Signatures[:1]
	data, err := env.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// ENR-07, REV-01: whoever is stopped gets no certificate, by the time of the
// transaction.
func TestWhoeverIsStoppedRenewsNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		stop := func(id string, act func(context.Context, string) error) *agent {
			a := w.enrolled(id)
			w.must(a.beat())
			w.must(act(t.Context(), id))
			return a
		}
		for want, a := range map[error]*agent{
			device.ErrSuspended: stop("suspended", func(ctx context.Context, id string) error { return w.Suspend(ctx, w.by, id, "test") }),
			device.ErrRevoked:   stop("revoked", func(ctx context.Context, id string) error { return w.Revoke(ctx, w.by, id, "test") }),
			device.ErrHeld: stop("held", func(ctx context.Context, id string) error {
				return w.d.Write(ctx, func(ctx context.Context, tx db.Tx) error { _, err := device.Hold(ctx, tx, id, "test"); return err })
			}),
		} {
			before := w.count("certificates", "device_id = ?", a.id)
			if _, err := a.renew(a.wish()); !errors.Is(err, want) {
				w.Errorf("%s: %v", a.id, err)
			}
			if w.count("certificates", "device_id = ?", a.id) != before {
				w.Errorf("%s was given a certificate", a.id)
			}
		}
	})
}

// REV-01: what stops a device stops the certificate that waits for its first use.
func TestAClosedGateIsClosedToTheUnusedCertificateToo(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		b := w.enrolled("edge-1").renewed()
		w.must(w.Suspend(t.Context(), w.by, "edge-1", "test"))
		if err := b.beat(); !errors.Is(err, device.ErrSuspended) {
			w.Errorf("the unused certificate of a suspended device: %v", err)
		}
		if n := w.count("device_counters", "device_id = 'edge-1' AND next_fingerprint = ?", b.identity.Fingerprint); n != 1 {
			w.Errorf("%d devices whose certificate is still to be used, want one", n)
		}
	})
}

// REV-01: a certificate that waits for its first use ends with its device.
func TestARevocationEndsTheUnusedCertificateToo(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		b := a.renewed()
		w.must(w.Revoke(t.Context(), w.by, "edge-1", "lost"))
		if err := b.beat(); !errors.Is(err, device.ErrRevoked) {
			w.Errorf("the unused certificate after the revocation: %v", err)
		}
		if n := w.count("certificates", "device_id = 'edge-1' AND revoked_at = 0"); n != 0 {
			w.Errorf("%d certificates of a revoked device are not", n)
		}
		w.must(w.ExpireIdentities(t.Context()))
	})
}

// ENR-13: at most one certificate waits; a newer request takes its place.
func TestANewerRenewalTakesTheUnusedOnesPlace(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		first := a.renewed()
		second := a.renewed()
		if w.count("certificates", "fingerprint = ? AND revoked_reason = 'superseded'", first.identity.Fingerprint) != 1 {
			w.Error("the one that was replaced is in force in the inventory")
		}
		if err := first.beat(); !errors.Is(err, device.ErrCertificate) {
			w.Errorf("the one that was replaced: %v", err)
		}
		if _, err := first.renew(first.wish()); !errors.Is(err, device.ErrCertificate) {
			w.Errorf("the one that was replaced renews: %v", err)
		}
		if _, err := second.renew(second.wish()); !errors.Is(err, device.ErrCertificate) {
			w.Errorf("one that was never used renews: %v", err)
		}
		second.counter = first.counter
		w.must(second.beat())
		if n := w.count("certificates", "device_id = 'edge-1' AND revoked_at = 0"); n != 1 {
			w.Errorf("%d certificates in force", n)
		}
	})
}

// ENR-02: an id or a key that was asked with before is not another request's.
func TestARequestIdIsOneRequests(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, sibling := w.enrolled("edge-1"), w.enrolled("edge-2")
		first := a.wish()
		_, err := a.renew(first)
		w.must(err)
		for name, again := range map[string]*wish{
			"another key":    a.wish(func(r *wish) { r.RequestID = first.RequestID }),
			"another device": sibling.wish(func(r *wish) { r.RequestID = first.RequestID }),
		} {
			if _, err := a.w.Renew(t.Context(), "", "", again.identity, again.body(t)); !errors.Is(err, identity.ErrConflict) {
				w.Errorf("%s: %v", name, err)
			}
		}
		if _, err := sibling.renew(sibling.wish(func(r *wish) { r.next = first.next })); !errors.Is(err, identity.ErrKeyUsed) {
			w.Errorf("the key that another was given a certificate for: %v", err)
		}
		if _, err := a.renew(a.wish(func(r *wish) { r.next = first.next })); !errors.Is(err, identity.ErrKeyUsed) {
			w.Errorf("the same key with another id: %v", err)
		}
	})
}

func TestACertificateThatIsNotUsedInTimeIsVoid(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		b := a.renewed()
		w.clock.Add(identity.UnusedLife)
		if err := b.beat(); !errors.Is(err, device.ErrCertificate) {
			w.Fatalf("after its time, before any upkeep: %v", err)
		}
		w.must(w.ExpireIdentities(t.Context()))
		if c := w.counter("edge-1"); c.NextFingerprint != "" || w.count("certificates", "fingerprint = ? AND revoked_reason = 'unused'", b.identity.Fingerprint) != 1 ||
			w.count("identity_requests", "state = 'expired'") != 1 || w.count("audit_entries", "action = ?", audit.IdentityExpire) != 1 {
			w.Errorf("after the upkeep: %+v", c)
		}
		w.must(a.beat())
		c := a.renewed()
		c.counter = a.counter
		w.must(c.beat())
	})
}

func TestADeviceIsGivenFewCertificatesInAnHour(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a := w.enrolled("edge-1")
		w.clock.Add(2 * time.Hour)
		for range identity.MaxIssued {
			a.renewed()
			w.clock.Add(time.Minute)
		}
		var often *identity.TooOftenError
		if _, err := a.renew(a.wish()); !errors.As(err, &often) || often.After != 54*time.Minute {
			w.Fatalf("one more: %v %+v", err, often)
		}
		w.clock.Add(often.After)
		a.renewed()
	})
}

// waiting is what a device asks for, as a person is shown it.
func (w *world) waiting(id string) view.IdentityRequest {
	w.Helper()
	list, _, err := view.IdentityRequests(w.Context(), w.d.Read(), "pending", 500, "", w.clock.Now())
	w.must(err)
	for _, r := range list {
		if r.DeviceID == id {
			return r
		}
	}
	w.Fatalf("%s does not wait", id)
	return view.IdentityRequest{}
}

// agree lets a device go by the key that it asks for.
func (w *world) agree(id string) {
	w.Helper()
	_, err := w.IdentityReview(w.Context(), w.by, id, flow.Decision{Approve: true, Digest: w.waiting(id).Digest, Reason: "it is ours"})
	w.must(err)
}
