package signing

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Limits of an envelope.
const (
	MaxEnvelope = 64 << 10 // bytes of JSON
	// MaxSignatures is enough for a change of fleet root, which carries those of
	// the old and of the new keys: twice MaxKeys.
	MaxSignatures = 16

	maxPayloadType = 128
	maxKeyID       = 64
	maxSignature   = 256 // the longest taken is P-384 in DER, 104 bytes
)

// Signature is one signature of an Envelope.
type Signature struct {
	KeyID string `json:"keyid"` // Key.ID of the key that made it
	Sig   []byte `json:"sig"`
}

// Envelope is a DSSE v1 envelope: bytes, their type, and signatures over both.
// Nothing in it is to be believed before Verify.
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"`
	Signatures  []Signature `json:"signatures"`
}

// PAE is the pre-authentication encoding, the bytes that are signed (DSSE v1,
// "Signature Definition"). The lengths keep type and payload from running into
// each other.
func PAE(payloadType string, payload []byte) []byte {
	b := make([]byte, 0, len("DSSEv1")+2*(2+20)+len(payloadType)+len(payload))
	b = append(b, "DSSEv1 "...)
	b = strconv.AppendInt(b, int64(len(payloadType)), 10)
	b = append(b, ' ')
	b = append(b, payloadType...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(payload)), 10)
	b = append(b, ' ')
	return append(b, payload...)
}

// ParseEnvelope reads the JSON form of an envelope. It is stricter than DSSE
// asks: members that are unknown, missing, doubled or spelt otherwise are
// refused, base64 has its one standard spelling, and no keyid stands twice.
func ParseEnvelope(data []byte) (*Envelope, error) {
	if len(data) > MaxEnvelope {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxEnvelope)
	}
	if e, ok := written(data); ok {
		return e, nil
	}
	// Maps, since a struct would take a member in any case of letters.
	var members map[string]json.RawMessage
	if err := protocol.Decode(data, &members); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var payload string
	var signatures []map[string]string
	var e Envelope
	into := map[string]any{"payloadType": &e.PayloadType, "payload": &payload, "signatures": &signatures}
	if len(members) != len(into) {
		return nil, fmt.Errorf("%w: an envelope has exactly payloadType, payload and signatures", ErrMalformed)
	}
	for name, v := range into {
		// A missing member is an empty value here, which is not JSON.
		if err := protocol.Decode(members[name], v); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, name, err)
		}
	}
	var err error
	if e.Payload, err = decodeBase64(payload); err != nil {
		return nil, fmt.Errorf("%w: payload: %w", ErrMalformed, err)
	}
	if len(signatures) > MaxSignatures {
		return nil, fmt.Errorf("%w: more than %d signatures", ErrMalformed, MaxSignatures)
	}
	for _, s := range signatures {
		sig, err := decodeBase64(s["sig"])
		if err != nil {
			return nil, fmt.Errorf("%w: sig: %w", ErrMalformed, err)
		}
		if _, ok := s["keyid"]; !ok || len(s) != 2 {
			return nil, fmt.Errorf("%w: a signature has exactly keyid and sig", ErrMalformed)
		}
		e.Signatures = append(e.Signatures, Signature{KeyID: s["keyid"], Sig: sig})
	}
	return &e, e.check()
}

// written reads an envelope that is byte for byte what Marshal writes, as those of
// this product are: then nothing else can be wrong with its form.
func written(data []byte) (*Envelope, bool) {
	var e Envelope
	if json.Unmarshal(data, &e) != nil {
		return nil, false
	}
	again, err := e.Marshal()
	return &e, err == nil && bytes.Equal(again, data)
}

// Marshal writes the envelope as JSON, as ParseEnvelope reads it.
func (e *Envelope) Marshal() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	data, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("write envelope: %w", err)
	}
	if len(data) > MaxEnvelope {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxEnvelope)
	}
	return data, nil
}

// check holds the envelope to form; it says nothing of the signatures' worth.
func (e *Envelope) check() error {
	if e.PayloadType == "" || len(e.PayloadType) > maxPayloadType {
		return fmt.Errorf("%w: payloadType must have 1 to %d bytes", ErrMalformed, maxPayloadType)
	}
	if len(e.Payload) == 0 || len(e.Payload) > MaxEnvelope {
		return fmt.Errorf("%w: payload is empty or too long", ErrMalformed)
	}
	if len(e.Signatures) == 0 || len(e.Signatures) > MaxSignatures {
		return fmt.Errorf("%w: an envelope has 1 to %d signatures", ErrMalformed, MaxSignatures)
	}
	seen := make(map[string]bool, len(e.Signatures))
	for _, s := range e.Signatures {
		if s.KeyID == "" || len(s.KeyID) > maxKeyID || len(s.Sig) == 0 || len(s.Sig) > maxSignature {
			return fmt.Errorf("%w: a signature needs a keyid and a sig of usual length", ErrMalformed)
		}
		if seen[s.KeyID] {
			return fmt.Errorf("%w: a keyid stands twice", ErrMalformed)
		}
		seen[s.KeyID] = true
	}
	return nil
}

// decodeBase64 takes the one standard spelling only. Comparing with the
// encoding of the result also refuses what base64.Encoding.Strict lets pass:
// line breaks.
func decodeBase64(s string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || base64.StdEncoding.EncodeToString(b) != s {
		return nil, fmt.Errorf("not standard base64 with padding")
	}
	return b, nil
}
