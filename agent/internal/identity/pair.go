package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
)

// ErrPair means that the files of a key and a certificate that another authority issued
// cannot be used.
var ErrPair = errors.New("the key and certificate given cannot be used")

// Pair is a key with the chain that another authority issued for it.
type Pair struct {
	Leaf *x509.Certificate

	key   *ecdsa.PrivateKey
	chain [][]byte
}

// Public is the key's public half.
func (p *Pair) Public() crypto.PublicKey { return p.key.Public() }

// ReadPair reads the files that the authority's tools leave: the certificate with what
// issued it, and its key (ECDSA on P-256, in PKCS#8 or the older form), which nobody else
// may read. ErrPair, or ErrExposed.
func ReadPair(certificateFile, keyFile string) (*Pair, error) {
	chain, err := readChain(certificateFile)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrPair, certificateFile, err)
	}
	data, err := files.ReadPrivate(keyFile, maxKey)
	switch {
	case errors.Is(err, files.ErrExposed):
		return nil, fmt.Errorf("%w: %w", ErrExposed, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrPair, err)
	}
	defer clear(data)
	key, err := ParsePairKey(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrPair, keyFile, err)
	}
	if !Matches(chain[0], key) {
		return nil, fmt.Errorf("%w: the certificate is of another key", ErrPair)
	}
	p := &Pair{Leaf: chain[0], key: key}
	for _, c := range chain {
		p.chain = append(p.chain, c.Raw)
	}
	return p, nil
}

func readChain(path string) ([]*x509.Certificate, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxChain+1))
	if err != nil || len(data) > maxChain {
		return nil, errors.New("it cannot be read, or is too long")
	}
	return ParseChain(data)
}

// ParsePairKey reads one private key in PEM. Blocks of parameters, which some tools
// write beside it, are passed over.
func ParsePairKey(data []byte) (*ecdsa.PrivateKey, error) {
	var key *ecdsa.PrivateKey
	for len(bytes.TrimSpace(data)) > 0 {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		if block.Type == "EC PARAMETERS" {
			continue
		}
		if key != nil || len(block.Headers) != 0 {
			return nil, errors.New("it is not one private key in PEM, without a passphrase")
		}
		var parsed any
		var err error
		switch block.Type {
		case keyType:
			parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY": // RFC 5915 section 4
			parsed, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			err = errors.New("another block")
		}
		clear(block.Bytes)
		ec, ok := parsed.(*ecdsa.PrivateKey)
		if err != nil || !ok || ec == nil || ec.Curve != elliptic.P256() { // never the reader's text
			return nil, errors.New("it is not an ECDSA key on P-256")
		}
		key = ec
	}
	if key == nil {
		return nil, errors.New("it is not one private key in PEM")
	}
	return key, nil
}

// StoreIn puts the pair into a slot, in place of what is there. The key is stored like
// one that was made here.
func (p *Pair) StoreIn(dir string, slot journal.Slot) error {
	if err := Clear(dir, slot); err != nil {
		return err
	}
	if err := storeKey(filepath.Join(dir, in(slot, keyFile)), p.key); err != nil {
		return err
	}
	return StoreChainIn(dir, slot, p.chain)
}

// Fingerprint is that of the certificate.
func (p *Pair) Fingerprint() string { return certs.Fingerprint(p.Leaf.Raw) }
