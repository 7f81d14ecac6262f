package admin

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

var tokenTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestATokenOpensOnlyAsItWasMade(t *testing.T) {
	t.Parallel()
	old, current, foreign := key(t), key(t), key(t)
	ring, err := newKeyRing([][]byte{current, old})
	must(t, err)
	before, err := newKeyRing([][]byte{old})
	must(t, err)
	secret := newSecret()
	good, err := ring.sign(secret, tokenTime, tokenTime.Add(time.Hour))
	must(t, err)
	if got, err := ring.open(good, tokenTime); err != nil || !bytes.Equal(got, secret) {
		t.Fatalf("a good token: %v", err)
	}
	previous, err := before.sign(secret, tokenTime, tokenTime.Add(time.Hour))
	must(t, err)
	if _, err := ring.open(previous, tokenTime); err != nil {
		t.Fatalf("a token under the previous secret: %v", err)
	}
	if _, err := before.open(good, tokenTime); !errors.Is(err, errToken) {
		t.Fatalf("a token under a secret that is not in the ring: %v", err)
	}
	if strings.Contains(good, string(secret)) || bytes.Equal(hashSecret(secret), secret) {
		t.Fatal("the stored hash is the secret")
	}

	// forge makes a token with one thing changed; all else is right.
	forge := func(method jwt.SigningMethod, signWith any, change func(h map[string]any, c *claims)) string {
		c := claims{
			RegisteredClaims: jwt.RegisteredClaims{
				Issuer: tokenIssuer, Audience: jwt.ClaimStrings{tokenAudience},
				IssuedAt: jwt.NewNumericDate(tokenTime), ExpiresAt: jwt.NewNumericDate(tokenTime.Add(time.Hour)),
			},
			Secret: base64.RawURLEncoding.EncodeToString(secret),
		}
		tok := jwt.NewWithClaims(method, &c)
		tok.Header["kid"] = ring[0].id
		if change != nil {
			change(tok.Header, &c)
		}
		s, err := tok.SignedString(signWith)
		must(t, err)
		return s
	}
	if _, err := ring.open(forge(jwt.SigningMethodHS256, current, nil), tokenTime); err != nil {
		t.Fatalf("the forge itself: %v", err)
	}
	with := func(change func(h map[string]any, c *claims)) string {
		return forge(jwt.SigningMethodHS256, current, change)
	}
	for name, bad := range map[string]string{
		"algorithm none":           forge(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil),
		"a longer MAC":             forge(jwt.SigningMethodHS512, current, nil),
		"another's secret":         forge(jwt.SigningMethodHS256, foreign, nil),
		"no key id":                with(func(h map[string]any, _ *claims) { delete(h, "kid") }),
		"an unknown key id":        with(func(h map[string]any, _ *claims) { h["kid"] = "00" }),
		"the other key's id":       with(func(h map[string]any, _ *claims) { h["kid"] = ring[1].id }),
		"a key id that is no text": with(func(h map[string]any, _ *claims) { h["kid"] = 7 }),
		"a critical extension":     with(func(h map[string]any, _ *claims) { h["crit"] = []string{"x"} }),
		"a key of its own":         with(func(h map[string]any, _ *claims) { h["jwk"] = map[string]string{"kty": "oct"} }),
		"another type":             with(func(h map[string]any, _ *claims) { h["typ"] = "at+jwt" }),
		"another issuer":           with(func(_ map[string]any, c *claims) { c.Issuer = "x" }),
		"no issuer":                with(func(_ map[string]any, c *claims) { c.Issuer = "" }),
		"another audience":         with(func(_ map[string]any, c *claims) { c.Audience = jwt.ClaimStrings{"x"} }),
		"one audience too many":    with(func(_ map[string]any, c *claims) { c.Audience = append(c.Audience, "x") }),
		"no audience":              with(func(_ map[string]any, c *claims) { c.Audience = nil }),
		"no end":                   with(func(_ map[string]any, c *claims) { c.ExpiresAt = nil }),
		"an end that is over":      with(func(_ map[string]any, c *claims) { c.ExpiresAt = jwt.NewNumericDate(tokenTime) }),
		"made in the future":       with(func(_ map[string]any, c *claims) { c.IssuedAt = jwt.NewNumericDate(tokenTime.Add(time.Minute)) }),
		"not valid yet":            with(func(_ map[string]any, c *claims) { c.NotBefore = jwt.NewNumericDate(tokenTime.Add(time.Minute)) }),
		"a short session secret":   with(func(_ map[string]any, c *claims) { c.Secret = c.Secret[:8] }),
		"no session secret":        with(func(_ map[string]any, c *claims) { c.Secret = "" }),
		"no signature":             good[:strings.LastIndexByte(good, '.')+1],
		"a part too many":          good + ".",
		"padding":                  good + "=",
		"a space":                  good + " ",
		"far too long":             good + strings.Repeat("A", maxToken),
		"nothing":                  "",
	} {
		if _, err := ring.open(bad, tokenTime); !errors.Is(err, errToken) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestNoSpellingOfASignatureButOneIsTaken(t *testing.T) {
	t.Parallel()
	ring, err := newKeyRing([][]byte{key(t)})
	must(t, err)
	good, err := ring.sign(newSecret(), tokenTime, tokenTime.Add(time.Hour))
	must(t, err)
	// The last character of 43 carries two bits that mean nothing.
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		other := good[:len(good)-1] + string(c)
		if _, err := ring.open(other, tokenTime); other != good && err == nil {
			t.Errorf("a signature that ends in %q instead of %q is taken", c, good[len(good)-1])
		}
	}
}

func TestWeakOrMissingSecretsAreRefused(t *testing.T) {
	t.Parallel()
	for _, secrets := range [][][]byte{nil, {make([]byte, 31)}, {make([]byte, 32), nil}} {
		if _, err := newKeyRing(secrets); err == nil {
			t.Errorf("%d secrets accepted", len(secrets))
		}
	}
}

func FuzzOpenToken(f *testing.F) {
	secret := bytes.Repeat([]byte{7}, 32)
	ring, err := newKeyRing([][]byte{secret})
	must(f, err)
	good, err := ring.sign(bytes.Repeat([]byte{9}, secretSize), tokenTime, tokenTime.Add(time.Hour))
	must(f, err)
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := ring.open(s, tokenTime); err == nil && s != good {
			t.Fatalf("%q opens a session", s)
		}
	})
}
