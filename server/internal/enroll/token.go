package enroll

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Limits of a token.
const (
	MaxTokenUses = 100_000
	MaxTokenLife = 365 * 24 * time.Hour
	MaxLabels    = 32
)

// tokenPrefix makes a token recognisable to people and to secret scanners.
const tokenPrefix = "sxe_"

// Refusals of a token.
var (
	ErrTokenUnknown = errors.New("the enrollment token is not known here")
	ErrTokenUsedUp  = errors.New("every use of the enrollment token is taken")
	ErrTokenExpired = errors.New("the enrollment token has expired")
	ErrTokenRevoked = errors.New("the enrollment token was revoked")
	ErrTokenEnded   = errors.New("the enrollment token was revoked before")
	ErrTokenTerms   = errors.New("the enrollment token cannot be made like this")
)

// NewToken is what an operator asks for.
type NewToken struct {
	Note       string
	Uses       int64
	Life       time.Duration
	DeviceName string
	Owner      string
	Labels     map[string]string
	Sensitive  bool
}

// Check holds the terms to their limits.
func (n *NewToken) Check() error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrTokenTerms}, args...)...)
	}
	if n.Uses < 1 || n.Uses > MaxTokenUses {
		return fail("uses must be 1 to %d", MaxTokenUses)
	}
	if n.Life < time.Minute || n.Life > MaxTokenLife {
		return fail("its life must be one minute to 365 days")
	}
	if n.DeviceName != "" && n.Uses != 1 {
		return fail("a name is for one device, so uses must be 1")
	}
	for name, text := range map[string]string{"note": n.Note, "device name": n.DeviceName, "owner": n.Owner} {
		if err := protocol.CheckText(name, text, 200); err != nil {
			return fail("%v", err)
		}
	}
	return CheckLabels(n.Labels)
}

// CheckLabels holds labels to their limits: at most MaxLabels, keys of a-z, 0-9,
// '.', '_' and '-', values of printable text.
func CheckLabels(labels map[string]string) error {
	if len(labels) > MaxLabels {
		return fmt.Errorf("%w: more than %d labels", ErrTokenTerms, MaxLabels)
	}
	for k, v := range labels {
		if protocol.CheckDeviceID(k) != nil {
			return fmt.Errorf("%w: a label's key must be 1 to 64 of a-z, 0-9, '.', '_' and '-'", ErrTokenTerms)
		}
		if err := protocol.CheckText("the label "+k, v, 200); err != nil {
			return fmt.Errorf("%w: %w", ErrTokenTerms, err)
		}
	}
	return nil
}

// newSecret makes a token's secret: 256 random bits.
func newSecret() string {
	var b [32]byte
	rand.Read(b[:])
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// hash is how a secret is stored and found. A fast hash is enough for a value
// with 256 bits of chance in it; the look-up is by hash, so no comparison leaks.
func hash(secret string) []byte {
	sum := sha256.Sum256([]byte(strings.TrimSpace(secret)))
	return sum[:]
}

// Usable says whether the token may be used now.
func (t *Token) Usable(now time.Time) error {
	switch {
	case t.RevokedAt != 0:
		return ErrTokenRevoked
	case db.At(now) >= t.ExpiresAt:
		return ErrTokenExpired
	case t.Uses >= t.MaxUses:
		return ErrTokenUsedUp
	}
	return nil
}

// Standing names what Usable says: usable, used-up, expired or revoked.
func (t *Token) Standing(now time.Time) string {
	switch err := t.Usable(now); {
	case errors.Is(err, ErrTokenRevoked):
		return "revoked"
	case errors.Is(err, ErrTokenExpired):
		return "expired"
	case errors.Is(err, ErrTokenUsedUp):
		return "used-up"
	}
	return "usable"
}
