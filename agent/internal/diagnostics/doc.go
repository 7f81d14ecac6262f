// Package diagnostics gathers what somebody needs who helps from far away: one
// zip file with the doctor's report, how the device stands, what it holds on to,
// its settings, its public certificates and documents, and the last lines of its
// log. A manifest names each member with its SHA-256, and what could not be had.
//
// Invariants:
//   - What goes in is named: the journal and the settings are written from lists
//     of what may be shown, so that a member added to them later stays out until
//     somebody puts it on the list. The key's file is never copied, and no
//     variable of the environment is.
//   - What went in passes a sieve as well: secrets that are known here, private
//     keys, and passwords in addresses are cut out of every member; in the log,
//     which is free text, also whatever is called a token, password or the like.
//   - Names and addresses stay: without them nobody can help. The person is told.
//   - The file is the caller's alone, is made new, and is there whole or not at
//     all.
package diagnostics
