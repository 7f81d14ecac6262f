package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// csrParts is a request taken apart, so that one part can be odd.
type csrParts struct {
	version, subject, spki, attributes []byte
	algorithm                          []byte
	hash                               crypto.Hash
	key                                crypto.Signer
}

func goodParts() csrParts {
	key := p256Key()
	return csrParts{
		version:    []byte{2, 1, 0},
		subject:    commonName(tagUTF8String, testDevice),
		spki:       must(x509.MarshalPKIXPublicKey(key.Public())),
		attributes: tlv(0xa0),
		algorithm:  tlv(0x30, oidDER(1, 2, 840, 10045, 4, 3, 2)),
		hash:       crypto.SHA256,
		key:        key,
	}
}

func (p csrParts) sign(more ...[]byte) []byte {
	body := tlv(0x30, p.version, p.subject, p.spki, p.attributes)
	digest := body
	switch p.hash {
	case crypto.SHA256:
		sum := sha256.Sum256(body)
		digest = sum[:]
	case crypto.SHA1:
		sum := sha1.Sum(body)
		digest = sum[:]
	}
	sig := must(p.key.Sign(rand.Reader, digest, p.hash))
	return tlv(0x30, append([][]byte{body, p.algorithm, tlv(0x03, []byte{0}, sig)}, more...)...)
}

func TestARequestOfOurOwnMakingIsTaken(t *testing.T) {
	t.Parallel()
	keys := map[string]crypto.Signer{"P-256": p256Key(), "P-384": must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), "Ed25519": ed25519Key()}
	for name, key := range keys {
		for _, id := range []string{"a", testDevice, "a_b", "a.b", strings.Repeat("a", 64)} {
			der := must(NewRequest(id, key))
			r, err := ParseRequest(der, id)
			if err != nil {
				t.Fatalf("%s %s: %v", name, id, err)
			}
			code, _ := KeyCode(key.Public())
			if r.Digest != Fingerprint(der) || r.KeyCode != code || !bytes.Equal(r.DER, der) {
				t.Fatalf("%s: %+v", name, r)
			}
		}
	}
	t.Run("whichever of the two strings names it", func(t *testing.T) {
		t.Parallel()
		p := goodParts()
		for _, tag := range []byte{tagUTF8String, tagPrintableString} {
			p.subject = commonName(tag, testDevice)
			if _, err := ParseRequest(p.sign(), testDevice); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// ENR-04: a request that asks for anything is refused, whatever it asks for.
func TestARequestForMoreThanItsNameIsRefused(t *testing.T) {
	t.Parallel()
	for name, ext := range oddExtensions() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := goodParts()
			request := tlv(0x30, oidDER(1, 2, 840, 113549, 1, 9, 14), tlv(0x31, tlv(0x30, ext)))
			p.attributes = tlv(0xa0, request)
			if _, err := ParseRequest(p.sign(), testDevice); !errors.Is(err, ErrExtraNames) {
				t.Fatalf("got %v, want ErrExtraNames", err)
			}
		})
	}
	text := func(s string) []byte { return tlv(0x31, tlv(0x0c, []byte(s))) }
	for name, attr := range map[string][]byte{
		"a challenge password":          tlv(0x30, oidDER(1, 2, 840, 113549, 1, 9, 7), text("hunter2")),
		"an unstructured name":          tlv(0x30, oidDER(1, 2, 840, 113549, 1, 9, 2), text("edge-2")),
		"an unstructured address":       tlv(0x30, oidDER(1, 2, 840, 113549, 1, 9, 8), text("x")),
		"a signing time":                tlv(0x30, oidDER(1, 2, 840, 113549, 1, 9, 5), tlv(0x31, tlv(0x17, []byte("260301120000Z")))),
		"a vendor's CSP":                tlv(0x30, oidDER(1, 3, 6, 1, 4, 1, 311, 13, 2, 2), text("x")),
		"a vendor's client info":        tlv(0x30, oidDER(1, 3, 6, 1, 4, 1, 311, 21, 20), text("x")),
		"a vendor's extension request":  tlv(0x30, oidDER(1, 3, 6, 1, 4, 1, 311, 2, 1, 14), tlv(0x31, tlv(0x30))),
		"an empty extension request":    tlv(0x30, oidDER(1, 2, 840, 113549, 1, 9, 14), tlv(0x31, tlv(0x30))),
		"an attribute without a value":  tlv(0x30, oidDER(1, 2, 3, 4), tlv(0x31)),
		"an attribute of unknown kind":  tlv(0x30, oidDER(1, 2, 3, 4), text("x")),
		"bytes that are no attribute":   {0x05, 0x00},
		"two attributes":                append(tlv(0x30, oidDER(1, 2, 3), text("x")), tlv(0x30, oidDER(1, 2, 4), text("y"))...),
		"a hundred years, by attribute": tlv(0x30, oidDER(1, 2, 840, 113549, 1, 9, 99), text("validity=36500d")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := goodParts()
			p.attributes = tlv(0xa0, attr)
			if _, err := ParseRequest(p.sign(), testDevice); !errors.Is(err, ErrExtraNames) && !errors.Is(err, ErrCSRMalformed) {
				t.Fatalf("got %v, want ErrExtraNames", err)
			}
		})
	}
}

