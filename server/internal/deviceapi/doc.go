// Package deviceapi is the HTTP surface that devices speak to: enrollment and
// heartbeats, on the machine listener.
//
// Who calls is decided at every request, from the certificate that the connection
// proved: its chain once a connection, its dates and its standing in the database
// each time. An expired or unknown certificate therefore gets an answer that the
// agent can act on, instead of a failed handshake.
package deviceapi
