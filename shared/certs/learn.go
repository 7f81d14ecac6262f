package certs

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"time"
)

// learnTimeout bounds a handshake whose context has no earlier deadline.
const learnTimeout = 15 * time.Second

// Dial makes a plain connection, as net.Dialer does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// LearnCA finds the server's issuing CA by its pinned fingerprint (SHA-256 of the
// certificate's DER in hex), so that a person needs to carry 64 characters and
// not a file. The caller then connects anew with ClientTLS and that CA.
//
// No connection is trusted on the way: the handshake is made with an empty pool
// and has to fail. What the server showed in it is public, and of that only the
// certificate with the pinned digest is believed, if it is a CA for servers and
// the server's own certificate verifies under it for serverName. Another CA is
// ErrPinMismatch, naming both fingerprints. The connection is made by dial, since
// there may be a proxy on the way; nil connects directly.
func LearnCA(ctx context.Context, dial Dial, address, serverName, fingerprint string) (*x509.Certificate, error) {
	if serverName == "" { // x509 would then compare no name at all
		return nil, errors.New("the server's name is missing")
	}
	pin, err := hex.DecodeString(fingerprint)
	if err != nil || len(pin) != sha256.Size {
		return nil, fmt.Errorf("%w: the pin is not a SHA-256 in hex", ErrPinMismatch)
	}
	shown, err := showCertificates(ctx, dial, address, serverName)
	if err != nil {
		return nil, err
	}
	var ca *x509.Certificate
	got := "none"
	for i, c := range shown {
		sum := sha256.Sum256(c.Raw)
		match := subtle.ConstantTimeCompare(sum[:], pin) == 1
		if match && i == 0 {
			return nil, fmt.Errorf("%w: the pin is that of the server's own certificate", ErrNotCA)
		}
		if match {
			ca = c
		}
		if i == 1 || len(shown) == 1 { // its issuer, by the order of RFC 8446 section 4.4.2
			got = hex.EncodeToString(sum[:])
		}
	}
	if ca == nil {
		return nil, fmt.Errorf("%w: the server shows %s, pinned is %s", ErrPinMismatch, got, hex.EncodeToString(pin))
	}
	if len(ca.Raw) > MaxCertificate || !isCA(ca) || !hasUsage(ca, x509.ExtKeyUsageServerAuth) {
		return nil, fmt.Errorf("%w: the pinned certificate may not issue to servers", ErrNotCA)
	}
	if err := verifyServer(shown[0], ca, serverName, time.Time{}); err != nil {
		return nil, fmt.Errorf("server certificate under the pinned CA: %w", err)
	}
	return ca, nil
}

// showCertificates returns what the server presents, own certificate first.
func showCertificates(ctx context.Context, dial Dial, address, serverName string) ([]*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, learnTimeout)
	defer cancel()
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("look at the server's certificates: %w", err)
	}
	defer func() { _ = conn.Close() }()
	err = tls.Client(conn, ClientTLS(nil, serverName, nil)).HandshakeContext(ctx)
	if err == nil {
		return nil, errors.New("handshake without any trusted CA succeeded")
	}
	var unverified *tls.CertificateVerificationError
	if !errors.As(err, &unverified) || len(unverified.UnverifiedCertificates) == 0 {
		return nil, fmt.Errorf("look at the server's certificates: %w", err)
	}
	return unverified.UnverifiedCertificates, nil
}

// verifyServer is what a TLS client with this one CA would decide, at a time,
// or now if it is zero.
func verifyServer(leaf, ca *x509.Certificate, serverName string, at time.Time) error {
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:         pool(ca),
		Intermediates: x509.NewCertPool(),
		DNSName:       serverName,
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}
