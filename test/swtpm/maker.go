package swtpm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// Maker is a maker of TPMs: a root, and an authority below it that issues.
type Maker struct {
	Root, Issuer *x509.Certificate

	t   testing.TB
	key *ecdsa.PrivateKey
}

// life of certificates: tests choose their own time.
var begin, end = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)

// NewMaker makes one.
func NewMaker(t testing.TB, name string) *Maker {
	t.Helper()
	m := &Maker{t: t}
	rootKey := m.newKey()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name + " root"}, NotBefore: begin, NotAfter: end,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	m.Root = m.sign(root, root, &rootKey.PublicKey, rootKey)
	m.key = m.newKey()
	m.Issuer = m.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: begin, NotAfter: end,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, m.Root, &m.key.PublicKey, rootKey)
	return m
}

// Folder writes the maker's certificates as an operator would put them.
func (m *Maker) Folder() string {
	m.t.Helper()
	dir := m.t.TempDir()
	for name, c := range map[string]*x509.Certificate{"root.pem": m.Root, "issuer.pem": m.Issuer} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}), 0o600); err != nil {
			m.t.Fatal(err)
		}
	}
	return dir
}

// Endorse is the certificate of an endorsement key, as makers issue them: without a
// subject, the TPM's make in a critical subject alternative name.
func (m *Maker) Endorse(public any) []byte {
	m.t.Helper()
	made, err := asn1.Marshal(pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 23, 133, 2, 1}, Value: "id:00001014"}}})
	if err != nil {
		m.t.Fatal(err)
	}
	names, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: made}})
	if err != nil {
		m.t.Fatal(err)
	}
	return m.sign(&x509.Certificate{
		SerialNumber: big.NewInt(3), NotBefore: begin, NotAfter: end, KeyUsage: x509.KeyUsageKeyEncipherment,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}},
		ExtraExtensions:    []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: names}},
	}, m.Issuer, public, m.key).Raw
}

func (m *Maker) newKey() *ecdsa.PrivateKey {
	m.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		m.t.Fatal(err)
	}
	return key
}

func (m *Maker) sign(template, parent *x509.Certificate, public any, key *ecdsa.PrivateKey) *x509.Certificate {
	m.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		m.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		m.t.Fatal(err)
	}
	return c
}

// By puts the maker's certificate into the TPM, where makers put it.
func (s *TPM) By(m *Maker) *TPM {
	s.t.Helper()
	var certificate []byte
	s.using(func(load func(hierarchy tpm2.TPMHandle, template tpm2.TPM2BPublic) loaded) {
		ek := load(tpm2.TPMRHEndorsement, tpm2.New2B(tpm2.RSAEKTemplate))
		area, err := tpm2.Unmarshal[tpm2.TPMTPublic](ek.area)
		s.must(err)
		public, err := tpm2.Pub(*area)
		s.must(err)
		certificate = m.Endorse(public)
	})
	const index, chunk = tpm2.TPMHandle(0x01c00002), 512
	padded := slices.Concat(certificate, make([]byte, 16)) // some makers leave room
	define := tpm2.NVDefineSpace{AuthHandle: tpm2.TPMRHPlatform, PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
		NVIndex: index, NameAlg: tpm2.TPMAlgSHA256, DataSize: uint16(len(padded)),
		Attributes: tpm2.TPMANV{PPWrite: true, PPRead: true, OwnerRead: true, AuthRead: true, NoDA: true, PlatformCreate: true, NT: tpm2.TPMNTOrdinary},
	})}
	_, err := define.Execute(s)
	s.must(err)
	for at := 0; at < len(padded); at += chunk {
		public, err := tpm2.NVReadPublic{NVIndex: index}.Execute(s) // its name changes with the first write
		s.must(err)
		_, err = tpm2.NVWrite{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHPlatform, Auth: tpm2.PasswordAuth(nil)}, NVIndex: tpm2.NamedHandle{Handle: index, Name: public.NVName},
			Data: tpm2.TPM2BMaxNVBuffer{Buffer: padded[at:min(at+chunk, len(padded))]}, Offset: uint16(at),
		}.Execute(s)
		s.must(err)
	}
	return s
}

func (s *TPM) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}
