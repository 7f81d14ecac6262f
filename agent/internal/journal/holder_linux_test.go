package journal

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheHolderOfTheStateDirectoryIsSeenWithoutALock(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	if got := Holder(dir); got != 0 {
		t.Errorf("no directory is held by %d", got)
	}
	if err := MakeDir(dir); err != nil {
		t.Fatal(err)
	}
	j, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := Holder(dir); got != os.Getpid() {
		t.Errorf("held by %d, want %d", got, os.Getpid())
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if got := Holder(dir); got != 0 {
		t.Errorf("let go, and held by %d", got)
	}
}

func TestWhoWaitsForALockDoesNotHoldIt(t *testing.T) {
	t.Parallel()
	const list = `1: FLOCK  ADVISORY  WRITE 300 fe:00:42 0 EOF
1: -> FLOCK  ADVISORY  WRITE 301 fe:00:42 0 EOF
2: POSIX  ADVISORY  WRITE 302 fe:00:42 0 EOF
3: FLOCK  ADVISORY  WRITE 303 fe:00:142 0 EOF
4: FLOCK  ADVISORY  WRITE 0 fe:00:42 0 EOF
5: FLOCK
`
	got := flocks([]byte(list), 42)
	if len(got) != 1 || got[0] != (flock{300, "fe:00"}) {
		t.Errorf("got %+v", got)
	}
}
