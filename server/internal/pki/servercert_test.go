package pki_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

func TestTheServersCertificateIsRenewedInTimeAndRecorded(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		own := w.ServerCertificate([]string{"localhost", "127.0.0.1", "::1"}, 3*time.Hour)
		first, err := own.Get(nil)
		w.must(err)
		for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
			w.must(first.Leaf.VerifyHostname(name))
		}
		w.now = noon.Add(2*time.Hour - 1)
		if again, err := own.Get(nil); err != nil || again != first {
			w.Errorf("before two thirds of its life: %v", err)
		}
		w.now = noon.Add(2 * time.Hour)
		second, err := own.Get(nil)
		w.must(err)
		if second == first || second.Leaf.NotAfter.Before(w.now.Add(2*time.Hour)) {
			w.Error("it was not renewed")
		}
		for _, cert := range [][]byte{first.Certificate[0], second.Certificate[0]} {
			if c, err := pki.Get(w.Context(), w.d.Read(), certs.Fingerprint(cert)); err != nil || c.Kind != certs.KindServer || c.DeviceID != "" {
				w.Errorf("not in the inventory: %+v, %v", c, err)
			}
		}
	})
}

// PKI-11: it ends with its authority at the latest, and is made to the last.
func TestTheServersCertificateEndsWithItsAuthority(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		authority, err := w.Active(certs.KindServer)
		w.must(err)
		for _, left := range []time.Duration{6 * 24 * time.Hour, time.Minute, time.Second} {
			w.now = authority.NotAfter.Add(-left)
			own, err := w.ServerCertificate([]string{"localhost"}, 7*24*time.Hour).Get(nil)
			if err != nil || !own.Leaf.NotAfter.Equal(authority.NotAfter) {
				w.Errorf("%s before: %v", left, err)
			}
		}
		w.now = authority.NotAfter.Add(time.Second)
		if _, err := w.ServerCertificate([]string{"localhost"}, 7*24*time.Hour).Get(nil); err == nil {
			w.Error("made after the end of its authority")
		}
	})
}

// A renewal that waits for the database, or fails, keeps no handshake waiting
// while there is a certificate to present.
func TestTheServersCertificateIsPresentedWhileItIsRenewed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		own := w.ServerCertificate([]string{"localhost"}, 3*time.Hour)
		first, err := own.Get(nil)
		w.must(err)

		w.now = noon.Add(2 * time.Hour)
		reached, goOn := make(chan struct{}), make(chan struct{})
		w.commit = func(commit func() error) error { close(reached); <-goOn; return commit() }
		renewed := make(chan error, 1)
		go func() {
			second, err := own.Get(nil)
			if err == nil && second == first {
				err = errors.New("not another one")
			}
			renewed <- err
		}()
		<-reached
		if other, err := own.Get(nil); err != nil || other != first {
			w.Errorf("meanwhile: %v", err)
		}
		close(goOn)
		w.must(<-renewed)
		w.commit = nil
		second, err := own.Get(nil)
		w.must(err)

		tries := 0
		w.commit = func(func() error) error { tries++; return errors.New("the disk is full") }
		w.now = noon.Add(4*time.Hour + time.Minute)
		for range 3 {
			if still, err := own.Get(nil); err != nil || still != second {
				w.Errorf("after a failure: %v", err)
			}
		}
		if ends, err := own.Failing(); err == nil || !ends.Equal(second.Leaf.NotAfter) || tries != 1 {
			w.Errorf("%d tries, failing %v until %v", tries, err, ends)
		}
		w.now = second.Leaf.NotAfter.Add(time.Second)
		if _, err := own.Get(nil); err == nil {
			w.Error("one that has expired is presented")
		}
		w.commit = nil
		if third, err := own.Get(nil); err != nil || third == second {
			w.Errorf("when the database is well again: %v", err)
		}
		if _, err := own.Failing(); err != nil {
			w.Errorf("it still fails: %v", err)
		}
	})
}

// A server that starts again presents what it had, unless it would make another one.
func TestACertificateOfBeforeIsGoneOnWithWhileItWouldBeMadeTheSame(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		w.founded()
		names := []string{"localhost", "127.0.0.1"}
		first, err := w.ServerCertificate(names, 3*time.Hour).Get(nil)
		w.must(err)
		again := w.ServerCertificate(names, 3*time.Hour)
		if !again.Adopt(*first) {
			w.Fatal("the certificate of before is not taken")
		}
		if got, err := again.Get(nil); err != nil || !got.Leaf.Equal(first.Leaf) {
			w.Errorf("another one is presented: %v", err)
		}
		if w.ServerCertificate([]string{"localhost"}, 3*time.Hour).Adopt(*first) || w.ServerCertificate([]string{"localhost", "127.0.0.2"}, 3*time.Hour).Adopt(*first) {
			w.Error("it is taken for other names")
		}
		bare := *first
		bare.PrivateKey = nil
		if w.ServerCertificate(names, 3*time.Hour).Adopt(bare) {
			w.Error("it is taken without its key")
		}
		foreign := *first
		foreign.Certificate = [][]byte{first.Certificate[1], first.Certificate[1]}
		if w.ServerCertificate(names, 3*time.Hour).Adopt(foreign) {
			w.Error("a certificate that the authority did not sign is taken")
		}
		w.now = noon.Add(2 * time.Hour)
		if w.ServerCertificate(names, 3*time.Hour).Adopt(*first) {
			w.Error("it is taken when it is due")
		}
	})
}
