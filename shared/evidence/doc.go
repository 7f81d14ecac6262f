// Package evidence is the form of what a TPM says: the public areas of the keys
// that are taken, quotes, certifications and the signatures over them, and what a
// quote must be about.
//
// A parser reads exactly one structure of the TPM 2.0 Library (Part 2: Structures)
// and consumes all of it. Only one form of each is taken: ECDSA on P-256 with
// SHA-256, keys that never leave their TPM, the SHA-256 bank of PCRs 0 to 23. So
// nothing in a message chooses an algorithm, and two readers never see two things.
//
// A signature is checked over the very bytes that are parsed afterwards. A quote
// or a certification is about one nonce, one device and one public key: that is
// its qualifying data (QuoteData, CertifyData), and each kind has its own.
//
// Nothing here speaks to a TPM or decides whether to trust one.
package evidence
