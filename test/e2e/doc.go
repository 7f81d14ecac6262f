// Package e2e holds tests of the whole product: the real server on loopback, the
// real agent and the real command line as processes of their own.
package e2e
