package pki_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
)

// ENR-14, ENR-15
func TestACertificateBeginsALittleEarlyAndEndsToTheSecond(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		w.now = noon.Add(999 * time.Millisecond)
		for _, life := range []time.Duration{2 * time.Second, time.Hour, 7 * 24 * time.Hour} {
			c, err := w.IssueDevice("edge-1", "e1", newKey(t), w.now, life)
			w.must(err)
			cert, err := x509.ParseCertificate(c.DER)
			w.must(err)
			if !cert.NotBefore.Equal(noon.Add(-pki.Backdate)) || !cert.NotAfter.Equal(noon.Add(life-time.Second)) {
				w.Errorf("%v: from %v to %v", life, cert.NotBefore, cert.NotAfter)
			}
			if c.NotBefore.Time() != cert.NotBefore || c.NotAfter.Time() != cert.NotAfter {
				w.Errorf("the inventory says another life: %+v", c.Certificate)
			}
		}
		if pki.Backdate != 5*time.Minute {
			w.Errorf("a device whose clock is slow by minutes is locked out: %v", pki.Backdate)
		}
	})
}

func TestWhatCannotBeIssuedIsNot(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
		w.must(err)
		for name, issue := range map[string]func() error{
			"another form of device_id": func() error { _, err := w.IssueDevice("Edge 1", "e1", newKey(t), w.now, time.Hour); return err },
			"a key not taken":           func() error { _, err := w.IssueDevice("edge-1", "e1", weak.Public(), w.now, time.Hour); return err },
			"for longer than the CA": func() error {
				_, err := w.IssueDevice("edge-1", "e1", newKey(t), w.now, 10*365*24*time.Hour)
				return err
			},
			"in another trust domain": func() error {
				other := w.node("a secret of at least thirty-two bytes", "other.test")
				w.must(other.Load(w.Context()))
				_, err := other.IssueDevice("edge-1", "e1", newKey(t), w.now, time.Hour)
				return err
			},
			"a server without a name":  func() error { _, err := w.ServerCertificate(nil, time.Hour).Get(nil); return err },
			"a server with a wildcard": func() error { _, err := w.ServerCertificate([]string{"*.test"}, time.Hour).Get(nil); return err },
			"after the CA's own end": func() error {
				_, err := w.IssueDevice("edge-1", "e1", newKey(t), w.now.AddDate(6, 0, 0), time.Hour)
				return err
			},
		} {
			if issue() == nil {
				w.Errorf("%s: issued", name)
			}
		}
		if n, err := w.d.Read().NewSelect().Table("certificates").Count(w.Context()); err != nil || n != 0 {
			w.Errorf("%d in the inventory, %v", n, err)
		}
	})
}

func TestARevokedDevicesCertificatesAreAllRevokedOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		first, second, other := w.record("edge-1").Fingerprint, w.record("edge-1").Fingerprint, w.record("edge-2").Fingerprint
		revoke := func(reason string) {
			w.Helper()
			w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error { return pki.Revoke(ctx, tx, "edge-1", reason) }))
		}
		revoke("stolen")
		w.now = noon.Add(time.Hour)
		revoke("again")
		for _, fingerprint := range []string{first, second} {
			if c, err := pki.Get(w.Context(), w.d.Read(), fingerprint); err != nil || c.RevokedAt != db.At(noon) || c.RevokedReason != "stolen" {
				w.Errorf("%+v, %v", c, err)
			}
		}
		if c, err := pki.Get(w.Context(), w.d.Read(), other); err != nil || c.RevokedAt != 0 {
			w.Errorf("another device's: %+v, %v", c, err)
		}
		if list, err := pki.OfDevice(w.Context(), w.d.Read(), "edge-1"); err != nil || len(list) != 2 {
			w.Errorf("%d listed, %v", len(list), err)
		}
		if _, err := pki.Get(w.Context(), w.d.Read(), "nothing"); !errors.Is(err, db.ErrNotFound) {
			w.Errorf("no such certificate: %v", err)
		}
	})
}
