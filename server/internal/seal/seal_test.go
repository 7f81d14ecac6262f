package seal

import (
	"bytes"
	"errors"
	"testing"
)

var (
	first  = bytes.Repeat([]byte{1}, 32)
	second = bytes.Repeat([]byte{2}, 32)
)

func ring(t *testing.T, secrets ...[]byte) *Ring {
	t.Helper()
	r, err := NewRing(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestASealOpensOnlyForWhatItWasMadeFor(t *testing.T) {
	t.Parallel()
	r := ring(t, first)
	id, sealed, err := r.Seal("authority", "a1", []byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("key")) {
		t.Fatal("the plain text shows")
	}
	if plain, err := r.Open(id, "authority", "a1", sealed); err != nil || string(plain) != "key" {
		t.Fatalf("got %q, %v", plain, err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"another purpose":  func() ([]byte, error) { return r.Open(id, "output", "a1", sealed) },
		"another row":      func() ([]byte, error) { return r.Open(id, "authority", "a2", sealed) },
		"a shifted border": func() ([]byte, error) { return r.Open(id, "authoritya", "1", sealed) },
		"cut short":        func() ([]byte, error) { return r.Open(id, "authority", "a1", sealed[:5]) },
	} {
		if _, err := open(); !errors.Is(err, ErrTampered) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := r.Open(id, "authority", "a1", bad); !errors.Is(err, ErrTampered) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
}

func TestARotatedSecretStillOpensTheOld(t *testing.T) {
	t.Parallel()
	old := ring(t, first)
	id, sealed, _ := old.Seal("p", "1", []byte("x"))
	tag := old.MAC("receipt", []byte("data"))

	both := ring(t, second, first)
	if _, err := both.Open(id, "p", "1", sealed); err != nil {
		t.Error(err)
	}
	if !both.CheckMAC("receipt", []byte("data"), tag) {
		t.Error("the old tag is refused during the overlap")
	}
	if newID, _, _ := both.Seal("p", "1", nil); newID == id {
		t.Error("something new was sealed under the old secret")
	}
	after := ring(t, second)
	if _, err := after.Open(id, "p", "1", sealed); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("after the overlap: %v", err)
	}
	if after.CheckMAC("receipt", []byte("data"), tag) {
		t.Error("the old tag counts after the overlap")
	}
	if both.CheckMAC("nonce", []byte("data"), tag) {
		t.Error("a tag of one purpose counts for another")
	}
}

func TestAShortSecretIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := NewRing([]byte("short")); err == nil {
		t.Error("accepted")
	}
	if _, err := NewRing(nil, nil); err == nil {
		t.Error("none accepted")
	}
}
