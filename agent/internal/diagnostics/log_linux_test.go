package diagnostics

import (
	"strings"
	"testing"
)

func TestTheLogIsBoundedToItsLastLines(t *testing.T) {
	t.Parallel()
	out := &tail{limit: 100}
	for range 50 {
		if n, err := out.Write([]byte("a line of 20 letters\n")); n != 21 || err != nil {
			t.Fatal(n, err)
		}
	}
	got := string(out.data)
	if len(got) > 100 || !strings.HasPrefix(got, "a line") || strings.Count(got, "\n") != 4 {
		t.Errorf("%q", got)
	}
}
