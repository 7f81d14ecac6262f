package history

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/anishathalye/porcupine"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/record"
)

// Refusals that say something of what is on record.
const (
	certificateUnknown = "certificate-unknown"
	renewalEarly       = "renewal-early" // never of a request that is on record
)

// never of an honest device: its request is whole, and its own.
var neverHonest = map[string]bool{"renewal-conflict": true, "renewal-invalid": true}

// maxRequests is how many renewals one device's history may hold.
const maxRequests = 512

// showing is the input of a renewals model: a request that is sent, or, when
// request is 0, a heartbeat; either under a certificate. Both are numbers: a
// certificate has that of the request that it came of, 0 is that of the enrollment.
type showing struct {
	request int
	shown   int
	result  string
}

// holder is what is on record of a device.
type holder struct {
	current int // certificate in use
	open    int // request that may still lead to one in use, 0 for none
	issued  bool
	dead    [maxRequests / 64]uint64 // requests under current that came to nothing; a request is always under the same
}

func (h holder) isDead(request int) bool { return h.dead[request/64]>>(request%64)&1 == 1 }

// opens is the holder after a new request took the place of the open one.
func (h holder) opens(request int, issued bool) holder {
	if h.open != request && h.open != 0 {
		h.dead[h.open/64] |= 1 << (h.open % 64)
	}
	h.open, h.issued = request, issued
	return h
}

// sent is what may be on record after a request was answered so. A request is a
// register that is written once: whoever sends it again reads what came of it.
func (h holder) sent(in showing) []any {
	mine, dead := in.shown == h.current, h.isDead(in.request)
	switch {
	case in.result == certificateUnknown && mine, neverHonest[in.result], in.result == renewalEarly && h.open == in.request:
		return nil
	case in.result == record.Unknown && mine && !dead:
		return []any{h, h.opens(in.request, true), h.opens(in.request, false)}
	case in.result != record.OK && in.result != record.Pending && in.result != record.Rejected:
		return []any{h} // refused for another reason, or changing nothing
	case !mine:
		return nil
	case in.result == record.Rejected && dead:
		return []any{h}
	case in.result == record.Rejected && h.open == in.request && !h.issued: // a person did
		h.dead[in.request/64] |= 1 << (in.request % 64)
		h.open = 0
		return []any{h}
	case in.result == record.Rejected, dead:
		return nil
	case in.result == record.Pending && h.open == in.request && h.issued:
		return nil
	}
	return []any{h.opens(in.request, in.result == record.OK)}
}

// beaten is what may be on record after a heartbeat was answered so.
func (h holder) beaten(in showing) []any {
	current, next := in.shown == h.current, h.issued && h.open != 0 && in.shown == h.open
	used := holder{current: in.shown}
	switch {
	case in.result == record.OK && next:
		return []any{used}
	case in.result == record.OK && !current:
		return nil
	case in.result == certificateUnknown && (current || next):
		return nil
	case in.result == record.Unknown && next:
		return []any{h, used}
	}
	return []any{h}
}

func renewals() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{holder{}} },
		Step: func(state, input, _ any) []any {
			h, _ := state.(holder)
			in, _ := input.(showing)
			if in.request != 0 {
				return h.sent(in)
			}
			return h.beaten(in)
		},
		DescribeOperation: func(input, _ any) string { return fmt.Sprint(input) },
	}
	return m.ToModel()
}

// Renewals explains every device's requests for certificates, and what became of
// each certificate that was shown.
func Renewals(ops []record.Op) Result {
	lives := map[string][]record.Op{}
	renews := map[string]bool{}
	for _, o := range ops {
		if o.Kind == record.Renew || o.Kind == record.Heartbeat {
			lives[o.Device] = append(lives[o.Device], o)
			renews[o.Device] = renews[o.Device] || o.Kind == record.Renew
		}
	}
	var total Result
	for device, life := range lives {
		if !renews[device] {
			continue
		}
		slices.SortStableFunc(life, func(a, b record.Op) int { return cmp.Compare(a.Begin, b.Begin) })
		numbers := map[string]int{"": 0}
		for _, o := range life {
			if _, known := numbers[o.Request]; !known {
				numbers[o.Request] = len(numbers)
			}
		}
		if len(numbers) > maxRequests {
			total.Undecided++
			continue
		}
		total.Add(explain("certificates of "+device, renewals(), telling(life, numbers)))
	}
	return total
}

// telling leaves out the heartbeats that say nothing: of those that were accepted
// under a certificate the first to end and the last to begin say all; one that was
// refused for another reason, or not answered under a certificate that had been
// accepted before, changes nothing.
func telling(life []record.Op, numbers map[string]int) (h []porcupine.Operation) {
	first, last := map[string]int{}, map[string]int{} // by certificate: places in life
	for i, o := range life {
		if o.Kind != record.Heartbeat || o.Result != record.OK {
			continue
		}
		if f, known := first[o.Shown]; !known || o.End < life[f].End {
			first[o.Shown] = i
		}
		last[o.Shown] = i
	}
	for i, o := range life {
		f, accepted := first[o.Shown]
		switch {
		case o.Kind == record.Renew, o.Result == certificateUnknown:
		case o.Result == record.OK && (i == f || i == last[o.Shown]):
		case o.Result == record.Unknown && (!accepted || o.Begin < life[f].End):
		default:
			continue
		}
		in := showing{shown: numbers[o.Shown], result: o.Result}
		if o.Kind == record.Renew {
			in.request = numbers[o.Request]
		}
		h = append(h, porcupine.Operation{ClientId: len(h), Input: in, Call: int64(o.Begin), Return: settled(life, numbers, o)})
	}
	return h
}

// settled is when an operation can have no effect any more: at its answer; without
// one, when the same was answered, or a later certificate was accepted, so that what
// it shows is not on record.
func settled(life []record.Op, numbers map[string]int, o record.Op) int64 {
	if o.Result != record.Unknown {
		return int64(o.End)
	}
	end := int64(never)
	for _, a := range life {
		if int64(a.Begin) > end {
			break
		}
		if a.Result == record.Unknown || a.End < o.Begin {
			continue
		}
		same := o.Kind == record.Renew && a.Kind == record.Renew && a.Request == o.Request && (a.Result == record.OK || a.Result == record.Pending || a.Result == record.Rejected) ||
			o.Kind == record.Heartbeat && a.Kind == record.Heartbeat && a.Shown == o.Shown && (a.Result == record.OK || a.Result == certificateUnknown)
		later := a.Kind == record.Heartbeat && a.Result == record.OK && numbers[a.Shown] > numbers[o.Shown]
		if same || later {
			end = min(end, int64(a.End))
		}
	}
	return end
}
