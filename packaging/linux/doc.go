// Package linux holds what the deb and rpm packages run on a host, and the proof
// that it does what the guides say. The units are beside it, in packaging/systemd.
package linux
