package signing

import "errors"

// Each error is named for what the caller does about it. Their texts never hold
// what was sent.
var (
	// ErrMalformed: the bytes are not an envelope or document of the form
	// expected. Refuse and report; asking again brings the same bytes.
	ErrMalformed = errors.New("malformed signed document")
	// ErrPurpose: an envelope, key or signer of another purpose. Someone presents
	// one thing as another.
	ErrPurpose = errors.New("signed for another purpose")
	// ErrSignature: a signature names a key that is trusted and does not verify
	// under it: the content was changed.
	ErrSignature = errors.New("signature does not verify")
	// ErrThreshold: too few distinct trusted keys signed.
	ErrThreshold = errors.New("too few trusted keys signed")
	// ErrKey: a key record contradicts itself or is of a type not taken.
	ErrKey = errors.New("key record is not valid")
	// ErrRule: a document breaks a rule of its own kind.
	ErrRule = errors.New("signed document breaks a rule")
	// ErrFleet: a document of another fleet.
	ErrFleet = errors.New("document belongs to another fleet")
	// ErrRootDigest: not the fleet root that was pinned, or a bundle made under a
	// root that is not in the pinned chain.
	ErrRootDigest = errors.New("fleet root is not the pinned one")
	// ErrRollback: older than what is already believed. An alarm, not a retry.
	ErrRollback = errors.New("version is behind the one already trusted")
	// ErrGap: a fleet root newer than the next one. Fetch those in between.
	ErrGap = errors.New("fleet roots in between are missing")
	// ErrNotYetValid: issued in the future; a clock is wrong. VerifyBundle returns the
	// bundle beside it.
	ErrNotYetValid = errors.New("document is not valid yet")
	// ErrTarget: a command for other devices, or for this one before it was enrolled anew.
	ErrTarget = errors.New("this device is not a target")
	// ErrKind: a kind of command that is not known, or that no rule allows.
	ErrKind = errors.New("kind of command is not allowed")
	// ErrParameter: a parameter that the kind does not take, or beyond what is allowed.
	ErrParameter = errors.New("parameter is not allowed")
	// ErrExpired: past its time. VerifyBundle returns the bundle beside it.
	ErrExpired = errors.New("document has expired")
)
