// Package link is the conversation with the server: verified TLS, one request at
// a time, and the heartbeat that says every minute that the device is there.
//
// A Client trusts the CAs that it is given and the exact name in the server's
// address, reads no more than the protocol allows, and never sends a request
// twice by itself. What comes back is an answer, a *RefusalError (the server said no,
// and why), or an error that says which side of the wire failed: ErrNoAnswer,
// ErrNotServer, ErrBadAnswer.
//
// A heartbeat goes: take the next counter from the journal (it is on the disk as
// used before it is sent), send once, store what the answer brought. A heartbeat
// whose answer was lost is not sent again; the next one has the next counter.
//
// What follows an outcome is one of five reactions:
//
//	accepted   the next one after the interval that the server named
//	at once    the epoch changed: go on in the new one, a few times at most
//	back off   no answer, or the server has too much to do: exponential, with
//	           full jitter, not before Retry-After
//	slowly     suspended, held, counter refused: someone may lift it, so ask on
//	           at a fifth of the pace
//	rarely     revoked, unknown, expired: only an operator can change it; ask once
//	           an hour so that the device notices
//
// Every code that is not known here is asked slowly: a server that says no is
// never hammered. Codes of the last two are kept in the journal for `status`.
//
// The server decides the pace within bounds (the agent's own least interval, one
// hour), and nothing else: its time is compared and never believed.
package link
