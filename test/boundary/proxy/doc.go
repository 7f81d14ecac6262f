// Package proxy has a real NGINX stand in front of a real server, set up by the
// server's own command, and real agents and attackers come through it.
//
// What a device may do is the same with and without it; what is revoked is refused by
// the server at once and by NGINX with its next lists; and no header that anybody sends
// changes who they are. Run it as "make test-boundary", which installs NGINX; the build
// tag keeps it out of "make test".
package proxy
