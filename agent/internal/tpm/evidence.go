package tpm

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/evidence"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Claim says which TPM this is: the certificate of its endorsement key, and its
// attestation key.
func (t *TPM) Claim() (endorsement, attestationKey []byte, err error) {
	err = t.within(func(s *session) error {
		if endorsement, _, err = s.endorsement(); err != nil {
			return err
		}
		ak, err := s.attestationKey()
		if err != nil {
			return err
		}
		attestationKey = ak.area
		return nil
	})
	return endorsement, attestationKey, err
}

// About is what evidence is about.
type About struct {
	DeviceID  string
	PublicKey []byte // of the device's certificate, PKIX DER
	Key       *Key   // of the certificate, where this TPM holds it; nil otherwise
}

// Evidence answers a challenge: it solves its riddle, quotes the registers that are
// asked for, and certifies the device's key where the TPM holds it.
func (t *TPM) Evidence(c *protocol.AttestationChallenge, about About) (*protocol.AttestationEvidence, error) {
	e := &protocol.AttestationEvidence{Nonce: c.Nonce}
	err := t.within(func(s *session) error {
		ak, err := s.attestationKey()
		if err != nil {
			return err
		}
		if err := s.solve(c, ak, e); err != nil {
			return err
		}
		if err := s.quote(c, ak, about, e); err != nil {
			return err
		}
		if about.Key == nil {
			return nil
		}
		return s.certify(c, ak, about, e)
	})
	return e, err
}

// solve opens the riddle. The TPM does so only if it holds both keys.
func (s *session) solve(c *protocol.AttestationChallenge, ak *key, e *protocol.AttestationEvidence) error {
	_, template, err := s.endorsement()
	if err != nil {
		return err
	}
	ek, err := s.primary(tpm2.TPMRHEndorsement, tpm2.New2B(template))
	if err != nil {
		return err
	}
	r, err := tpm2.ActivateCredential{
		ActivateHandle: using(ak),
		KeyHandle:      tpm2.AuthHandle{Handle: ek.Handle, Name: ek.Name, Auth: tpm2.Policy(tpm2.TPMAlgSHA256, 16, endorsementPolicy)},
		CredentialBlob: tpm2.TPM2BIDObject{Buffer: c.Credential}, Secret: tpm2.TPM2BEncryptedSecret{Buffer: c.Secret},
	}.Execute(s.tpm)
	if err != nil {
		return fmt.Errorf("%w the server's riddle: %w", ErrRefused, err)
	}
	e.Activation = r.CertInfo.Buffer
	return s.unload(ek) // some TPMs have room for three keys
}

// unload makes room.
func (s *session) unload(k *key) error {
	s.loaded = slices.DeleteFunc(s.loaded, func(h tpm2.TPMHandle) bool { return h == k.Handle })
	_, err := tpm2.FlushContext{FlushHandle: k.Handle}.Execute(s.tpm)
	return err
}

// quoteTries is how often registers may change between quoting and reading them.
const quoteTries = 3

// quote quotes the registers and reads their values, which must be those.
func (s *session) quote(c *protocol.AttestationChallenge, ak *key, about About, e *protocol.AttestationEvidence) error {
	data := evidence.QuoteData(c.Nonce, about.DeviceID, about.PublicKey)
	for range quoteTries {
		r, err := tpm2.Quote{
			SignHandle: using(ak), QualifyingData: tpm2.TPM2BData{Buffer: data[:]},
			InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull}, PCRSelect: selection(c.PCRs),
		}.Execute(s.tpm)
		if err != nil {
			return fmt.Errorf("%w to quote: %w", ErrRefused, err)
		}
		e.Quote, e.QuoteSign = r.Quoted.Bytes(), tpm2.Marshal(r.Signature)
		if e.PCRs, err = s.registers(c.PCRs); err != nil {
			return err
		}
		q, err := evidence.ParseQuote(e.Quote)
		if err != nil {
			return err
		}
		if digest := evidence.PCRDigest(e.PCRs); bytes.Equal(q.Digest, digest[:]) {
			return nil
		}
	}
	return fmt.Errorf("%w: the registers change all the time", ErrRefused)
}

func selection(pcrs []int) tpm2.TPMLPCRSelection {
	numbers := make([]uint, len(pcrs))
	for i, n := range pcrs {
		numbers[i] = uint(n)
	}
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(numbers...)}}}
}

// registers reads values, a few at a time, as TPMs give them.
func (s *session) registers(pcrs []int) (values [][]byte, err error) {
	for part := range slices.Chunk(pcrs, 8) {
		r, err := tpm2.PCRRead{PCRSelectionIn: selection(part)}.Execute(s.tpm)
		if err != nil {
			return nil, fmt.Errorf("%w to read registers: %w", ErrRefused, err)
		}
		if len(r.PCRValues.Digests) != len(part) {
			return nil, fmt.Errorf("%w to read all registers of its SHA-256 bank", ErrRefused)
		}
		for _, d := range r.PCRValues.Digests {
			values = append(values, d.Buffer)
		}
	}
	return values, nil
}

// certify has the TPM say that it holds the device's key.
func (s *session) certify(c *protocol.AttestationChallenge, ak *key, about About, e *protocol.AttestationEvidence) error {
	own, err := s.load(about.Key)
	if err != nil {
		return err
	}
	data := evidence.CertifyData(c.Nonce, about.DeviceID, about.PublicKey)
	r, err := tpm2.Certify{
		ObjectHandle: using(own), SignHandle: using(ak), QualifyingData: tpm2.TPM2BData{Buffer: data[:]},
		InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
	}.Execute(s.tpm)
	if err != nil {
		return fmt.Errorf("%w to certify the device's key: %w", ErrRefused, err)
	}
	e.CertifiedKey, e.Certification, e.CertificationSign = about.Key.public, r.CertifyInfo.Bytes(), tpm2.Marshal(r.Signature)
	return nil
}
