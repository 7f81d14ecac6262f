// Package app builds the agent from its parts: it opens what is on the disk in
// the order in which each can be believed (journal, then key and certificate,
// then fleet root and policy), runs the link to the server, and tells a person
// how the device stands and what to try next.
//
// Nothing here decides anything about trust; the parts do.
package app
