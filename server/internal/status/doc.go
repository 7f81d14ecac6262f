// Package status writes what tells others which certificates an authority has
// revoked: lists (CRLs of version 2, RFC 5280 section 5) and answers to single
// questions (OCSP, RFC 6960 in the profile of RFC 5019). It reads the questions, too.
//
// Everything here is a function of values: whether a certificate is revoked, and
// which number a list has, is decided by the caller. What is signed is checked
// before it leaves, by code that shares nothing with the code that wrote it: lists
// are written by crypto/x509 and read octet by octet here, answers are written here
// and read by golang.org/x/crypto/ocsp and encoding/asn1.
package status
