// Package check says what must hold after a torture run, whatever was killed. It
// is pure: Load reads what the run left behind (the database, the files of the
// nodes and agents, the logs of the simulated devices) into an Evidence, and each
// rule of Rules is a function of that.
//
// A rule that cannot find anything is worth nothing: check_test.go plants a
// violation of each and sees it found.
package check
