// Package heavy holds the tests that show their worth only in numbers: replays
// by the thousand, races at a barrier, a soak under load, a server that is killed
// again and again, and what the agent takes of a machine.
//
// They are built with the tag heavy and run by "make test-heavy". HEAVY_ROUNDS
// says how long: 1, the default, is minutes on two cores; 10 and more reach the
// full numbers, each named in its test. Figures are logged; only what must
// hold on any machine fails a test.
package heavy
