// Package disk lets every single write, sync and truncation of SQLite's fail in
// turn, while the real server works on it.
//
// SQLite reaches the disk through a table of functions (its VFS). The tests put
// their own in front of three of them, which fail at the n-th call as a full disk
// or a broken one does, once or from then on. For n = 1, 2, 3 and so on until
// nothing failed any more, the server is asked to do the same things; afterwards
// the disk is well again, and all that was acknowledged must be there.
//
// They are built with the tag heavy, since they take minutes.
package disk
