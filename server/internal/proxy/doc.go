// Package proxy says whose word about a client certificate counts, and reads it.
//
// A reverse proxy that ends TLS has the device's handshake, and only its word that the
// device held the key of the certificate that it passes on. That word is taken on a
// listener of its own (SENTINEL_PROXY_LISTEN) and nowhere else, from a peer that proved
// to be the proxy: on a Unix socket by the user that it runs as, which the system says
// (SO_PEERCRED); on an address by a secret that both hold, which comes with each
// request. An address alone proves nothing.
//
// Authority and invariants:
//
//   - What the proxy says is the certificate, that it verified, and the device's
//     address, each exactly once. Everything else about the certificate (chain, names,
//     dates, revocation) is judged here, as on a direct connection; what a device may do
//     is the same.
//   - A request on that listener that is not the proxy's, or says any of it wrongly, is
//     refused before a handler sees it.
//   - Nobody else's headers count: while the listener is there, a request elsewhere that
//     has one is refused; while it is not, they are ignored.
//   - No handler sees the headers: they end here.
package proxy
