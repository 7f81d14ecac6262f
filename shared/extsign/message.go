package extsign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Version is the one version of the protocol.
const Version = 1

// Limits of what is sent each way.
const (
	// MaxData is the longest that is signed in one go: an envelope has 64 KiB, and of
	// a revocation list only the digest is sent.
	MaxData = 256 << 10
	// MaxRequest is MaxData in base64, and the rest.
	MaxRequest = 512 << 10
	// MaxAnswer holds any signature or public key many times over.
	MaxAnswer = 4 << 10

	maxPurpose = 64
	maxKey     = 256 // bytes of PKIX DER; P-384 has 120
	maxError   = 400
)

// ErrMalformed says that bytes are not a message of the protocol.
var ErrMalformed = errors.New("not a message of the signer protocol")

// Operation is what is asked for.
type Operation string

// The operations.
const (
	PublicKey Operation = "public-key" // the public key of the purpose
	Sign      Operation = "sign"       // a signature with that key
)

// What Request.Data is.
const (
	Message = "message" // the message itself: Ed25519
	Digest  = "digest"  // its digest, of the algorithm's hash: ECDSA
)

// Request asks for one thing.
type Request struct {
	Version   int       `json:"version"`
	Operation Operation `json:"operation"`
	Purpose   string    `json:"purpose"`

	// Of Sign only.
	PublicKey []byte            `json:"public_key,omitempty"` // PKIX DER of the key that is to sign
	Algorithm signing.Algorithm `json:"algorithm,omitempty"`
	Input     string            `json:"input,omitempty"`
	Data      []byte            `json:"data,omitempty"`
}

// Answer is what came of it: exactly one of its three.
type Answer struct {
	Version   int    `json:"version"`
	PublicKey []byte `json:"public_key,omitempty"` // PKIX DER
	Signature []byte `json:"signature,omitempty"`  // Ed25519: 64 bytes; ECDSA: ASN.1 DER (RFC 3279 section 2.2.3)
	Error     string `json:"error,omitempty"`      // for people; at most 400 bytes of it are shown
}

// Method is how a public key signs here: the name of the algorithm, the hash that
// is applied before (0: none), and what Request.Input says. Other keys than those that
// package signing takes are signing.ErrKey.
func Method(pub crypto.PublicKey) (algorithm signing.Algorithm, hash crypto.Hash, input string, err error) {
	switch pub := pub.(type) {
	case ed25519.PublicKey:
		return signing.Ed25519, 0, Message, nil
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256():
			return signing.ECDSAP256, crypto.SHA256, Digest, nil
		case elliptic.P384():
			return signing.ECDSAP384, crypto.SHA384, Digest, nil
		}
	}
	return "", 0, "", fmt.Errorf("%w: neither Ed25519 nor ECDSA with P-256 or P-384", signing.ErrKey)
}

// Marshal writes the request as one line.
func (r *Request) Marshal() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	data, err := json.Marshal(r)
	return append(data, '\n'), err
}

// ReadRequest reads a request to its end, and no more than one may have.
func ReadRequest(in io.Reader) (*Request, error) {
	data, err := io.ReadAll(io.LimitReader(in, MaxRequest+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxRequest {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxRequest)
	}
	var r Request
	if err := protocol.Decode(data, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return &r, r.check()
}

func (r *Request) check() error {
	if r.Version != Version {
		return fmt.Errorf("%w: its version is not %d", ErrMalformed, Version)
	}
	if r.Purpose == "" || len(r.Purpose) > maxPurpose || strings.Trim(r.Purpose, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("%w: purpose is not lower-case words joined by '-'", ErrMalformed)
	}
	switch r.Operation {
	case PublicKey:
		if len(r.PublicKey)+len(r.Algorithm)+len(r.Input)+len(r.Data) > 0 {
			return fmt.Errorf("%w: %s has a member of %s", ErrMalformed, PublicKey, Sign)
		}
		return nil
	case Sign:
	default:
		return fmt.Errorf("%w: an operation that is not known", ErrMalformed)
	}
	want := map[signing.Algorithm]struct {
		input string
		size  int // of a digest
	}{signing.Ed25519: {Message, 0}, signing.ECDSAP256: {Digest, 32}, signing.ECDSAP384: {Digest, 48}}
	w, known := want[r.Algorithm]
	switch {
	case !known || r.Input != w.input:
		return fmt.Errorf("%w: algorithm and input do not go together", ErrMalformed)
	case w.size > 0 && len(r.Data) != w.size:
		return fmt.Errorf("%w: the digest has not the length of its algorithm's", ErrMalformed)
	case len(r.Data) == 0 || len(r.Data) > MaxData:
		return fmt.Errorf("%w: data must have 1 to %d bytes", ErrMalformed, MaxData)
	case len(r.PublicKey) == 0 || len(r.PublicKey) > maxKey:
		return fmt.Errorf("%w: public_key must have 1 to %d bytes of DER", ErrMalformed, maxKey)
	}
	return nil
}

// ReadAnswer reads the answer to an operation: one line, and nothing after it. An
// answer that says why not is no error here.
func ReadAnswer(data []byte, to Operation) (*Answer, error) {
	if len(data) > MaxAnswer {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxAnswer)
	}
	var a Answer
	if err := protocol.Decode(data, &a); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if bytes.ContainsRune(bytes.TrimRight(data, "\r\n"), '\n') {
		return nil, fmt.Errorf("%w: more than one line", ErrMalformed)
	}
	if a.Version != Version {
		return nil, fmt.Errorf("%w: its version is not %d", ErrMalformed, Version)
	}
	given := map[string]bool{"error": a.Error != "", string(PublicKey): len(a.PublicKey) > 0, string(Sign): len(a.Signature) > 0}
	n := 0
	for _, is := range given {
		if is {
			n++
		}
	}
	if n != 1 || !given["error"] && !given[string(to)] {
		return nil, fmt.Errorf("%w: an answer holds either what was asked for or an error", ErrMalformed)
	}
	if len(a.PublicKey) > maxKey || len(a.Signature) > maxKey {
		return nil, fmt.Errorf("%w: longer than any key or signature", ErrMalformed)
	}
	a.Error = Printable(a.Error, maxError)
	return &a, nil
}

// Printable is text of a stranger in a form that can be shown: one line of printable
// characters, at most limit bytes.
func Printable(text string, limit int) string {
	if len(text) > limit {
		text = text[:limit]
	}
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, text)
	return strings.Join(strings.Fields(clean), " ")
}
