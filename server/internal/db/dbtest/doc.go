// Package dbtest gives a test a database of its own, on each engine that the server
// supports, with the present schema or empty.
//
// # Where PostgreSQL comes from
//
// One throw-away PostgreSQL serves a whole run of many test processes: the
// script test/postgres/with starts it, and names it in SENTINEL_TEST_POSTGRES.
// A test that is run by hand has no such server; then the first call in a
// process starts one through test/postgres/serve, for that process alone.
//
// # Invariants
//
// No two tests share a database. A database goes when its test ends. A server
// that a process started stops when the process ends, also when it is killed:
// it runs for as long as a pipe stays open whose other end only that process
// holds.
//
// PostgreSQL that cannot be had fails the test; it is never skipped.
//
// The schema is made once and copied: applying the migrations costs more than most
// tests do. The package does not import db, whose own tests use it.
package dbtest
