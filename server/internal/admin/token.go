package admin

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	tokenIssuer   = "sentinel-secure-x"
	tokenAudience = "sentinel-secure-x/admin"

	secretSize   = 32 // of a session
	minJWTSecret = 32 // RFC 7518 section 3.2: as long as the hash
	maxToken     = 1 << 10
)

var errToken = errors.New("not a token of this server")

// claims are all that a token says.
type claims struct {
	jwt.RegisteredClaims
	Secret string `json:"ses"` // of the session, base64url
}

type jwtKey struct {
	id     string
	secret []byte
}

// keyRing signs with its first key and verifies with all of them.
type keyRing []jwtKey

func newKeyRing(secrets [][]byte) (keyRing, error) {
	var ring keyRing
	for _, s := range secrets {
		if len(s) < minJWTSecret {
			return nil, errors.New("a JWT secret must have at least 32 bytes")
		}
		sum := sha256.Sum256(append([]byte("sentinel-secure-x jwt key id\n"), s...))
		ring = append(ring, jwtKey{id: hex.EncodeToString(sum[:8]), secret: s})
	}
	if len(ring) == 0 {
		return nil, errors.New("there is no JWT secret")
	}
	return ring, nil
}

// newSecret makes a session's secret.
func newSecret() []byte {
	secret := make([]byte, secretSize)
	rand.Read(secret)
	return secret
}

// hashSecret is what the database keeps of it. The secret is random and long, so
// that a plain hash cannot be turned around.
func hashSecret(secret []byte) []byte {
	sum := sha256.Sum256(secret)
	return sum[:]
}

// sign makes the token that carries a session's secret.
func (r keyRing) sign(secret []byte, from, until time.Time) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: tokenIssuer, Audience: jwt.ClaimStrings{tokenAudience},
			IssuedAt: jwt.NewNumericDate(from), ExpiresAt: jwt.NewNumericDate(until),
		},
		Secret: base64.RawURLEncoding.EncodeToString(secret),
	})
	t.Header["kid"] = r[0].id
	return t.SignedString(r[0].secret)
}

// open returns the session's secret in a token. Everything about the token is
// fixed (RFC 8725 section 3): one algorithm, one issuer, one audience, an end, and
// no header that we do not know.
func (r keyRing) open(token string, now time.Time) ([]byte, error) {
	if len(token) > maxToken {
		return nil, errToken
	}
	p := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithIssuer(tokenIssuer), jwt.WithAudience(tokenAudience), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithTimeFunc(func() time.Time { return now }), jwt.WithStrictDecoding(),
	)
	var c claims
	if _, err := p.ParseWithClaims(token, &c, r.find); err != nil {
		return nil, errToken
	}
	secret, err := base64.RawURLEncoding.Strict().DecodeString(c.Secret)
	if err != nil || len(secret) != secretSize || len(c.Audience) != 1 {
		return nil, errToken
	}
	return secret, nil
}

func (r keyRing) find(t *jwt.Token) (any, error) {
	if len(t.Header) != 3 || t.Header["typ"] != "JWT" {
		return nil, errToken
	}
	for _, k := range r {
		if t.Header["kid"] == k.id {
			return k.secret, nil
		}
	}
	return nil, errToken
}
