// Package keysapi is the HTTP surface that shows others the public keys which verify
// this server's assertions, for anyone, on the people side.
package keysapi
