// Package audit keeps the record of who did what, on what, from where, with what
// result and why.
//
// An entry is written by the transaction that does the act: if the entry cannot
// be written, the act does not happen, and no act stands without its entry.
// Entries are never changed. Each has, beside its readable columns, its canonical
// bytes: one salted commitment a field. A log over those bytes can later
// give entries their place, and a field can be erased for good (its column and its
// salt) while the entry is still proven.
//
// Refusals can come by the million from one broken or hostile caller. They are
// gathered: the first of a kind is written at once, the following ones of a
// window as one entry with their count.
//
// No secret belongs in an entry: not in details, not in reasons. Values that
// devices or callers chose are kept as text and escaped where they are shown.
package audit
