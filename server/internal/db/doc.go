// Package db is the one way to the database: SQLite for one server process,
// PostgreSQL for any number of them.
//
// Write runs a closure in one transaction. Whatever changes, its audit entry and
// the jobs it causes are written there together or not at all. The closure may
// run again when the database asks for it (a serialization failure), so it only
// reads and writes rows: nothing is signed, sent or counted inside. On PostgreSQL
// it is SERIALIZABLE, so that a check and the act that rests on it need no lock of
// their own; on SQLite there is one write connection and every transaction takes
// the write lock at its beginning. Batch is the exception for statements that
// check what they change in themselves (heartbeats): READ COMMITTED.
//
// Read never writes. On SQLite it is a pool of query-only connections.
//
// Times are Micros: microseconds since 1970 in UTC in an integer column of both
// databases, so that they compare alike and a value read equals the value
// written.
//
// The instance row holds what is true of the database as a whole: the fleet it
// belongs to, the profile it was made for, and the restore epoch, a random id
// made anew whenever a backup was restored. A mark that only rises is kept there
// and in a file beside the data directory's lock; a database whose mark is behind
// the file's was restored without saying so, and is refused.
package db
