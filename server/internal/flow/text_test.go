package flow_test

import (
	"os"
	"strings"
	"testing"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

func cut(s string) (string, string) { a, b, _ := strings.Cut(s, "|"); return a, b }

func appendRaw(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
