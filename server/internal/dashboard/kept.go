package dashboard

import (
	"sync"
	"time"
)

// How old what is counted over whole tables may be. Whoever looks on, and however
// many, it is counted again once in keepFor at most, and never for more than a part
// in keepShare of the time: counting a large fleet is work that its heartbeats pay for.
// For keepStale more the last value is shown while the next is read, since that takes
// longer than a person should wait for a page.
const (
	keepFor   = 2 * time.Second
	keepShare = 20
	keepMost  = time.Minute
	keepStale = 10 * time.Second
)

// kept is a value that is read at most once in a while.
type kept[T any] struct {
	mu      sync.Mutex
	at      time.Time     // when the value was asked for
	took    time.Duration // to read it
	value   T
	reading bool // somebody fetches the next
	read    sync.Mutex
}

// get is the value, new enough for the time.
func (k *kept[T]) get(now func() time.Time, read func() (T, error)) (T, error) {
	at := now()
	k.mu.Lock()
	age, value, none := at.Sub(k.at), k.value, k.at.IsZero()
	keep := min(max(keepFor, keepShare*k.took), keepMost)
	fresh := !none && age >= 0 && age < keep
	stale := !none && age >= 0 && age < keep+keepStale
	fetch := !fresh && stale && !k.reading
	if fetch {
		k.reading = true
	}
	k.mu.Unlock()
	switch {
	case fetch:
		go func() { // one at a time; its error is told by whoever waits for the value later
			defer func() {
				k.mu.Lock()
				k.reading = false
				k.mu.Unlock()
			}()
			_, _ = k.fetch(at, now, read)
		}()
		return value, nil
	case fresh, stale:
		return value, nil
	}
	return k.fetch(at, now, read)
}

// fetch reads the value, unless somebody did for the same moment.
func (k *kept[T]) fetch(at time.Time, now func() time.Time, read func() (T, error)) (T, error) {
	k.read.Lock()
	defer k.read.Unlock()
	k.mu.Lock()
	last, value := k.at, k.value
	k.mu.Unlock()
	if !last.IsZero() && !last.Before(at) {
		return value, nil
	}
	begin := now() // at was before the wait for the lock
	v, err := read()
	if err == nil {
		k.mu.Lock()
		k.at, k.took, k.value = at, max(0, now().Sub(begin)), v
		k.mu.Unlock()
	}
	return v, err
}
