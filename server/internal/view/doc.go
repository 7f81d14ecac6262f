// Package view reads what lists and pages show: joins over any table, for display
// only. Nothing acts on what it reads: acts check again in their own transaction.
package view
