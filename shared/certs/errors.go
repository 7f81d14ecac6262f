package certs

import "errors"

// What is wrong with a request (ParseRequest). The device's person must act.
var (
	ErrCSRMalformed = errors.New("not a certificate request in the one form taken")
	ErrCSRSignature = errors.New("certificate request is not signed by its own key")
	ErrWeakKey      = errors.New("key must be ECDSA P-256 or P-384, or Ed25519")
	ErrWrongName    = errors.New("common name of the certificate request is not the device_id")
	ErrExtraNames   = errors.New("certificate request asks for more than its name")
)

// What is wrong with a certificate presented by a caller (VerifyDevice).
var (
	ErrNoCertificate = errors.New("no client certificate")
	ErrUnknownIssuer = errors.New("certificate is not from a CA trusted here")
	ErrNotDevice     = errors.New("certificate does not name exactly one device")
	ErrExpired       = errors.New("certificate has expired")
	ErrNotYetValid   = errors.New("certificate is not valid yet")
)

// What keeps a certificate from being made, or from leaving once made.
var (
	ErrTemplate     = errors.New("certificate cannot be made as asked")
	ErrBeyondIssuer = errors.New("certificate would outlive its issuer")
	ErrNotCA        = errors.New("certificate is not that of a CA fit for this")
	ErrLint         = errors.New("certificate is not what was asked for")
)

// ErrPinMismatch says that the server does not show the CA whose fingerprint is
// pinned: another server, or someone in between. See LearnCA.
var ErrPinMismatch = errors.New("server's CA is not the pinned one")
