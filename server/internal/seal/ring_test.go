package seal

import (
	"bytes"
	"testing"
)

func TestEqualTextIsSealedDifferentlyEachTime(t *testing.T) {
	t.Parallel()
	r := ring(t, first)
	_, a, _ := r.Seal("authority", "a1", []byte("key"))
	_, b, _ := r.Seal("authority", "a1", []byte("key"))
	if bytes.Equal(a, b) || bytes.Equal(a[:12], b[:12]) {
		t.Fatal("a nonce came twice")
	}
}

func TestAMACIsOfItsPurposeItsDataAndItsSecret(t *testing.T) {
	t.Parallel()
	r := ring(t, first)
	tag := r.MAC("nonce", []byte("data"))
	if len(tag) != 32 || !r.CheckMAC("nonce", []byte("data"), tag) {
		t.Fatal("its own tag is refused")
	}
	flipped := bytes.Clone(tag)
	flipped[31] ^= 1
	for name, ok := range map[string]bool{
		"another purpose":      r.CheckMAC("receipt", []byte("data"), tag),
		"no purpose":           r.CheckMAC("", []byte("data"), tag),
		"other data":           r.CheckMAC("nonce", []byte("datb"), tag),
		"no data":              r.CheckMAC("nonce", nil, tag),
		"purpose run into it":  r.CheckMAC("nonced", []byte("ata"), tag),
		"a bit of the tag":     r.CheckMAC("nonce", []byte("data"), flipped),
		"a tag cut short":      r.CheckMAC("nonce", []byte("data"), tag[:16]),
		"a tag with more":      r.CheckMAC("nonce", []byte("data"), append(bytes.Clone(tag), 0)),
		"no tag":               r.CheckMAC("nonce", []byte("data"), nil),
		"another secret":       ring(t, second).CheckMAC("nonce", []byte("data"), tag),
		"a key that encrypts":  bytes.Equal(derive(first, "mac nonce"), derive(first, "seal nonce")),
		"a key id that is one": bytes.Contains(derive(first, "mac nonce"), []byte(r.KeyID())),
	} {
		if ok {
			t.Errorf("%s counts", name)
		}
	}
}

func TestAnEmptyPreviousSecretIsNone(t *testing.T) {
	t.Parallel()
	r, err := NewRing(first, nil, []byte{})
	if err != nil || len(r.secrets) != 1 {
		t.Fatalf("%d secrets, %v", len(r.secrets), err)
	}
	if _, err := NewRing(first, []byte("short")); err == nil {
		t.Error("a short previous secret is taken")
	}
}
