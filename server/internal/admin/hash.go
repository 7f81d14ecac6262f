package admin

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
)

// cost is what one hash takes.
type cost struct {
	passes  uint32
	memory  uint32 // KiB
	threads uint8
}

// passwordCost is the second recommended option of RFC 9106 section 4.
var passwordCost = cost{passes: 3, memory: 64 << 10, threads: 4}

// cheapCost is for tests, which sign in hundreds of times.
var cheapCost = cost{passes: 1, memory: 64, threads: 1}

const (
	saltSize = 16
	tagSize  = 32

	// maxHashing hashes run at once: 128 MiB, however many people (or machines)
	// sign in.
	maxHashing = 2
	// maxHashWait is how long a sign-in stands in line for one of them.
	maxHashWait = 5 * time.Second
)

var (
	errHashForm = errors.New("a stored password hash has not the form of Argon2id")
	errBusy     = errors.New("too many sign-ins at once")
)

// hasher makes and checks password hashes, few at a time.
type hasher struct {
	cost  cost
	slots chan struct{}
	key   func(password, salt []byte, passes, memory uint32, threads uint8, size uint32) []byte
	dummy string // stands in for the hash of an account that does not exist
}

func newHasher(c cost) *hasher {
	h := &hasher{cost: c, slots: make(chan struct{}, maxHashing), key: argon2.IDKey}
	h.dummy = h.dummyHash()
	return h
}

// dummyHash costs as much to check as a real one and belongs to no password that
// anyone knows: its tag is random.
func (h *hasher) dummyHash() string {
	var salt [saltSize]byte
	var tag [tagSize]byte
	rand.Read(salt[:])
	rand.Read(tag[:])
	return encodeHash(h.cost, salt[:], tag[:])
}

// hash hashes a new password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	var salt [saltSize]byte
	rand.Read(salt[:])
	tag, err := h.derive(ctx, password, salt[:], h.cost)
	if err != nil {
		return "", err
	}
	return encodeHash(h.cost, salt[:], tag), nil
}

// matches reports whether the password belongs to the hash.
func (h *hasher) matches(ctx context.Context, hash, password string) (bool, error) {
	c, salt, want, err := parseHash(hash)
	if err != nil {
		return false, err
	}
	tag, err := h.derive(ctx, password, salt, c)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(tag, want) == 1, nil
}

func (h *hasher) derive(ctx context.Context, password string, salt []byte, c cost) ([]byte, error) {
	wait := time.NewTimer(maxHashWait)
	defer wait.Stop()
	select {
	case h.slots <- struct{}{}:
	case <-wait.C:
		return nil, errBusy
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-h.slots }()
	return h.key([]byte(password), salt, c.passes, c.memory, c.threads, tagSize), nil
}

var b64 = base64.RawStdEncoding.Strict()

// encodeHash writes the PHC string form, $argon2id$v=19$m=..,t=..,p=..$salt$tag.
func encodeHash(c cost, salt, tag []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.memory, c.passes, c.threads,
		b64.EncodeToString(salt), b64.EncodeToString(tag))
}

// parseHash reads what encodeHash writes, and nothing that would cost more than
// a server can bear.
func parseHash(s string) (c cost, salt, tag []byte, err error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 {
		return c, nil, nil, errHashForm
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.memory, &c.passes, &c.threads); err != nil {
		return c, nil, nil, errHashForm
	}
	if c.passes < 1 || c.passes > 16 || c.threads < 1 || c.threads > 16 || c.memory < 8*uint32(c.threads) || c.memory > 256<<10 {
		return c, nil, nil, errHashForm
	}
	salt, errSalt := b64.DecodeString(parts[4])
	tag, errTag := b64.DecodeString(parts[5])
	if errSalt != nil || errTag != nil || len(salt) != saltSize || len(tag) != tagSize || encodeHash(c, salt, tag) != s {
		return c, nil, nil, errHashForm
	}
	return c, salt, tag, nil
}
