package swtpm

import (
	"crypto/rand"
	"crypto/sha256"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/evidence"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// loaded is a key in the TPM.
type loaded struct {
	tpm2.AuthHandle
	area []byte
}

// using loads keys that are gone afterwards: a TPM has room for few.
func (s *TPM) using(f func(load func(hierarchy tpm2.TPMHandle, template tpm2.TPM2BPublic) loaded)) {
	s.t.Helper()
	var handles []tpm2.TPMHandle
	f(func(hierarchy tpm2.TPMHandle, template tpm2.TPM2BPublic) loaded {
		r, err := tpm2.CreatePrimary{PrimaryHandle: hierarchy, InPublic: template}.Execute(s)
		s.must(err)
		handles = append(handles, r.ObjectHandle)
		return loaded{tpm2.AuthHandle{Handle: r.ObjectHandle, Name: r.Name, Auth: tpm2.PasswordAuth(nil)}, r.OutPublic.Bytes()}
	})
	for _, h := range handles {
		_, err := tpm2.FlushContext{FlushHandle: h}.Execute(s)
		s.must(err)
	}
}

func area(b []byte) tpm2.TPM2BPublic { return tpm2.BytesAs2B[tpm2.TPMTPublic, *tpm2.TPMTPublic](b) }

// AttestationKey is the public area of its attestation key.
func (s *TPM) AttestationKey() (key []byte) {
	s.t.Helper()
	s.using(func(load func(tpm2.TPMHandle, tpm2.TPM2BPublic) loaded) {
		key = load(tpm2.TPMRHEndorsement, area(evidence.AttestationKeyArea())).area
	})
	return key
}

// Claim is what the device says of its TPM: the certificate of the endorsement key, and
// the attestation key.
func (s *TPM) Claim() (endorsement, key []byte) {
	s.t.Helper()
	key = s.AttestationKey()
	const index, chunk = tpm2.TPMHandle(0x01c00002), 512
	public, err := tpm2.NVReadPublic{NVIndex: index}.Execute(s)
	s.must(err)
	space, err := public.NVPublic.Contents()
	s.must(err)
	for len(endorsement) < int(space.DataSize) {
		r, err := tpm2.NVRead{
			AuthHandle: tpm2.AuthHandle{Handle: index, Name: public.NVName, Auth: tpm2.PasswordAuth(nil)}, NVIndex: tpm2.NamedHandle{Handle: index, Name: public.NVName},
			Size: uint16(min(chunk, int(space.DataSize)-len(endorsement))), Offset: uint16(len(endorsement)),
		}.Execute(s)
		s.must(err)
		endorsement = append(endorsement, r.Data.Buffer...)
	}
	return endorsement[:len(endorsement)-16], key
}

// Challenge is one that a server would make for this TPM: it alone learns the secret.
func (s *TPM) Challenge(nonce, secret []byte, pcrs ...int) *protocol.AttestationChallenge {
	s.t.Helper()
	c := &protocol.AttestationChallenge{Nonce: nonce, PCRs: pcrs}
	s.using(func(load func(tpm2.TPMHandle, tpm2.TPM2BPublic) loaded) {
		ak, ek := load(tpm2.TPMRHEndorsement, area(evidence.AttestationKeyArea())), load(tpm2.TPMRHEndorsement, tpm2.New2B(tpm2.RSAEKTemplate))
		public, err := tpm2.Unmarshal[tpm2.TPMTPublic](ek.area)
		s.must(err)
		key, err := tpm2.ImportEncapsulationKey(public)
		s.must(err)
		c.Credential, c.Secret, err = tpm2.CreateCredential(rand.Reader, key, ak.Name.Buffer, secret)
		s.must(err)
	})
	return c
}

// Solve opens a riddle. It fails for one that was not made for this TPM.
func (s *TPM) Solve(c *protocol.AttestationChallenge) (secret []byte, err error) {
	s.t.Helper()
	s.using(func(load func(tpm2.TPMHandle, tpm2.TPM2BPublic) loaded) {
		ak, ek := load(tpm2.TPMRHEndorsement, area(evidence.AttestationKeyArea())), load(tpm2.TPMRHEndorsement, tpm2.New2B(tpm2.RSAEKTemplate))
		ek.Auth = tpm2.Policy(tpm2.TPMAlgSHA256, 16, func(t transport.TPM, session tpm2.TPMISHPolicy, nonce tpm2.TPM2BNonce) error {
			_, err := tpm2.PolicySecret{AuthHandle: tpm2.TPMRHEndorsement, PolicySession: session, NonceTPM: nonce}.Execute(t)
			return err
		})
		var r *tpm2.ActivateCredentialResponse
		r, err = tpm2.ActivateCredential{
			ActivateHandle: ak.AuthHandle, KeyHandle: ek.AuthHandle,
			CredentialBlob: tpm2.TPM2BIDObject{Buffer: c.Credential}, Secret: tpm2.TPM2BEncryptedSecret{Buffer: c.Secret},
		}.Execute(s)
		if err == nil {
			secret = r.CertInfo.Buffer
		}
	})
	return secret, err
}

// Quote quotes registers with any qualifying data, and reads their values.
func (s *TPM) Quote(data [sha256.Size]byte, pcrs []int) (quote, signature []byte, values [][]byte) {
	s.t.Helper()
	s.using(func(load func(tpm2.TPMHandle, tpm2.TPM2BPublic) loaded) {
		ak := load(tpm2.TPMRHEndorsement, area(evidence.AttestationKeyArea()))
		r, err := tpm2.Quote{SignHandle: ak.AuthHandle, QualifyingData: tpm2.TPM2BData{Buffer: data[:]}, InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull}, PCRSelect: registers(pcrs...)}.Execute(s)
		s.must(err)
		quote, signature = r.Quoted.Bytes(), tpm2.Marshal(r.Signature)
	})
	for _, n := range pcrs {
		r, err := tpm2.PCRRead{PCRSelectionIn: registers(n)}.Execute(s)
		s.must(err)
		values = append(values, r.PCRValues.Digests[0].Buffer)
	}
	return quote, signature, values
}

// Certify makes a key as a device's own, and has the attestation key certify it with
// any qualifying data.
func (s *TPM) Certify(data [sha256.Size]byte) (key, certification, signature []byte) {
	s.t.Helper()
	s.using(func(load func(tpm2.TPMHandle, tpm2.TPM2BPublic) loaded) {
		ak, own := load(tpm2.TPMRHEndorsement, area(evidence.AttestationKeyArea())), load(tpm2.TPMRHOwner, area(evidence.DeviceKeyArea()))
		r, err := tpm2.Certify{ObjectHandle: own.AuthHandle, SignHandle: ak.AuthHandle, QualifyingData: tpm2.TPM2BData{Buffer: data[:]}, InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull}}.Execute(s)
		s.must(err)
		key, certification, signature = own.area, r.CertifyInfo.Bytes(), tpm2.Marshal(r.Signature)
	})
	return key, certification, signature
}

// Extend changes a register, as starting something else would.
func (s *TPM) Extend(pcr int, what string) {
	s.t.Helper()
	sum := sha256.Sum256([]byte(what))
	_, err := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: sum[:]}}},
	}.Execute(s)
	s.must(err)
}

func registers(pcrs ...int) tpm2.TPMLPCRSelection {
	numbers := make([]uint, len(pcrs))
	for i, n := range pcrs {
		numbers[i] = uint(n)
	}
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(numbers...)}}}
}
