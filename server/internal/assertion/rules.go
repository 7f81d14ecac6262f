package assertion

import (
	"slices"
	"time"
)

const (
	// MaxAge is how long others may keep a set before they ask again.
	MaxAge = 5 * time.Minute
	// Lead is how long a key is published before it signs: whoever kept the set before
	// has asked again twice.
	Lead = 3 * MaxAge
	// MaxLife is the longest that an assertion may be valid.
	MaxLife = time.Hour
)

// State is where a key stands.
type State string

// The states.
const (
	Published State = "published" // waits for its turn
	Signs     State = "signs"
	Former    State = "former" // what it signed may still be valid
	Over      State = "over"   // everything that it signed has ended
	Retired   State = "retired"
)

// Standing is a key with where it stands, and until when.
type Standing struct {
	Key

	State State
	Until time.Time // when it signs (Published) or is over (Former); zero: no time ends it
}

// Stand says where the keys of one purpose stand at a time, the oldest first.
func Stand(keys []Key, now time.Time) []Standing {
	list := make([]Standing, len(keys))
	for i, k := range keys {
		list[i] = Standing{Key: k, State: Retired}
	}
	slices.SortStableFunc(list, func(a, b Standing) int { return a.PublishedAt.Time().Compare(b.PublishedAt.Time()) })
	var live []*Standing
	for i := range list {
		if list[i].RetiredAt == 0 {
			live = append(live, &list[i])
		}
	}
	signs := 0 // the oldest, where none is old enough
	for i, s := range live {
		if !now.Before(begins(s)) {
			signs = i
		}
	}
	for i, s := range live {
		switch {
		case i == signs:
			s.State = Signs
		case i > signs:
			s.State, s.Until = Published, begins(s)
		default:
			s.State, s.Until = Former, begins(live[i+1]).Add(MaxLife+Lead)
			if !now.Before(s.Until) {
				s.State, s.Until = Over, time.Time{}
			}
		}
	}
	return list
}

func begins(s *Standing) time.Time { return s.PublishedAt.Time().Add(Lead) }

// served reports whether others are shown a key.
func (s Standing) served() bool { return s.State == Published || s.State == Signs || s.State == Former }

// settled reports whether nobody misses a key when it is retired.
func (s Standing) settled() bool { return s.State == Published || s.State == Over }
