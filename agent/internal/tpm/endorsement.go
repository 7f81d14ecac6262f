package tpm

import (
	"encoding/asn1"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// Where makers put the certificates of their default endorsement keys (TCG EK
// Credential Profile, section 2.2.1.4), in the order that we try them.
var endorsements = []struct {
	index    tpm2.TPMHandle
	template tpm2.TPMTPublic
}{
	{0x01c00002, tpm2.RSAEKTemplate}, // RSA of 2048 bits
	{0x01c0000a, tpm2.ECCEKTemplate}, // ECC on P-256
}

// maxCertificate is above any certificate that a server takes, and chunk what every TPM
// gives at once.
const (
	maxCertificate = 4 << 10
	chunk          = 512
)

// endorsement reads the certificate, and which template makes its key.
func (s *session) endorsement() (certificate []byte, keyTemplate tpm2.TPMTPublic, err error) {
	for _, e := range endorsements {
		certificate, err := s.read(e.index)
		if err == nil {
			return certificate, e.template, nil
		}
	}
	return nil, tpm2.TPMTPublic{}, ErrNoCertificate
}

// read reads a certificate in DER; what lies behind it is padding.
func (s *session) read(index tpm2.TPMHandle) ([]byte, error) {
	public, err := tpm2.NVReadPublic{NVIndex: index}.Execute(s.tpm)
	if err != nil {
		return nil, err
	}
	area, err := public.NVPublic.Contents()
	if err != nil {
		return nil, err
	}
	size := int(area.DataSize)
	if size > maxCertificate {
		return nil, fmt.Errorf("a certificate of %d bytes", size)
	}
	var data []byte
	for len(data) < size {
		r, err := tpm2.NVRead{
			AuthHandle: tpm2.AuthHandle{Handle: index, Name: public.NVName, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: public.NVName},
			Size:       uint16(min(chunk, size-len(data))), Offset: uint16(len(data)),
		}.Execute(s.tpm)
		if err != nil {
			return nil, err
		}
		if len(r.Data.Buffer) == 0 {
			return nil, ErrRefused
		}
		data = append(data, r.Data.Buffer...)
	}
	var whole asn1.RawValue
	rest, err := asn1.Unmarshal(data, &whole)
	if err != nil {
		return nil, err
	}
	return data[:len(data)-len(rest)], nil
}

// endorsementPolicy is the one of both templates: whoever knows the password of the
// endorsement hierarchy (TCG EK Credential Profile, section B.6.1).
func endorsementPolicy(t transport.TPM, session tpm2.TPMISHPolicy, nonce tpm2.TPM2BNonce) error {
	_, err := tpm2.PolicySecret{AuthHandle: tpm2.TPMRHEndorsement, PolicySession: session, NonceTPM: nonce}.Execute(t)
	return err
}
