package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// PKI-12: there is no way past verification in what the agent is built from, not
// even one that is switched off.
func TestNothingSkipsVerification(t *testing.T) {
	t.Parallel()
	const banned = "InsecureSkip" + "Verify"
	seen := 0
	for _, root := range []string{".", "../shared"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			seen++
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.Ident:
					if n.Name == banned {
						t.Errorf("%s uses %s", path, banned)
					}
				case *ast.BasicLit: // reflection
					if strings.Contains(n.Value, banned) {
						t.Errorf("%s names %s", path, banned)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 40 {
		t.Fatalf("only %d files were looked at", seen)
	}
}
