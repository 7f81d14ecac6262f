package signing

import (
	"context"
	"crypto"
	"fmt"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

const typeRenewal = "renewal"

// Renewal is a device's wish for another certificate, for another key. It is signed
// by the key of the certificate that it has and by the new one: the first says who
// asks, the second that the key is the asker's.
type Renewal struct {
	Type         string `json:"type"` // "renewal"
	RequestID    string `json:"request_id"`
	DeviceID     string `json:"device_id"`
	EnrollmentID string `json:"enrollment_id"`
	Current      string `json:"current"` // fingerprint of the certificate whose key signs
	CSR          []byte `json:"csr"`     // PKCS#10 in DER, by the new key
	// Recovery says that the certificate has expired, so that no connection proves
	// the device any more.
	Recovery bool `json:"recovery,omitempty"`
}

// Check holds the renewal to form (ErrRule).
func (r *Renewal) Check() error {
	if r.Type != typeRenewal {
		return fmt.Errorf("%w: type is not %s", ErrRule, typeRenewal)
	}
	if err := (Target{DeviceID: r.DeviceID, EnrollmentID: r.EnrollmentID}).check(); err != nil {
		return err
	}
	if err := protocol.CheckID(r.RequestID); err != nil {
		return fmt.Errorf("%w: request_id: %w", ErrRule, err)
	}
	if err := checkDigest("current", r.Current); err != nil {
		return err
	}
	if len(r.CSR) == 0 || len(r.CSR) > protocol.MaxCSR {
		return fmt.Errorf("%w: csr must have 1 to %d bytes of DER", ErrRule, protocol.MaxCSR)
	}
	return nil
}

// SignRenewal fills in the type, checks the renewal and signs it with both keys.
func SignRenewal(ctx context.Context, r Renewal, current, next crypto.Signer) (*Envelope, error) {
	r.Type = typeRenewal
	if err := r.Check(); err != nil {
		return nil, err
	}
	var signers []Signer
	for _, key := range []crypto.Signer{current, next} {
		s, err := NewSigner(PurposeRenewal, key)
		if err != nil {
			return nil, err
		}
		signers = append(signers, s)
	}
	return seal(ctx, PurposeRenewal, r, &Renewal{}, signers)
}

// ReadRenewal reads a renewal before its signatures are checked, since it names
// the certificate whose key must have signed it. Nothing in it is to be believed
// before VerifyRenewal.
func ReadRenewal(env *Envelope) (*Renewal, error) {
	if env.PayloadType != PurposeRenewal.PayloadType() {
		return nil, ErrPurpose
	}
	var r Renewal
	if err := decode(env.Payload, &r); err != nil {
		return nil, err
	}
	return &r, r.Check()
}

// VerifyRenewal makes sure that both keys signed what ReadRenewal read, and that
// they are two.
func VerifyRenewal(env *Envelope, current, next crypto.PublicKey) error {
	var keys []Key
	pubs := map[string]crypto.PublicKey{} // by key id: the records were made of them just now
	for _, pub := range []crypto.PublicKey{current, next} {
		key, err := NewKey(PurposeRenewal, pub)
		if err != nil {
			return err
		}
		keys, pubs[key.ID] = append(keys, key), pub
	}
	by := func(k Key, pae, sig []byte) error { return k.verify(pubs[k.ID], pae, sig) }
	// Keys are told apart by the public key, so one key twice is one of two.
	_, _, err := env.verify(PurposeRenewal, keys, by, len(keys))
	return err
}
