package flow

import (
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
)

func TestEveryKindHasAnExecutor(t *testing.T) {
	t.Parallel()
	for _, k := range approval.Kinds() {
		if acts[k].open == nil {
			t.Errorf("nothing decides on %s", k)
		}
		if about, _ := k.About(); about.Title == "" || !about.Vote.Known() {
			t.Errorf("%s is %+v", k, about)
		}
	}
	for k := range acts {
		if _, known := k.About(); !known {
			t.Errorf("%s is no kind", k)
		}
	}
}
