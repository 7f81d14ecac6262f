// Package httpkit is what all HTTP surfaces of the server share.
//
// A surface has a Mux. Every route is registered with a Policy that says who may
// call it; a route without one, or with one that the surface has no Guard for,
// cannot be registered. A request passes, in this order: a request id of its own,
// the rate limit of its source, the judge of where it comes from (CrossSite), the
// route's guard, the limit of the route's body, the handler. Whatever happens on the
// way is answered as a problem (RFC 9457), also a panic and a path that is not
// there.
//
// Nothing that a caller chooses becomes a label or a log line: logs and metrics
// name the pattern of the route. The source of a request is the peer of its
// connection; no header is believed.
package httpkit
