// Package year lives a fleet's year: certificates that are renewed hundreds of
// times, authorities that change twice, a server that is down for a week, devices
// that sleep for a month. Time is jumped, the server and its connections are real.
package year
