// Package adminapi is the HTTP API for people and what acts for them: typed
// operations, described in OpenAPI 3.1 by the very types that they use.
//
// routes.go lists every route with the permission that it needs; there is one
// file for each noun. A handler gets its authority from the guard (acting): it rests
// on the permission of the route, and is checked again inside the transaction that
// acts. Handlers call domains and translate; they decide nothing.
//
// A caller proves itself with a bearer token and nothing else: no cookie is read, so
// that no other site can act in a person's name. A body has only members that are
// known, each once. Every refusal is a problem (RFC 9457) that repeats nothing of what
// was sent. Every list is {"items": [...], "next": "..."}; next goes back as after.
package adminapi
