package assertion

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// jwk is a public key for signatures (RFC 7517 section 4).
type jwk struct {
	KeyType   string `json:"kty"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	Y         string `json:"y,omitempty"`
}

// Set is the JWK set of a purpose (RFC 7517 section 5): the keys that verify what is
// valid now, and the one that is to sign next. ErrPurpose says that there is no such
// set; one without keys is empty.
func (s *Service) Set(ctx context.Context, p signing.Purpose) ([]byte, error) {
	list, err := s.read(ctx, p)
	if err != nil {
		return nil, err
	}
	keys := []jwk{}
	for _, k := range list {
		if !k.served() {
			continue
		}
		j, err := toJWK(k.Key)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", k.ID, err)
		}
		keys = append(keys, j)
	}
	return json.Marshal(map[string][]jwk{"keys": keys})
}

func toJWK(k Key) (jwk, error) {
	pub, err := x509.ParsePKIXPublicKey(k.Public)
	if err != nil {
		return jwk{}, err
	}
	j := jwk{Use: "sig", KeyID: k.ID}
	b64 := base64.RawURLEncoding.EncodeToString
	switch pub := pub.(type) {
	case ed25519.PublicKey: // RFC 8037 section 2
		j.KeyType, j.Algorithm, j.Curve, j.X = "OKP", "EdDSA", "Ed25519", b64(pub)
		return j, nil
	case *ecdsa.PublicKey: // RFC 7518 section 6.2.1: coordinates of full length
		j.KeyType, j.Algorithm, j.Curve = "EC", "ES256", "P-256"
		if pub.Curve == elliptic.P384() {
			j.Algorithm, j.Curve = "ES384", "P-384"
		}
		point, err := pub.Bytes() // 4, X, Y
		if err != nil {
			return jwk{}, err
		}
		half := len(point) / 2
		j.X, j.Y = b64(point[1:1+half]), b64(point[1+half:])
		return j, nil
	}
	return jwk{}, signing.ErrKey
}
