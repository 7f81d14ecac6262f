// Package failpoint names the moments at which a crash hurts most, so that a test
// can let one happen there.
//
// A program says failpoint.Here("revoke.before-journal") where it stands between
// two things that must not come apart, and failpoint.Fail where it can answer with
// an error as well. Without the build tag "failpoints" both are empty and are
// compiled to nothing: what is shipped has no such moments, and a test of
// test/imports sees to it.
//
// With the tag, the environment variable FAILPOINTS names a file, which is looked
// at again and again while the program runs. Its one line arms one point:
//
//	revoke.before-journal 3 kill
//
// is to end the process by SIGKILL when the point is passed for the third time
// from then on. The other actions are "error", which Fail returns once, and
// "pause", which lets whoever comes by wait for a second. A point fires once for
// each time that the file changes; an empty file arms none.
package failpoint
