package keysource

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"fmt"
	"io"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/extsign"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// external signs through a program.
type external struct {
	o         *Opener
	source    config.KeySource
	purpose   string
	pub       crypto.PublicKey
	der       []byte
	algorithm signing.Algorithm
	hash      crypto.Hash
	input     string
}

func (o *Opener) external(purpose string, source config.KeySource, pub crypto.PublicKey) (crypto.Signer, error) {
	e := &external{o: o, source: source, purpose: purpose, pub: pub}
	err := certs.CheckPublicKey(pub)
	if err != nil {
		return nil, err
	}
	if e.algorithm, e.hash, e.input, err = extsign.Method(pub); err != nil {
		return nil, err
	}
	if e.der, err = x509.MarshalPKIXPublicKey(pub); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *external) Public() crypto.PublicKey { return e.pub }

// Sign has the program sign, and verifies what it printed before anybody sees it. The
// signer interface has no context: the time that a program may take bounds it.
func (e *external) Sign(_ io.Reader, data []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != e.hash || e.hash != 0 && len(data) != e.hash.Size() {
		return nil, fmt.Errorf("%w: %s does not sign that way", signing.ErrKey, e.algorithm)
	}
	answer, err := e.o.ask(context.Background(), e.source, &extsign.Request{
		Version: extsign.Version, Operation: extsign.Sign, Purpose: e.purpose,
		PublicKey: e.der, Algorithm: e.algorithm, Input: e.input, Data: data,
	})
	if err != nil {
		return nil, err
	}
	if !verifies(e.pub, data, answer.Signature) {
		return nil, &Error{Program: e.source.Path, Reason: ErrOtherKey}
	}
	return answer.Signature, nil
}

// verifies checks a signature over the very bytes that were sent to be signed.
func verifies(pub crypto.PublicKey, data, signature []byte) bool {
	switch pub := pub.(type) {
	case ed25519.PublicKey:
		return len(signature) == ed25519.SignatureSize && ed25519.Verify(pub, data, signature)
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(pub, data, signature)
	}
	return false
}
