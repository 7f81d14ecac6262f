package attestation

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// longKey signs with RSA modulo a Mersenne prime. It is no secret, and serves whoever
// wants to keep others busy as well as a key that takes minutes to make.
type longKey struct {
	public rsa.PublicKey
	secret *big.Int
}

func newLongKey(bits uint, e int) *longKey {
	one := big.NewInt(1)
	n := new(big.Int).Lsh(one, bits)
	n.Sub(n, one)
	return &longKey{rsa.PublicKey{N: n, E: e}, new(big.Int).ModInverse(big.NewInt(int64(e)), new(big.Int).Sub(n, one))}
}

func (k *longKey) Public() crypto.PublicKey { return &k.public }

// Sign is RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, section 8.2.1).
func (k *longKey) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	info := append([]byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}, digest...)
	size := k.public.Size()
	padded := bytes.Repeat([]byte{0xff}, size)
	padded[0], padded[1], padded[size-len(info)-1] = 0, 1, 0
	copy(padded[size-len(info):], info)
	return new(big.Int).Exp(new(big.Int).SetBytes(padded), k.secret, k.public.N).FillBytes(make([]byte, size)), nil
}

// PKI-14: four endorsers of 11,213 bits cost 90 ms, a hundred signatures, for each claim.
// Whoever sends them has a device's certificate, and nothing else.
func TestCostlyEndorsersAreNotFollowed(t *testing.T) {
	t.Parallel()
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := signed(t, authority("Maker root"), authority("Maker root"), &rootKey.PublicKey, rootKey)
	makers, endorsed := NewMakers(root), &rsaKey(t, 2048).PublicKey
	for name, c := range map[string]struct {
		key  *longKey
		want error
	}{
		"a key as makers have it": {newLongKey(3217, 65537), nil},
		"a long key":              {newLongKey(4253, 65537), ErrEndorsement},
		"a long exponent":         {newLongKey(3217, 1<<31-1), ErrEndorsement},
	} {
		between := signed(t, authority("Maker"), root, &c.key.public, rootKey)
		leaf := signed(t, &x509.Certificate{
			SerialNumber: big.NewInt(2), NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour), UnknownExtKeyUsage: []asn1.ObjectIdentifier{endorsementUse},
		}, between, endorsed, c.key)
		if _, err := makers.Judge(leaf.Raw, [][]byte{between.Raw}, noon); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if _, err := NewMakers(root, between).Judge(leaf.Raw, nil, noon); err != nil {
			t.Errorf("%s, believed by the operator: %v", name, err)
		}
	}
}

func authority(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

func signed(t *testing.T, template, parent *x509.Certificate, public any, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// An authority signs; it is nobody's endorsement key, whatever else it says. Nor is a key
// that no TPM has.
func TestOnlyAnEndorsementKeyIsVouchedFor(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := signed(t, authority("Maker root"), authority("Maker root"), &key.PublicKey, key)
	own := rsaKey(t, 2048)
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*x509.Certificate)
		public any
		want   error
	}{
		"an endorsement key":    {func(*x509.Certificate) {}, &own.PublicKey, nil},
		"an authority":          {func(c *x509.Certificate) { c.IsCA = true }, &own.PublicKey, ErrEndorsement},
		"a key for another use": {func(c *x509.Certificate) { c.UnknownExtKeyUsage[0] = asn1.ObjectIdentifier{2, 23, 133, 8, 3} }, &own.PublicKey, ErrEndorsement},
		"a key for every use": {func(c *x509.Certificate) {
			c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
		}, &own.PublicKey, ErrEndorsement},
		"a key of another exponent": {func(*x509.Certificate) {}, &rsa.PublicKey{N: own.N, E: 3}, ErrEndorsement},
		"a key on another curve":    {func(*x509.Certificate) {}, &other.PublicKey, ErrEndorsement},
	} {
		template := authority("")
		template.IsCA, template.KeyUsage, template.UnknownExtKeyUsage = false, x509.KeyUsageKeyEncipherment, []asn1.ObjectIdentifier{endorsementUse}
		c.change(template)
		leaf := signed(t, template, root, c.public, key)
		if _, err := NewMakers(root).Judge(leaf.Raw, nil, noon); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestTheFolderOfMakersHoldsCertificatesAndNothingElse(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed(t, authority("Maker root"), authority("Maker root"), &key.PublicKey, key).Raw})
	load := func(files map[string][]byte) error {
		t.Helper()
		dir := t.TempDir()
		for name, data := range files {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := LoadMakers(dir)
		return err
	}
	many := map[string][]byte{}
	for n := range maxRootFiles + 1 {
		many[strconv.Itoa(n)] = root
	}
	for name, files := range map[string]map[string][]byte{
		"another type":                     {"a": root, "b": bytes.ReplaceAll(root, []byte("CERTIFICATE"), []byte("TRUSTED CERTIFICATE"))},
		"a note":                           {"a": root, "README": []byte("of makers")},
		"a file without end":               {"a": root, "b": bytes.Repeat(root, maxRootFile/len(root)+1)},
		"more files than there are makers": many,
		"something in PEM that is none":    {"a": root, "b": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}})},
	} {
		if load(files) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := load(map[string][]byte{"a": root}); err != nil {
		t.Error(err)
	}
}
