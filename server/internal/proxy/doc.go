// Package proxy says whose word about a client certificate counts, and reads it.
//
// A reverse proxy that ends TLS has the device's handshake, and only its word that the
// device held the key of the certificate that it passes on. That word is taken on
// listeners of its own (SENTINEL_PROXY_LISTEN for devices,
// SENTINEL_PROXY_PEOPLE_LISTEN for people) and nowhere else, from a peer that proved
// to be the proxy: on a Unix socket by the user that it runs as, which the system says
// (SO_PEERCRED); on an address by a secret that both hold, which comes with each
// request. An address alone proves nothing.
//
// Authority and invariants:
//
//   - What the proxy says is the certificate, that it verified, and the client's
//     address, each exactly once. Everything else about the certificate (chain, names,
//     dates, revocation) is judged by the device API, as on a direct connection; what a
//     device may do is the same.
//   - A certificate that the proxy verified but for its dates is passed on only if it is
//     out of date here, too: then nobody takes it for an identity, and its holder is
//     told how to come back.
//   - For people the proxy says an address and no certificate.
//   - A request on these listeners that is not the proxy's, or says any of it wrongly, is
//     refused before a handler sees it.
//   - Nobody else's headers count: while the listeners are there, a request elsewhere
//     that has one is refused; while they are not, they are ignored.
//   - No handler sees the headers: they end here.
package proxy
