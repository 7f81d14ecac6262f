package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/record"
)

// Result is what became of all histories of one kind.
type Result struct {
	Histories  int // that were explained, or found to have no explanation
	Operations int
	Undecided  int // given up after Patience
	Broken     []string
}

// Add puts two results together.
func (r *Result) Add(o Result) {
	r.Histories += o.Histories
	r.Operations += o.Operations
	r.Undecided += o.Undecided
	r.Broken = append(r.Broken, o.Broken...)
}

// Patience bounds the search in one history. What takes longer is said to be
// undecided, which is a fault of the test's, since honest histories are short.
const Patience = 10 * time.Second

// maxOperations is how long a history may grow before it waits for an instant at
// which nothing is under way.
const maxOperations = 40

const never = math.MaxInt64

// beat is the input of a counter's model.
type beat struct {
	counter int64
	result  string
}

// counters is one device's counter in one epoch, beginning at a number.
func counters(from int64) porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{from} },
		Step: func(state, input, _ any) []any {
			at, _ := state.(int64)
			in, _ := input.(beat)
			higher := in.counter > at
			switch {
			case in.result == record.OK && higher:
				return []any{in.counter}
			case in.result == record.OK:
				return nil
			case in.result == "counter-stale" && higher:
				return nil
			case in.result == record.Unknown && higher:
				return []any{at, in.counter}
			}
			return []any{at} // refused for another reason, or changing nothing
		},
		DescribeOperation: func(input, _ any) string { return fmt.Sprint(input) },
	}
	return m.ToModel()
}

// Counters explains every device's heartbeats. A long life is cut into histories
// where nothing was under way, since the counter is known there.
func Counters(ops []record.Op) Result {
	lives := map[string][]record.Op{}
	for _, o := range ops {
		if o.Kind == record.Heartbeat {
			lives[o.Device+" "+o.Epoch] = append(lives[o.Device+" "+o.Epoch], o)
		}
	}
	var total Result
	for name, life := range lives {
		for _, h := range cut(life) {
			total.Add(explain(fmt.Sprintf("counter of %s from %d", name, h.from), counters(h.from), h.ops))
		}
	}
	return total
}

// piece is a history with the counter that it begins at.
type piece struct {
	from int64
	ops  []porcupine.Operation
}

// cut divides a life. An operation without an answer may take effect at any time,
// but nothing comes of it once a higher counter was accepted: it ends with the
// first of those to end.
func cut(life []record.Op) []piece {
	slices.SortStableFunc(life, func(a, b record.Op) int { return cmp.Compare(a.Begin, b.Begin) })
	accepted := slices.DeleteFunc(slices.Clone(life), func(o record.Op) bool { return o.Result != record.OK })
	ends := func(o record.Op) int64 {
		if o.Result != record.Unknown {
			return int64(o.End)
		}
		end := int64(never)
		for _, a := range accepted {
			if a.Counter > o.Counter && a.End > o.Begin {
				end = min(end, int64(a.End))
			}
			if int64(a.Begin) > end {
				break
			}
		}
		return end
	}
	var pieces []piece
	var now piece
	highest, busy := int64(0), int64(-1)
	for _, o := range life {
		if int64(o.Begin) > busy && len(now.ops) > 0 && busy != never {
			pieces = append(pieces, now)
			now = piece{from: highest}
		}
		end := ends(o)
		now.ops = append(now.ops, porcupine.Operation{ClientId: len(now.ops), Input: beat{o.Counter, o.Result}, Call: int64(o.Begin), Return: end})
		busy = max(busy, end)
		if o.Result == record.OK {
			highest = max(highest, o.Counter)
		}
	}
	if len(now.ops) > 0 {
		pieces = append(pieces, now)
	}
	return join(pieces)
}

// join puts short pieces together again: a history of one operation shows little.
func join(pieces []piece) []piece {
	var joined []piece
	for _, p := range pieces {
		if n := len(joined); n > 0 && len(joined[n-1].ops)+len(p.ops) <= maxOperations {
			joined[n-1].ops = append(joined[n-1].ops, p.ops...)
			continue
		}
		joined = append(joined, p)
	}
	return joined
}

// joining is the input of a token's model: who asks, by a small number.
type joining struct {
	who    int
	result string
}

// tokens is one token with so many uses; the state is the set of who is in.
func tokens(uses int) porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{uint64(0)} },
		Step: func(state, input, _ any) []any {
			in, _ := state.(uint64)
			ask, _ := input.(joining)
			me := uint64(1) << ask.who
			is, full := in&me != 0, bits(in) >= uses
			switch {
			case ask.result == record.OK && (is || !full):
				return []any{in | me}
			case ask.result == record.OK:
				return nil
			case ask.result == "token-used-up" && (is || !full):
				return nil
			case ask.result == record.Unknown && !is && !full:
				return []any{in, in | me}
			}
			return []any{in}
		},
		DescribeOperation: func(input, _ any) string { return fmt.Sprint(input) },
	}
	return m.ToModel()
}

func bits(set uint64) (n int) {
	for ; set != 0; set &= set - 1 {
		n++
	}
	return n
}

// maxAsking is how many enrollments one token's history may hold.
const maxAsking = 64

// Tokens explains every token's enrollments. How many uses a token has is what
// its maker asked for.
func Tokens(ops []record.Op) Result {
	uses := map[string]int{}
	asked := map[string][]record.Op{}
	for _, o := range ops {
		switch o.Kind {
		case record.Token:
			uses[o.Token] = o.Uses
		case record.Enroll:
			asked[o.Token] = append(asked[o.Token], o)
		}
	}
	var total Result
	for note, list := range asked {
		numbers := map[string]int{}
		var h []porcupine.Operation
		for _, o := range list {
			n, known := numbers[o.Enrollment]
			if !known {
				n = len(numbers)
				numbers[o.Enrollment] = n
			}
			end := int64(o.End)
			if o.Result == record.Unknown {
				end = never
			}
			h = append(h, porcupine.Operation{ClientId: len(h), Input: joining{n, o.Result}, Call: int64(o.Begin), Return: end})
		}
		if len(numbers) > maxAsking {
			total.Undecided++
			continue
		}
		total.Add(explain("token "+note, tokens(uses[note]), h))
	}
	return total
}

func explain(name string, m porcupine.Model, h []porcupine.Operation) Result {
	r := Result{Histories: 1, Operations: len(h)}
	switch porcupine.CheckOperationsTimeout(m, h, Patience) {
	case porcupine.Ok:
	case porcupine.Illegal:
		var text strings.Builder
		text.WriteString(name + ": no order explains")
		for _, o := range h[:min(len(h), maxOperations)] {
			fmt.Fprintf(&text, "\n      %v..%v %v", time.Duration(o.Call), time.Duration(o.Return), o.Input)
		}
		r.Broken = []string{text.String()}
	default:
		r.Histories, r.Undecided = 0, 1
	}
	return r
}
