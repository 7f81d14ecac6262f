// Command torture kills the product's processes again and again under load, and
// says what broke. "make torture" runs it.
//
// # What runs
//
// The programs are built as they are shipped, but with the failpoints of package
// failpoint in them, and run as processes of their own: one server on SQLite, or
// two nodes over a PostgreSQL that is started for the run; some agents; and
// beside them, in this process, simulated devices and people who heartbeat,
// enroll, renew, review, suspend, resume, revoke and command all the time and write
// down what they were answered (package record). Certificates last for minutes, so
// that agents and devices renew them again and again; devices also send the same
// request twice or to two nodes at once, go on with the old certificate, give up one
// that they were given, and try those that must not count any more.
//
// # What is done to it
//
// A schedule, made from the seed alone, says which fault comes next: SIGKILL of an
// agent, a server or PostgreSQL at a random time or at a failpoint; SIGSTOP for a
// while; connections that are cut before or after a COMMIT passes; a disk that is
// full, and files that may not grow. The instant within the programs at which a
// fault meets them is the machine's; the same seed brings the same faults.
//
// # What is asked
//
// After each kill the server must be ready within 10 s, and each agent's heartbeat
// accepted within 60 s of calm. In the end package check looks at all that was
// left behind, and package history for one order that explains what the callers
// saw. A failure names the seed, and everything is kept.
package main
