// Package revocation tells whether certificates that another authority issued are
// revoked.
//
// It knows from revocation lists (CRLs, RFC 5280) and from answers to questions (OCSP,
// RFC 6960), whichever the settings ask for; asked for both, both must say that a
// certificate is good. A Checker fetches them in the background and keeps what it
// verified, so that Standing waits for nothing: what it does not know, or knows for
// longer than it holds, is ErrUnknown, and lets nobody in. A grace is how much longer
// what was known may be relied on; there is none unless the settings give one.
//
// A certificate that is revoked, of a device or of an authority, stays so here, whatever
// is said of it later, unless it was on hold only. A list never gives way to an older one
// of its authority, and an answer never to an older one. An authority that was certified
// anew for its key is the same one. A responder that hangs does not hold lists up.
//
// What is verified of a list: its issuer's signature and right to sign lists, its dates,
// and that it covers the certificate. A list that says anything critical that is not
// understood is refused whole: a delta, an indirect one, one of some reasons only.
//
// What is verified of an answer: that it is about this certificate, its dates, the
// nonce, and who signed it: the certificate's own issuer, or a responder that this issuer
// certified for it directly, that is valid and is not revoked itself.
package revocation
