// Package extsign is the protocol between a program that needs a signature and a
// program that holds the key: one request and one answer, a line of JSON each, over
// standard input and output. docs/signers.md describes it for people who write such
// a program.
//
// The program is started anew for each request, gives one answer and ends. It says
// either what was asked for or why not, never both. Whoever asked verifies the
// signature before it is used; what the program says is never believed.
package extsign
