// Package boundary has other people's programs judge what the server says at its
// boundary: OpenSSL and NSS (certutil, crlutil), beside Go.
//
// A real server tells of 200 certificates in every state in which one can be, by
// revocation list and by OCSP; each judge must come to the verdict that is expected
// of it, and again after the issuing authorities were changed. Run it as "make
// test-boundary", which installs the judges; the build tag keeps it out of "make
// test".
package boundary
