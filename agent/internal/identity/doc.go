// Package identity is the device's key and certificate.
//
// The key is ECDSA P-256, made here, and never leaves the device: nothing in
// this package returns it in a form that could be sent. Where another authority issues
// the certificate, its tools made the key, and both are taken over from their files
// (Pair). On disk it is PKCS#8 in
// PEM with mode 0600; on Windows it is sealed by the system (DPAPI) beside the
// directory's access list. The certificate says what the key's holder is called;
// it is public, and a new one replaces it whole.
//
// Where it is asked for, the key is made in the device's TPM instead (package tpm) and
// does not leave that; the file holds what the TPM encrypted to itself.
//
// There are two slots, so that a key and its certificate are replaced together or
// not at all: a renewal fills the slot that is not in use, and the journal says
// which one is. A key is never replaced (CreateKey refuses to), only its slot
// cleared, and both go when the enrollment goes (Remove). A key that others may
// read is refused: it has to be taken for copied.
package identity
