// Package history says whether what callers saw can be explained by one order of
// instants: each operation takes effect once, between its call and its answer.
// Porcupine looks for such an order; the models here say what each kind of state
// may do.
//
//	Counters  a device's counter takes what is higher than itself, and nothing else
//	Renewals  a request leads to one certificate, which counts from its first use on
//	Tokens    a token lets as many enrollments in as it has uses, each as often as it asks
//
// A caller that was not answered does not know whether its operation took effect,
// nor when: such an operation ends never, and may or may not have happened.
package history
