package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"time"
)

const (
	testDomain = "fleet.example.org"
	testDevice = "edge-1"
)

var testNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// must is for what only a broken test can make fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func p256Key() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func ed25519Key() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return must(key, err)
}

// authorities are a root with one issuing CA of each kind.
type authorities struct{ root, device, server CA }

func newAuthorities(name string, now time.Time) authorities {
	root := newRoot(name+" root", now)
	return authorities{
		root:   root,
		device: newIssuing(KindDevice, name+" devices", root, now, 365*24*time.Hour),
		server: newIssuing(KindServer, name+" servers", root, now, 365*24*time.Hour),
	}
}

func newRoot(name string, now time.Time) CA {
	key := p256Key()
	return CA{parse(must(NewRootCA(name, key, now, 10*365*24*time.Hour))), key}
}

func newIssuing(kind Kind, name string, root CA, now time.Time, life time.Duration) CA {
	key := p256Key()
	return CA{parse(must(NewIssuingCA(kind, name, testDomain, root, key.Public(), now, life))), key}
}

func parse(der []byte) *x509.Certificate { return must(x509.ParseCertificate(der)) }

// week is the template of an ordinary device certificate.
func week(pub crypto.PublicKey) DeviceTemplate {
	t := DeviceTemplate{DeviceID: testDevice, TrustDomain: testDomain, PublicKey: pub}
	t.NotBefore, t.NotAfter = Validity(testNow, 7*24*time.Hour)
	return t
}

// forge signs any certificate at all, as a broken or hostile issuer could.
func forge(template, parent *x509.Certificate, pub crypto.PublicKey, signer crypto.Signer) []byte {
	if template.SerialNumber == nil {
		template.SerialNumber = must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128)))
	}
	p := *parent
	p.PublicKey = signer.Public() // or x509 would refuse to sign with a key not the parent's
	return must(x509.CreateCertificate(rand.Reader, template, &p, pub, signer))
}

func oidDER(arcs ...int) []byte { return must(asn1.Marshal(asn1.ObjectIdentifier(arcs))) }

// attributes of a name, in one RDN each.
func rdns(attributes ...[]byte) []byte {
	var sets [][]byte
	for _, a := range attributes {
		sets = append(sets, tlv(0x31, a))
	}
	return tlv(0x30, sets...)
}

func attribute(oid []byte, tag byte, value string) []byte {
	return tlv(0x30, oid, tlv(tag, []byte(value)))
}

var (
	oidCN     = oidDER(2, 5, 4, 3)
	oidO      = oidDER(2, 5, 4, 10)
	oidSerial = oidDER(2, 5, 4, 5)
	oidEmail  = oidDER(1, 2, 840, 113549, 1, 9, 1)
)

// oddSubjects are names that are not exactly the one of testDevice.
func oddSubjects() map[string][]byte {
	own := attribute(oidCN, tagUTF8String, testDevice)
	cn := func(value string) []byte { return commonName(tagUTF8String, value) }
	return map[string][]byte{
		"no name":                         tlv(0x30),
		"another device":                  cn("edge-2"),
		"upper case":                      cn("EDGE-1"),
		"trailing dot":                    cn("edge-1."),
		"trailing space":                  cn("edge-1 "),
		"leading space":                   cn(" edge-1"),
		"trailing NUL":                    cn("edge-1\x00"),
		"NUL and more":                    cn("edge-1\x00.example.org"),
		"a look-alike letter":             cn("\u0435dge-1"),
		"a full-width letter":             cn("\uff45dge-1"),
		"a zero-width space":              cn("edge\u200b-1"),
		"percent-encoding":                cn("%65dge-1"),
		"a wildcard":                      cn("*"),
		"a prefix":                        cn("edge"),
		"a path":                          cn("device/edge-1"),
		"the URI as name":                 cn(DeviceURI(testDomain, testDevice)),
		"IA5String":                       commonName(0x16, testDevice),
		"TeletexString":                   commonName(0x14, testDevice),
		"BMPString":                       commonName(0x1e, "\x00e\x00d\x00g\x00e\x00-\x001"),
		"the name twice":                  rdns(own, own),
		"another name first":              rdns(attribute(oidCN, tagUTF8String, "edge-2"), own),
		"another name last":               rdns(own, attribute(oidCN, tagUTF8String, "edge-2")),
		"an organization beside":          rdns(own, attribute(oidO, tagUTF8String, "Example")),
		"an organization before":          rdns(attribute(oidO, tagUTF8String, "Example"), own),
		"a serial number beside":          rdns(own, attribute(oidSerial, tagPrintableString, "7")),
		"an email address beside":         rdns(own, attribute(oidEmail, 0x16, "a@example.org")),
		"two attributes in one RDN":       tlv(0x30, tlv(0x31, attribute(oidO, tagUTF8String, "Example"), own)),
		"the name as organization":        rdns(attribute(oidO, tagUTF8String, testDevice)),
		"the name as serial number":       rdns(attribute(oidSerial, tagPrintableString, testDevice)),
		"an empty RDN beside":             tlv(0x30, tlv(0x31, own), tlv(0x31)),
		"the name in long form of length": tlv(0x30, tlv(0x31, tlv(0x30, oidCN, append([]byte{0x0c, 0x81, 6}, testDevice...)))),
	}
}
