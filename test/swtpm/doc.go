// Package swtpm gives a test a software TPM of its own: a real swtpm process on a socket
// of its own, with its own seeds, which ends with the test. test/postgres/ensure swtpm
// installs it; without it the test fails.
//
// It also speaks to the TPM as a device would, honestly or not, by a hand of its own:
// what the agent does is not used to judge what the server takes.
package swtpm
