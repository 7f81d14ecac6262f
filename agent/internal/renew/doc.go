// Package renew gets the device another certificate before the one in use ends, and
// finds the way back when it has ended.
//
// Key and certificate lie in one of two slots. A renewal fills the other one, and
// the journal says how far it is, so that whatever is cut short leaves an identity
// that works:
//
//	none     the slot in use is shown to the server; the other one is empty, or holds
//	         what a crash left, which is cleared away
//	asked    key and certificate request are on the disk: however often it is sent,
//	         it is the same request. The slot in use is shown
//	tried    the certificate is verified and on the disk. The other slot is shown; the
//	         one in use stays
//	settled  the server accepted a heartbeat under it: it is the one in use, and the
//	         old key is removed
//
// A certificate that the server does not know when it is tried is dropped, and the
// device goes on with the one that it has. One that has expired to the server was
// taken by it, and only the answer was lost: it is settled on.
//
// A renewal is begun at two thirds of the certificate's life, earlier or later by a
// tenth of it at most, by a draw that the certificate itself decides; or when the
// server or a command says so. It needs the certificate in use, the key of it and
// the new key. A failure never stops heartbeats.
//
// A recovery is the same for a certificate that has ended. No connection proves the
// device then, so the request goes where enrollments go, signed by the key that was
// last accepted and by the new one, and a person compares the key code before it is
// granted. Counter, epoch, enrollment and pins stay as they are.
//
// Where another authority issues to the device, nothing of this is asked of the server.
// Files watches where that authority's tools leave a new key and certificate, takes them
// over into the other slot and has them tried. The server refuses them until a person
// has let them in, and the device goes on with those that it has, and tries again.
//
// What is verified: as at enrollment, the certificate is of the own new key, names
// this device, and chains to a CA for devices of the fleet root in force. Newer
// roots that come along are believed only as the pinned chain's own.
package renew