func TestARequestWithAnotherNameIsRefused(t *testing.T) {
	t.Parallel()
	for name, subject := range oddSubjects() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := goodParts()
			p.subject = subject
			_, err := ParseRequest(p.sign(), testDevice)
			if !errors.Is(err, ErrWrongName) && !errors.Is(err, ErrExtraNames) && !errors.Is(err, ErrCSRMalformed) {
				t.Fatalf("got %v", err)
			}
		})
	}
	t.Run("and says which rule it broke", func(t *testing.T) {
		t.Parallel()
		odd, p := oddSubjects(), goodParts()
		for name, want := range map[string]error{"another device": ErrWrongName, "upper case": ErrWrongName, "an organization beside": ErrExtraNames, "the name twice": ErrExtraNames} {
			p.subject = odd[name]
			if _, err := ParseRequest(p.sign(), testDevice); !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", name, err, want)
			}
		}
		p = goodParts()
		if _, err := ParseRequest(p.sign(), "Edge-1"); !errors.Is(err, protocol.ErrDeviceID) {
			t.Errorf("a device_id of wrong form: %v", err)
		}
		p.subject = commonName(tagPrintableString, "a_b")
		if _, err := ParseRequest(p.sign(), "a_b"); err == nil {
			t.Error("'_' in a PrintableString accepted")
		}
	})
}

func TestARequestWithAKeyThatIsNotTakenIsRefused(t *testing.T) {
	t.Parallel()
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	p224, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	p521, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	for name, key := range map[string]crypto.Signer{"RSA": rsaKey, "P-224": p224, "P-521": p521} {
		template := &x509.CertificateRequest{}
		template.Subject.CommonName = testDevice
		der := must(x509.CreateCertificateRequest(rand.Reader, template, key))
		if _, err := ParseRequest(der, testDevice); !errors.Is(err, ErrWeakKey) {
			t.Errorf("%s: got %v", name, err)
		}
		if _, err := NewRequest(testDevice, key); !errors.Is(err, ErrWeakKey) {
			t.Errorf("%s: a request was made: %v", name, err)
		}
	}
	p := goodParts()
	p.spki = must(x509.MarshalPKIXPublicKey(ed25519.PublicKey(make([]byte, 32))))
	if _, err := ParseRequest(p.sign(), testDevice); !errors.Is(err, ErrWeakKey) {
		t.Errorf("a key of small order: %v", err)
	}
	p.spki = tlv(0x30, tlv(0x30, oidDER(1, 2, 840, 10040, 4, 1)), tlv(0x03, []byte{0, 2, 1, 5}))
	if _, err := ParseRequest(p.sign(), testDevice); err == nil {
		t.Error("DSA without parameters accepted")
	}
}

