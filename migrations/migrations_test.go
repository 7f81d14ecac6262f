package migrations

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// The digests of migrations that were released are pinned in released.txt, a
// line each: digest, space, path. A migration joins the list with the release that
// ships it.
func TestAReleasedMigrationIsNeverEdited(t *testing.T) {
	t.Parallel()
	pinned, err := os.ReadFile("released.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(pinned)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		digest, path, _ := strings.Cut(line, " ")
		data, err := fs.ReadFile(Files, path)
		if err != nil {
			t.Errorf("%s is gone: %v", path, err)
			continue
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != digest {
			t.Errorf("%s was edited after its release; add a new migration instead", path)
		}
	}
}

func TestBothDatabasesHaveTheSameMigrations(t *testing.T) {
	t.Parallel()
	names := func(dir string) (list []string) {
		entries, err := fs.ReadDir(Files, dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			list = append(list, e.Name())
		}
		return list
	}
	if a, b := strings.Join(names("sqlite"), " "), strings.Join(names("postgres"), " "); a != b {
		t.Errorf("sqlite has %s, postgres has %s", a, b)
	}
}
