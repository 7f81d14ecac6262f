//go:build cgo && linux

package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"

	"github.com/miekg/pkcs11"
)

// Of PKCS#11 v3.0, for Edwards curves.
const (
	ckkEdwards         = 0x40
	ckmEdwardsGenerate = 0x1055
	ckmEdDSA           = 0x1057
)

// curve is how keys of an algorithm are made.
type curve struct {
	params   []byte // CKA_EC_PARAMS: DER of the curve's name
	keyType  uint
	generate uint
}

var curves = map[string]curve{
	edwards: {[]byte{0x06, 0x03, 0x2b, 0x65, 0x70}, ckkEdwards, ckmEdwardsGenerate},                                          // 1.3.101.112 (RFC 8410)
	p256:    {[]byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}, pkcs11.CKK_EC, pkcs11.CKM_EC_KEY_PAIR_GEN}, // 1.2.840.10045.3.1.7
	p384:    {[]byte{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22}, pkcs11.CKK_EC, pkcs11.CKM_EC_KEY_PAIR_GEN},                   // 1.3.132.0.34
}

// edwardsName is the curve's other name, a PrintableString (PKCS#11 v3.0 section 2.3.10).
var edwardsName = append([]byte{0x13, 12}, "edwards25519"...)

// publicKey reads a public key as tokens keep it: the point is in an OCTET STRING,
// and in some tokens bare.
func publicKey(params, point []byte) (crypto.PublicKey, error) {
	var inner []byte
	if rest, err := asn1.Unmarshal(point, &inner); err == nil && len(rest) == 0 {
		point = inner
	}
	switch {
	case bytes.Equal(params, curves[edwards].params), bytes.Equal(params, edwardsName):
		if len(point) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("its public key has %d bytes", len(point))
		}
		return ed25519.PublicKey(point), nil
	case bytes.Equal(params, curves[p256].params):
		return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	case bytes.Equal(params, curves[p384].params):
		return ecdsa.ParseUncompressedPublicKey(elliptic.P384(), point)
	}
	return nil, errors.New("it is neither Ed25519 nor ECDSA with P-256 or P-384")
}

// tokenKey signs in the token.
type tokenKey struct {
	t       *token
	private pkcs11.ObjectHandle
	pub     crypto.PublicKey
}

func (k *tokenKey) Public() crypto.PublicKey { return k.pub }

// Sign signs a message with Ed25519, or a digest with ECDSA.
func (k *tokenKey) Sign(_ io.Reader, data []byte, _ crypto.SignerOpts) ([]byte, error) {
	_, isEdwards := k.pub.(ed25519.PublicKey)
	mechanism := uint(pkcs11.CKM_ECDSA)
	if isEdwards {
		mechanism = ckmEdDSA
	}
	if err := k.t.ctx.SignInit(k.t.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, k.private); err != nil {
		return nil, fmt.Errorf("begin to sign: %w", err)
	}
	signature, err := k.t.ctx.Sign(k.t.session, data)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if isEdwards {
		return signature, nil
	}
	return toDER(signature)
}

// toDER turns r and s beside each other, as tokens give them, into ASN.1 (RFC 3279
// section 2.2.3).
func toDER(signature []byte) ([]byte, error) {
	if len(signature) == 0 || len(signature)%2 != 0 {
		return nil, fmt.Errorf("the token gave a signature of %d bytes", len(signature))
	}
	half := len(signature) / 2
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])})
}
