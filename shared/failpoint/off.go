//go:build !failpoints

package failpoint

// Here is a moment that a test can choose for a crash or a pause.
func Here(string) {}

// Fail is Here, and returns the error that a test chose for this moment.
func Fail(string) error { return nil }
