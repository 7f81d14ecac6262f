// Package statusapi is the HTTP surface that tells which certificates are revoked:
// revocation lists and OCSP, for anyone, on the people side.
//
// Neither needs TLS: what is told is signed, and whoever verifies a certificate must
// not have to verify another one first. Answers may be kept by others for a short
// while, and are then asked for again by their tag, so that a revocation is not hidden
// behind somebody's cache for as long as an answer would hold.
package statusapi
