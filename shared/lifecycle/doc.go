// Package lifecycle runs the named parts of a program and stops them in order.
//
// A part starts once the parts before it are ready, and stops once the parts
// after it have ended: a listener that needs the database never outlives it.
// One supervisor owns every goroutine. A part is in one of these states:
//
//	starting   its Run was called, its Ready is still open
//	running    ready, or it has no Ready
//	stopping   its context was cancelled
//	ended      its Run returned, or panicked
//
// What makes everything stop: the caller's context is done, or a part ends with
// an error or a panic. A part that returns nil before it was asked to stop says
// that its work is done: it ends quietly and the others go on. When the last
// part has ended, so has Run.
package lifecycle
