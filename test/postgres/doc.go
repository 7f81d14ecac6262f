// Package postgres holds the scripts that give tests a PostgreSQL, and the
// proof that they leave nothing behind.
//
//	ensure   installs what is missing, or names it and fails
//	serve    a throw-away server, for as long as its input stays open
//	with     runs a command beside such a server
package postgres
