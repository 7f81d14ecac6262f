package history

import (
	"fmt"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/record"
)

func sent(request, shown string, begin, end time.Duration, result string) record.Op {
	return record.Op{Kind: record.Renew, Device: "edge-1", Request: request, Shown: shown, Begin: begin, End: end, Result: result}
}

func beat1(shown string, begin, end time.Duration, result string) record.Op {
	return record.Op{Kind: record.Heartbeat, Device: "edge-1", Shown: shown, Begin: begin, End: end, Result: result}
}

func TestRenewals(t *testing.T) {
	t.Parallel()
	const ok, lost, unknown, pending, rejected = record.OK, record.Unknown, certificateUnknown, record.Pending, record.Rejected
	for name, c := range map[string]struct {
		history   []record.Op
		explained bool
	}{
		"renewed, and the old one refused":     {[]record.Op{beat1("", 0, 1, ok), sent("a", "", 2, 3, ok), beat1("a", 4, 5, ok), beat1("", 6, 7, unknown)}, true},
		"the old one goes on until then":       {[]record.Op{sent("a", "", 0, 1, ok), beat1("", 2, 3, ok), beat1("a", 4, 5, ok)}, true},
		"the same twice":                       {[]record.Op{sent("a", "", 0, 5, ok), sent("a", "", 1, 4, ok), sent("a", "", 6, 7, ok), beat1("a", 8, 9, ok)}, true},
		"lost, and it happened":                {[]record.Op{sent("a", "", 0, 1, lost), beat1("a", 2, 3, ok)}, true},
		"lost, and it did not":                 {[]record.Op{sent("a", "", 0, 1, lost), sent("b", "", 2, 3, ok), beat1("b", 4, 5, ok)}, true},
		"lost, and it took the place later":    {[]record.Op{sent("a", "", 0, 1, lost), sent("b", "", 2, 3, ok), beat1("b", 4, 5, unknown), sent("b", "", 6, 7, rejected), beat1("", 8, 9, ok)}, true},
		"replaced":                             {[]record.Op{sent("a", "", 0, 1, ok), sent("b", "", 2, 3, ok), beat1("a", 4, 5, unknown), beat1("b", 6, 7, ok)}, true},
		"replaced, and asked for again":        {[]record.Op{sent("a", "", 0, 1, ok), sent("b", "", 2, 3, ok), sent("a", "", 4, 5, rejected)}, true},
		"the first use was not answered":       {[]record.Op{sent("a", "", 0, 1, ok), beat1("a", 2, 3, lost), beat1("", 4, 5, unknown), beat1("a", 6, 7, ok)}, true},
		"a person approves":                    {[]record.Op{sent("a", "", 0, 1, pending), sent("a", "", 2, 3, pending), sent("a", "", 4, 5, ok), beat1("a", 6, 7, ok)}, true},
		"a person rejects":                     {[]record.Op{sent("a", "", 0, 1, pending), sent("a", "", 2, 3, rejected), sent("b", "", 4, 5, ok)}, true},
		"refused for another reason":           {[]record.Op{sent("a", "", 0, 1, "renewal-early"), beat1("", 2, 3, "device-held"), beat1("", 4, 5, ok)}, true},
		"asked by the old one when it is over": {[]record.Op{sent("a", "", 0, 1, ok), beat1("a", 2, 3, ok), sent("b", "", 4, 5, unknown)}, true},

		"PLANTED: the old one is accepted again":           {[]record.Op{sent("a", "", 0, 1, ok), beat1("a", 2, 3, ok), beat1("", 4, 5, ok)}, false},
		"PLANTED: accepted, and it was never given":        {[]record.Op{beat1("", 0, 1, ok), beat1("a", 2, 3, ok), sent("a", "", 4, 5, ok)}, false},
		"PLANTED: given and refused":                       {[]record.Op{sent("a", "", 0, 1, ok), beat1("a", 2, 3, unknown)}, false},
		"PLANTED: the one in use is refused":               {[]record.Op{sent("a", "", 0, 1, ok), beat1("a", 2, 3, ok), beat1("a", 4, 5, unknown)}, false},
		"PLANTED: the old one is refused too early":        {[]record.Op{sent("a", "", 0, 1, ok), beat1("", 2, 3, unknown)}, false},
		"PLANTED: a replaced one is accepted":              {[]record.Op{sent("a", "", 0, 1, ok), sent("b", "", 2, 3, ok), beat1("a", 4, 5, ok)}, false},
		"PLANTED: a replaced one is given again":           {[]record.Op{sent("a", "", 0, 1, ok), sent("b", "", 2, 3, ok), sent("a", "", 4, 5, ok)}, false},
		"PLANTED: the old key still renews":                {[]record.Op{sent("a", "", 0, 1, ok), beat1("a", 2, 3, ok), sent("b", "", 4, 5, ok)}, false},
		"PLANTED: one that nobody approved":                {[]record.Op{sent("a", "", 0, 1, pending), beat1("a", 2, 3, ok), sent("a", "", 4, 5, pending)}, false},
		"PLANTED: rejected, and nobody was to decide":      {[]record.Op{sent("a", "", 0, 1, ok), sent("a", "", 2, 3, rejected)}, false},
		"PLANTED: approved, and rejected after that":       {[]record.Op{sent("a", "", 0, 1, ok), sent("a", "", 2, 3, pending)}, false},
		"PLANTED: lost, and long over when it takes place": {[]record.Op{sent("a", "", 0, 1, lost), sent("b", "", 2, 3, ok), beat1("b", 4, 5, ok), beat1("a", 6, 7, ok)}, false},
		"PLANTED: the same again is refused":               {[]record.Op{sent("a", "", 0, 1, ok), sent("a", "", 2, 3, "renewal-conflict")}, false},
		"PLANTED: the same again is too early":             {[]record.Op{sent("a", "", 0, 1, pending), sent("a", "", 2, 3, "renewal-early")}, false},
		"PLANTED: the device can show nothing":             {[]record.Op{sent("a", "", 0, 1, ok), beat1("a", 2, 3, lost), beat1("a", 4, 5, unknown), beat1("", 6, 7, unknown)}, false},
	} {
		if r := Renewals(c.history); (len(r.Broken) == 0) != c.explained || r.Undecided > 0 || r.Histories != 1 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// A device that renews all through a long run is explained, and a fault at its end
// is seen.
func TestALongLifeOfRenewals(t *testing.T) {
	t.Parallel()
	var life []record.Op
	now, shown := time.Duration(0), ""
	then := func(o record.Op) {
		o.Begin, o.End = now, now+5
		now += 10
		life = append(life, o)
	}
	for i := range 400 {
		request := fmt.Sprint("r-", i)
		if i%3 == 0 {
			then(sent(request, shown, 0, 0, record.Unknown))
		}
		if i%10 == 9 { // given up
			continue
		}
		then(sent(request, shown, 0, 0, record.OK))
		for range 20 {
			then(beat1(shown, 0, 0, record.OK))
		}
		if i%4 == 0 {
			then(beat1(request, 0, 0, record.Unknown))
		}
		then(beat1(request, 0, 0, record.OK))
		then(beat1(shown, 0, 0, certificateUnknown))
		shown = request
	}
	if r := Renewals(life); len(r.Broken) > 0 || r.Undecided > 0 || r.Operations < 1500 || r.Operations > 2500 {
		t.Errorf("%+v", r)
	}
	then(beat1("r-100", 0, 0, record.OK))
	if r := Renewals(life); len(r.Broken) != 1 {
		t.Errorf("planted: %+v", r)
	}
}
