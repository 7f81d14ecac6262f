package evidence

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// Algorithm identifiers (TPM 2.0 Part 2, section 6.3) and the curve (6.4).
const (
	algSHA256 = 0x000B
	algNull   = 0x0010
	algECDSA  = 0x0018
	algECC    = 0x0023
	curveP256 = 0x0003
)

// Attributes of a key (TPM 2.0 Part 2, section 8.3).
const (
	fixedTPM            = 1 << 1
	fixedParent         = 1 << 4
	sensitiveDataOrigin = 1 << 5
	userWithAuth        = 1 << 6
	noDA                = 1 << 10
	restricted          = 1 << 16
	signs               = 1 << 18

	// A device's key signs what the device wants, and never leaves its TPM.
	deviceKey = fixedTPM | fixedParent | sensitiveDataOrigin | userWithAuth | noDA | signs
	// An attestation key signs what its TPM says of itself, and nothing else.
	attestationKey = deviceKey | restricted
)

// MaxKeyArea is far above the 90 bytes of a public area that is taken.
const MaxKeyArea = 256

// coordinate is the size of a coordinate on P-256. TPMs may leave leading zeroes off.
const coordinate = 32

// Errors of the parsers, without what was sent.
var (
	ErrKey           = errors.New("not the public area of a key that is taken here")
	ErrQuote         = errors.New("not a quote of the SHA-256 bank")
	ErrCertification = errors.New("not a certification of a key")
	ErrSignature     = errors.New("not the signature of this key over this")
)

// Key is a key inside a TPM, by its public area.
type Key struct {
	Public *ecdsa.PublicKey
	Name   []byte // what its TPM calls it: the digest of the whole public area (TPM 2.0 Part 1, section 16)
}

// ParseAttestationKey reads the public area of a key that signs only what its TPM
// says of itself.
func ParseAttestationKey(area []byte) (*Key, error) { return parseKey(area, attestationKey) }

// ParseDeviceKey reads the public area of a key that a device goes by.
func ParseDeviceKey(area []byte) (*Key, error) { return parseKey(area, deviceKey) }

// AttestationKeyArea is the template of an attestation key: the public area before
// the TPM chose the key.
func AttestationKeyArea() []byte { return area(attestationKey) }

// DeviceKeyArea is the template of a device's key.
func DeviceKeyArea() []byte { return area(deviceKey) }

func area(attributes uint32) []byte {
	return append(head(attributes), 0, 0, 0, 0) // both coordinates are empty
}

// head is everything of a TPMT_PUBLIC before the key itself (TPM 2.0 Part 2, section
// 12.2.4): it is all fixed.
func head(attributes uint32) []byte {
	b := binary.BigEndian.AppendUint16(nil, algECC)
	b = binary.BigEndian.AppendUint16(b, algSHA256)
	b = binary.BigEndian.AppendUint32(b, attributes)
	for _, field := range []uint16{
		0,       // no policy
		algNull, // no symmetric algorithm
		algECDSA, algSHA256,
		curveP256,
		algNull, // no key derivation
	} {
		b = binary.BigEndian.AppendUint16(b, field)
	}
	return b
}

func parseKey(area []byte, attributes uint32) (*Key, error) {
	rest, ok := bytes.CutPrefix(area, head(attributes))
	if !ok {
		return nil, ErrKey
	}
	r := reader{rest: rest}
	x, y := r.sized(), r.sized()
	if !r.done() || len(x) > coordinate || len(y) > coordinate {
		return nil, ErrKey
	}
	point := make([]byte, 1+2*coordinate)
	point[0] = 4 // uncompressed (SEC 1, section 2.3.3)
	copy(point[1+coordinate-len(x):], x)
	copy(point[1+2*coordinate-len(y):], y)
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, ErrKey
	}
	sum := sha256.Sum256(area)
	return &Key{Public: public, Name: append(binary.BigEndian.AppendUint16(nil, algSHA256), sum[:]...)}, nil
}
