// Package vectors_test runs published test vectors (Wycheproof, JSON) through our
// own verifiers, so that a mistake shared with the library that they stand on is
// found too. No vector marked invalid may be accepted and none marked valid
// refused; those marked acceptable are counted and reported.
//
// The files are not part of this repository. The environment variable VECTORS
// names the folder that holds them. To add a verifier, write a test that loads
// its file and calls check for each case.
package vectors_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// folder is where the files are, "" if the environment names none.
func folder() string { return os.Getenv("VECTORS") }

func TestMain(m *testing.M) {
	if folder() == "" {
		_, _ = os.Stderr.WriteString("NO TEST VECTORS: the environment variable VECTORS names no folder, so NOTHING was verified here.\n")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// file is one file of vectors: G is a group (what its cases share, such as a
// key), with its cases inside.
type file[G any] struct {
	Algorithm     string `json:"algorithm"`
	NumberOfTests int    `json:"numberOfTests"`
	TestGroups    []G    `json:"testGroups"`
}

// load reads a file of VECTORS. A file that is missing fails the test.
func load[G any](t *testing.T, name string) file[G] {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder(), "wycheproof", name))
	if err != nil {
		t.Fatal(err)
	}
	var f file[G]
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if f.NumberOfTests == 0 || len(f.TestGroups) == 0 {
		t.Fatalf("%s holds no vectors", name)
	}
	return f
}

// vector is what all cases have.
type vector struct {
	ID      int      `json:"tcId"`
	Comment string   `json:"comment"`
	Flags   []string `json:"flags"`
	Result  string   `json:"result"` // valid, invalid or acceptable
}

// tally counts verdicts, so that a run that judged nothing cannot pass.
type tally struct{ valid, invalid, acceptable, accepted int }

// check holds one verdict of ours against the one published.
func (n *tally) check(t *testing.T, v vector, accepted bool) {
	t.Helper()
	switch v.Result {
	case "valid":
		n.valid++
		if !accepted {
			t.Errorf("case %d is valid and was refused (%s %v)", v.ID, v.Comment, v.Flags)
		}
	case "invalid":
		n.invalid++
		if accepted {
			t.Errorf("case %d is invalid and was accepted (%s %v)", v.ID, v.Comment, v.Flags)
		}
	case "acceptable":
		n.acceptable++
		if accepted {
			n.accepted++
		}
	default:
		t.Errorf("case %d has an unknown result", v.ID)
	}
}

// finish reports, and fails if the cases judged are not those that the file
// announces.
func (n *tally) finish(t *testing.T, announced int) {
	t.Helper()
	if n.valid+n.invalid+n.acceptable != announced || n.valid == 0 || n.invalid == 0 {
		t.Errorf("judged %d valid, %d invalid and %d acceptable cases of %d", n.valid, n.invalid, n.acceptable, announced)
	}
	t.Logf("%d valid, %d invalid, %d acceptable of which %d accepted", n.valid, n.invalid, n.acceptable, n.accepted)
}

// bytesOf is binary data, written in hex.
type bytesOf []byte

func (b *bytesOf) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}
