// Package app puts the server together: it opens what the settings name, in an
// order in which each part may rest on the ones before, runs the listeners and the
// upkeep, and stops them in reverse order.
//
// Core is everything below the listeners. Commands that work on the host use it
// too, so that they meet the same checks as the server: the schema is this
// binary's, the profile was not loosened, the database did not go back.
package app
