// Package imports holds the rules of which package may import which, as a
// table, and asserts them over the module as it is built.
//
// # The layers
//
// Imports of the server flow one way:
//
//	main -> app -> surfaces -> flow, view -> domains -> authz -> audit, jobs -> db -> shared
//
// A room is a folder of server/internal with all below it. A room may import
// itself and rooms of lower layers, never one of its own layer: a domain that
// needs another is an act that belongs in flow. A folder that the table does
// not name is a domain.
//
// Domains and what is below them do not speak HTTP, and surfaces run no
// queries. The agent and the server share only what is in shared, and the
// agent's binary has nothing of the server's in it.
//
// The rules are about what is built; tests may import what they like.
package imports
