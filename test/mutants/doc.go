// Command mutants shows that the tests of each defence can fail.
//
// Each defence has a patch beside this file, named ROW-NAME.patch after its row
// of the catalogue of threats, which takes the defence out of the code. Its
// first lines say what it removes and which test must notice:
//
//	# defends: ENR-04 a used-up token is refused
//	# test: go test ./server/internal/device -run 'TestTokenUse/used_up'
//
// The command applies each patch alone to a copy of the tree, runs the named
// test, and prints one verdict:
//
//	red               a test failed, as it should
//	SURVIVED          the test passed without the defence: it proves nothing
//	does not apply    the code has moved on; renew the patch
//	does not compile  a build error is not a failing test
//	not green         the test fails without the patch too
//	no failing test   the run failed, and no test of it did
//	timed out         a test that hangs has not judged
//	malformed         the header lines are missing or wrong
//
// It ends with "N red, N survived", and with exit code 0 only if every patch is
// red. Run it as "make mutants", which provides the PostgreSQL that some tests
// need; ONLY=ENR-04 chooses patches by a regular expression.
package main
