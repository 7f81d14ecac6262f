// Package flow holds the acts that span domains: one file an act, one transaction
// an act. The domains know nothing of each other; what must hold between them
// holds because it is written here, together, with its audit entry.
//
//	enroll.go     a device asks to join, and fetches its certificate
//	review.go     a person lets it in or not
//	renew.go      a device asks for a certificate of another key
//	recover.go    a device asks for the way back after its certificate expired
//	identity.go   a person decides about it, and its first use
//	root.go       authorities change by the fleet root
//	heartbeat.go  a sign of life, judged and stored in batches
//	command*.go   a person asks for a command; it is signed, delivered, answered, ended
//	documents.go  what the fleet's owner signed, published and handed out
//	revoke.go     revoke, suspend, resume, resync
//	issuing.go    issuing is stopped by one person, and started again by two
//	restore.go    after the database came from a backup
//	upkeep.go     what time alone changes
package flow
