// Package nginx puts NGINX in front of this server and keeps it there.
//
// The server writes what NGINX goes by into its data directory (Material): the
// certificate of the machines' name, of the server's own authority, which devices
// believe; the authorities of devices; a revocation list of each. A command that runs
// as root puts it beside NGINX's configuration, tests it, and has NGINX take it over.
// The two are apart, since the server may not touch NGINX, and whoever owns the server
// must not come to own NGINX by what lies in its data directory: nothing is taken over
// that is not read and checked first, and only what was read is written.
//
// Invariants:
//
//   - A change is whole or none: what NGINX does not take is undone, and what stood
//     there before stands there again, and is in force.
//   - A revocation list never gives way to an older one.
//   - NGINX is reloaded only for something new: a reload has each device connect anew.
//     That is a revocation, another certificate or authority, or lists that are half
//     through their time.
//   - Long before a list ends that NGINX goes by, somebody hears of it.
package nginx
