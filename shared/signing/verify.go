package signing

import (
	"fmt"
	"slices"
)

// Verify returns the payload, exactly the bytes that were verified, and the ids
// of the keys that signed, if at least threshold distinct keys of keys did, for
// this purpose.
//
// Signatures by keys that are not in keys are passed over, since a fleet root
// carries those of two sets. A signature that names one of keys and does not
// verify refuses the whole (ErrSignature). Keys are told apart by the public key,
// not by the record. A record of another purpose never counts, whatever its id.
func (e *Envelope) Verify(p Purpose, keys []Key, threshold int) (payload []byte, signers []string, err error) {
	return e.verify(p, keys, Key.Verify, threshold)
}

// verify is Verify with a way to verify by a key.
func (e *Envelope) verify(p Purpose, keys []Key, by func(k Key, pae, sig []byte) error, threshold int) (payload []byte, signers []string, err error) {
	if err := e.check(); err != nil {
		return nil, nil, err
	}
	if !p.known() || e.PayloadType != p.PayloadType() {
		return nil, nil, ErrPurpose
	}
	if threshold < 1 {
		return nil, nil, fmt.Errorf("%w: a threshold below 1 trusts anyone", ErrThreshold)
	}
	pae := PAE(e.PayloadType, e.Payload)
	counted := map[string]bool{}
	for _, s := range e.Signatures {
		i := slices.IndexFunc(keys, func(k Key) bool { return k.Purpose == p && k.ID == s.KeyID })
		if i < 0 {
			continue
		}
		if err := by(keys[i], pae, s.Sig); err != nil {
			return nil, nil, fmt.Errorf("key %s: %w", keys[i].ID, err)
		}
		if public := string(keys[i].Public); !counted[public] {
			counted[public] = true
			signers = append(signers, keys[i].ID)
		}
	}
	if len(signers) < threshold {
		return nil, nil, fmt.Errorf("%w: %d of %d", ErrThreshold, len(signers), threshold)
	}
	return e.Payload, signers, nil
}
