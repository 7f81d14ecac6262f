package config

import (
	"slices"
	"strings"
)

const seeAll = "see every setting with: sentinel-server config example"

// suggestion is the fix for an unknown key.
func suggestion(key string) string {
	near := nearest(strings.ToUpper(key))
	if near == "" {
		return "remove it; " + seeAll
	}
	return "write " + near + " if that was meant, or remove it; " + seeAll
}

// nearest is the known key with the fewest edits from key, or empty when that
// would be a guess: more than a third of what follows the common prefix.
func nearest(key string) string {
	if len(key) > 128 {
		return ""
	}
	best, fewest := "", len(key)
	for _, s := range settings {
		names := []string{s.Key}
		if s.Secret {
			names = append(names, s.Key+fileSuffix)
		}
		for _, name := range names {
			if d := distance(key, name); d < fewest {
				best, fewest = name, d
			}
		}
	}
	if fewest > max(1, (len(best)-len(prefix))/3) {
		return ""
	}
	return best
}

// distance counts the insertions, deletions and replacements from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + slices.Min([]int{diagonal, row[j], row[j+1]})
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
