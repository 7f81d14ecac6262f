package extsign

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
)

// ErrOtherKey says that the key which is to sign is not the one that is held here.
var ErrOtherKey = errors.New("the key that is asked for is not the one that this signer holds")

// Serve answers the one request on in, as the program that holds the key. The
// error is what the answer said too.
func Serve(in io.Reader, out io.Writer, open func() (crypto.Signer, error)) error {
	answer := &Answer{}
	request, err := ReadRequest(in)
	if err == nil {
		answer, err = answered(request, open)
	}
	if err != nil {
		answer = &Answer{Error: Printable(err.Error(), maxError)}
	}
	answer.Version = Version
	data, failed := json.Marshal(answer)
	if failed == nil {
		_, failed = out.Write(append(data, '\n'))
	}
	return errors.Join(err, failed)
}

func answered(r *Request, open func() (crypto.Signer, error)) (*Answer, error) {
	signer, err := open()
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return nil, err
	}
	if r.Operation == PublicKey {
		return &Answer{PublicKey: der}, nil
	}
	if string(der) != string(r.PublicKey) {
		return nil, ErrOtherKey
	}
	algorithm, hash, _, err := Method(signer.Public())
	if err != nil {
		return nil, err
	}
	if algorithm != r.Algorithm {
		return nil, ErrOtherKey
	}
	signature, err := signer.Sign(rand.Reader, r.Data, hash)
	if err != nil {
		return nil, err
	}
	return &Answer{Signature: signature}, nil
}