func TestARequestNotSignedByItsKeyIsRefused(t *testing.T) {
	t.Parallel()
	refused := func(name string, der []byte) {
		t.Helper()
		if _, err := ParseRequest(der, testDevice); !errors.Is(err, ErrCSRSignature) {
			t.Errorf("%s: got %v, want ErrCSRSignature", name, err)
		}
	}
	p := goodParts()
	p.key = p256Key()
	refused("by another key", p.sign())

	p = goodParts()
	p.hash, p.algorithm = crypto.SHA1, tlv(0x30, oidDER(1, 2, 840, 10045, 4, 1))
	refused("with SHA-1", p.sign())

	p = goodParts()
	p.algorithm = tlv(0x30, oidDER(1, 3, 101, 112))
	refused("naming Ed25519 for an ECDSA key", p.sign())
	p.algorithm = tlv(0x30, oidDER(1, 2, 840, 113549, 1, 1, 11), []byte{5, 0})
	refused("naming RSA for an ECDSA key", p.sign())
	p.algorithm = tlv(0x30, oidDER(1, 2, 3, 4))
	refused("naming no algorithm known", p.sign())
}

func TestARequestInAnotherFormIsRefused(t *testing.T) {
	t.Parallel()
	p := goodParts()
	good := p.sign()
	if _, err := ParseRequest(good, testDevice); err != nil {
		t.Fatal(err)
	}
	other := p
	other.version = []byte{2, 1, 1}
	bare := p
	bare.attributes = nil
	ca := newRoot("root", testNow)
	for name, der := range map[string][]byte{
		"nothing":                     nil,
		"one byte":                    {0x30},
		"cut short":                   good[:len(good)-1],
		"a byte behind":               append(bytes.Clone(good), 0),
		"itself behind":               append(bytes.Clone(good), good...),
		"no set of attributes":        bare.sign(),
		"a fourth element":            p.sign([]byte{5, 0}),
		"version 1":                   other.sign(),
		"indefinite length":           append([]byte{0x30, 0x80}, append(bytes.Clone(good[3:]), 0, 0)...),
		"a length that is not needed": append([]byte{0x30, 0x82, 0, good[2]}, good[3:]...),
		"PEM":                         pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: good}),
		"a certificate":               ca.Certificate.Raw,
		"longer than the limit":       append(bytes.Clone(good), make([]byte, protocol.MaxCSR)...),
	} {
		if _, err := ParseRequest(der, testDevice); !errors.Is(err, ErrCSRMalformed) {
			t.Errorf("%s: got %v, want ErrCSRMalformed", name, err)
		}
	}
	t.Run("with any one byte changed", func(t *testing.T) {
		t.Parallel()
		for i := range good {
			for _, bit := range []byte{1, 0x20, 0x80} {
				bad := bytes.Clone(good)
				bad[i] ^= bit
				if _, err := ParseRequest(bad, testDevice); err == nil {
					t.Fatalf("byte %d accepted", i)
				}
			}
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	p := goodParts()
	f.Add(p.sign())
	f.Add(must(NewRequest(testDevice, ed25519Key())))
	for _, ext := range oddExtensions() {
		p.attributes = tlv(0xa0, tlv(0x30, oidDER(1, 2, 840, 113549, 1, 9, 14), tlv(0x31, tlv(0x30, ext))))
		f.Add(p.sign())
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		r, err := ParseRequest(der, testDevice)
		if err != nil {
			return
		}
		if CheckPublicKey(r.PublicKey) != nil || !bytes.Contains(der, r.SPKI) || !bytes.Contains(der, []byte(testDevice)) {
			t.Fatal("accepted what is not a request of the device")
		}
	})
}
