package signing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Digest names a payload: lower-case hex of its SHA-256.
func Digest(payload []byte) string {
	sum := sha256.Sum256(payload)
	return hex.EncodeToString(sum[:])
}

// decode reads a signed document. It has one form, the one that encode writes,
// so that no two readers can see two documents in it (a name in other letters, a
// null, a number spelt otherwise) and no member can be left out in silence.
func decode(payload []byte, v any) error {
	if err := protocol.Decode(payload, v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	again, err := json.Marshal(v)
	if err != nil || !bytes.Equal(again, payload) {
		return fmt.Errorf("%w: not in the one form that it is written in", ErrMalformed)
	}
	return nil
}

// write is a document's payload, after making sure that it reads back.
func write(p Purpose, document, blank any) ([]byte, error) {
	payload, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", p, err)
	}
	if err := decode(payload, blank); err != nil {
		return nil, fmt.Errorf("write %s: %w", p, err)
	}
	return payload, nil
}

// seal writes a document and signs it.
func seal(ctx context.Context, p Purpose, document, blank any, signers []Signer) (*Envelope, error) {
	payload, err := write(p, document, blank)
	if err != nil {
		return nil, err
	}
	return Seal(ctx, p, payload, signers...)
}

// stamp brings a time into the form of signed documents.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

func checkTime(name string, t time.Time) error {
	if t.IsZero() {
		return fmt.Errorf("%w: %s is missing", ErrRule, name)
	}
	if _, offset := t.Zone(); offset != 0 || !t.Equal(stamp(t)) {
		return fmt.Errorf("%w: %s is not in UTC and whole microseconds", ErrRule, name)
	}
	return nil
}

func checkVersion(v int64) error {
	if v < 1 || v > protocol.MaxCounter {
		return fmt.Errorf("%w: version must be 1 to %d", ErrRule, int64(protocol.MaxCounter))
	}
	return nil
}

func checkDigest(name, digest string) error {
	b, err := hex.DecodeString(digest)
	if err != nil || len(b) != sha256.Size || hex.EncodeToString(b) != digest {
		return fmt.Errorf("%w: %s must be a SHA-256 in lower-case hex", ErrRule, name)
	}
	return nil
}
