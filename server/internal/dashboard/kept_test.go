package dashboard

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What takes long to count is counted less often, and nobody waits for it again.
func TestCountingALargeFleetIsAPartOfTheTimeOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var k kept[int64]
		var reads atomic.Int64
		takes := 500 * time.Millisecond
		get := func() (int64, time.Duration) {
			begin := time.Now()
			v, err := k.get(time.Now, func() (int64, error) {
				time.Sleep(takes)
				return reads.Add(1), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return v, time.Since(begin)
		}
		if v, waited := get(); v != 1 || waited != takes {
			t.Fatalf("the first reader sees %d after %s", v, waited)
		}
		for range 99 { // ten seconds: twenty times what it took
			time.Sleep(95 * time.Millisecond)
			if v, waited := get(); v != 1 || waited != 0 {
				t.Fatalf("after %s: %d after %s", time.Since(k.at), v, waited)
			}
		}
		time.Sleep(time.Second)
		if v, waited := get(); v != 1 || waited != 0 { // the next is read meanwhile
			t.Fatalf("while it is read: %d after %s", v, waited)
		}
		time.Sleep(takes + time.Millisecond)
		if v, waited := get(); v != 2 || waited != 0 {
			t.Fatalf("once it was read: %d after %s", v, waited)
		}
		takes = time.Hour
		time.Sleep(11 * time.Second)
		get()
		time.Sleep(takes)
		takes = 0
		if v, _ := get(); v != 4 { // too old by an hour: read at once
			t.Fatalf("after an hour: %d", v)
		}
		time.Sleep(keepFor)
		get()
		time.Sleep(time.Millisecond)
		if v, _ := get(); v != 5 {
			t.Fatalf("what is quick again is not read as often: %d", v)
		}
	})
}

func TestAFailureIsToldAndNotKept(t *testing.T) {
	t.Parallel()
	var k kept[int]
	broken := errors.New("no database")
	if _, err := k.get(time.Now, func() (int, error) { return 0, broken }); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if v, err := k.get(time.Now, func() (int, error) { return 7, nil }); v != 7 || err != nil {
		t.Fatal(v, err)
	}
}
