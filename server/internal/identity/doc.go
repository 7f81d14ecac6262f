// Package identity keeps the wishes of devices for a certificate of another key.
//
// A renewal comes while the device's certificate is valid, over a connection that
// proves it; a recovery after it expired, proven by signatures alone. Either is
// signed by the key of the certificate on record and by the new one, which was
// never certified before.
//
// A request is pending while a person must decide, approved until the device comes
// back, issued when the certificate was made, and used at the first heartbeat with
// it: from then on it is the device's only one. Rejected and expired end it in
// between. A renewal is issued at once unless the settings or the device ask for
// a review; a recovery is always reviewed.
//
// A certificate of another authority, where those are taken, comes as a request of
// kind Outside: it is always reviewed, and issued the moment a person agrees, since it
// is there already. Whoever holds it need not hold the device's key, so that it never
// takes the place of an open request.
//
// At most one request of a device is open (pending, approved or issued). A newer
// one takes its place, since only the holder of the device's key can make one: so
// a device that lost what it was about goes on.
package identity
