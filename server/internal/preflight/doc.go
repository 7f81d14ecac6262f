// Package preflight is the production checklist as a program.
//
// Each point of the list is a Check: what must hold, why, what to do, and a rule. A
// rule is a pure function of Facts, so that it is tested alone. Gather finds the
// facts, once, in the real deployment: the settings as the production profile reads
// them, the files that they name, the database, and what really listens. It changes
// nothing anywhere, and what it says holds no secret.
//
// A check is a must or a should. The verdict of a rule is pass, fail, warn or not
// applicable; what a should fails is a warning. A fact that could not be had makes no
// second failure: the check waits for the one that says why. A point whose system
// this version does not have is "not in effect".
//
// Some musts also stop the start of a server with the production profile. These are
// what a person decided or forgot; never what passes with time alone or what only a
// running server can mend, since a server that restarts at night must come back.
package preflight
