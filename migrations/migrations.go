// Package migrations holds the schema of both databases as SQL files, one
// folder each, numbered alike. A released file is never edited: a test pins
// its digest.
package migrations

import "embed"

// Files are the migrations, in the folders "sqlite" and "postgres".
//
//go:embed sqlite/*.sql postgres/*.sql
var Files embed.FS
