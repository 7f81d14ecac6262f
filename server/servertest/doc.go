// Package servertest starts the real server on loopback for tests of both
// binaries: the same settings, listeners, database and upkeep as in production,
// with the clock and the database chosen by the test.
//
// A Person calls the admin API as an operator does. A Device speaks the device
// protocol over its own mutual TLS connection, honestly or not.
package servertest
