// Package doctor looks at everything that an agent needs to do its work, and
// says for each thing what was found and, when it is not well, what to try.
//
// A check-up is one value in a list: a name, a time-out, and a function that
// gathers and then judges. Gathering is the only part that touches disk and
// network; each judgement is a pure function of what was gathered and of a given
// time. Check-ups run in the order of the list, which is the order in which a
// message leaves the device: settings, disk, then name, connection, proxy, TLS,
// server. A later one says "skipped" when an earlier one has its answer already.
//
// A verdict is ok, warn (it works, and will not for ever or not for everybody),
// fail (something that the agent needs does not work) or skipped.
//
// Invariants:
//   - Nothing is changed and nobody is disturbed: no lock is taken, no file
//     written, no heartbeat sent and no counter used. A running agent runs on.
//   - Who answers is believed under the same pins as the agent's own
//     connections, and learns nothing: no client certificate is presented.
//   - Nothing secret is in a report. Text that came from outside is printable and
//     bounded in it.
package doctor
