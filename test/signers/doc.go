// Package signers runs a real server whose keys are behind programs that sign: one that
// is told to misbehave in every way, and sentinel-pkcs11 with keys in a real SoftHSM
// (build tag signers; "make test-signers" installs what it needs).
package signers
