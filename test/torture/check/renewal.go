package check

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/record"
)

func enrolledOnce(e *Evidence) (where []string) {
	by := map[string]Certificate{}
	for _, c := range e.Certificates {
		by[c.Fingerprint] = c
	}
	issued := map[string]bool{}
	for _, r := range e.Enrollments {
		if r.State != "issued" {
			continue
		}
		c, d := by[r.Fingerprint], e.Devices[r.Device]
		if c.Device != r.Device || c.Enrollment != r.ID || d.Enrollment != r.ID {
			where = append(where, fmt.Sprintf("%s: enrollment %s was issued, but certificate or device are not of it", r.Device, r.ID))
		}
		if issued[r.Device] {
			where = append(where, r.Device+": two enrollments were issued")
		}
		issued[r.Device] = true
	}
	for id, d := range e.Devices {
		if !issued[id] {
			where = append(where, id+": is a device, and no enrollment was issued")
		}
		if by[d.Fingerprint].Device != id {
			where = append(where, id+": the certificate on record is not its own")
		}
	}
	for _, c := range e.Certificates {
		if d, ok := e.Devices[c.Device]; !ok || c.Enrollment != d.Enrollment {
			where = append(where, fmt.Sprintf("%s: has a certificate of enrollment %s and is no device of it", c.Device, c.Enrollment))
		}
	}
	return where
}

// underWay is how long a transaction may take: what it writes carries the time at
// which it began, so that two of one device may look as if they overlapped.
const underWay = 10 * time.Second

const forever = time.Duration(1<<63 - 1)

// span is a time in which something was in force.
type span struct{ from, to time.Duration }

// most is the largest number of spans that hold at one instant, each from a while
// after its beginning on.
func most(spans []span, after time.Duration) (n int) {
	for _, s := range spans {
		at, here := s.from+after, 0
		for _, o := range spans {
			if o.from+after <= at && at < o.to {
				here++
			}
		}
		n = max(n, here)
	}
	return n
}

func certificatesInForce(e *Evidence) (where []string) {
	given := map[string]time.Duration{}
	open := map[string]string{} // fingerprint of the certificate that waits, by device
	for _, r := range e.Requests {
		given[r.Fingerprint] = r.Given
		if r.State == "issued" {
			open[r.Device] = r.Fingerprint
		}
	}
	ended := map[string]time.Duration{}
	for _, c := range e.Certificates {
		ended[c.Fingerprint] = c.End
	}
	for _, r := range e.Requests {
		// One transaction closes a request and ends a certificate: the one that it led to,
		// or the one that it replaced.
		over := r.Fingerprint
		if r.State == "used" {
			over = r.SignedBy
		}
		if over != "" && r.State != "issued" && ended[over] != r.End {
			where = append(where, fmt.Sprintf("%s: request %s was %s, and the certificate of before ended %v later (0 or less: not, or before)", r.Device, r.ID, r.State, ended[over]-r.End))
		}
	}
	inForce, spans := map[string][]string{}, map[string][]span{}
	for _, c := range e.Certificates {
		to := cmp.Or(c.End, forever)
		if to == forever {
			inForce[c.Device] = append(inForce[c.Device], c.Fingerprint)
		}
		spans[c.Device] = append(spans[c.Device], span{given[c.Fingerprint], to})
	}
	for id, d := range e.Devices {
		var want []string
		if d.State != "revoked" {
			want = append(want, d.Fingerprint)
			if d.Next != "" {
				want = append(want, d.Next)
			}
			if open[id] != d.Next {
				where = append(where, fmt.Sprintf("%s: %q waits for its first use, and the open request led to %q", id, d.Next, open[id]))
			}
		}
		slices.Sort(want)
		slices.Sort(inForce[id])
		if !slices.Equal(want, inForce[id]) {
			where = append(where, fmt.Sprintf("%s: is %s, in force should be %v and are %v", id, d.State, want, inForce[id]))
		}
		if n := most(spans[id], underWay); n > 2 {
			where = append(where, fmt.Sprintf("%s: had %d certificates in force at a time", id, n))
		}
	}
	return where
}

// generations numbers the certificates of each device, by the request that each
// came of, in the order in which they were asked for; that of the enrollment is 0.
func generations(ops []record.Op) map[string]map[string]int {
	sorted := slices.DeleteFunc(slices.Clone(ops), func(o record.Op) bool { return o.Kind != record.Renew })
	slices.SortStableFunc(sorted, func(a, b record.Op) int { return cmp.Compare(a.Begin, b.Begin) })
	numbers := map[string]map[string]int{}
	for _, o := range sorted {
		if numbers[o.Device] == nil {
			numbers[o.Device] = map[string]int{}
		}
		if _, known := numbers[o.Device][o.Request]; !known {
			numbers[o.Device][o.Request] = len(numbers[o.Device]) + 1
		}
	}
	return numbers
}

// supersededSilent looks for a certificate under which something was accepted that
// began after a heartbeat under a later one had been accepted.
func supersededSilent(e *Evidence) (where []string) {
	numbers := generations(e.Ops)
	ops := slices.DeleteFunc(slices.Clone(e.Ops), func(o record.Op) bool {
		return o.Kind != record.Heartbeat && o.Kind != record.Renew || o.Result != record.OK && o.Result != record.Pending
	})
	ended := slices.DeleteFunc(slices.Clone(ops), func(o record.Op) bool { return o.Kind != record.Heartbeat })
	slices.SortFunc(ops, func(a, b record.Op) int { return cmp.Compare(a.Begin, b.Begin) })
	slices.SortFunc(ended, func(a, b record.Op) int { return cmp.Compare(a.End, b.End) })
	newest, next := map[string]int{}, 0
	for _, o := range ops {
		for ; next < len(ended) && ended[next].End < o.Begin; next++ {
			done := ended[next]
			newest[done.Device] = max(newest[done.Device], numbers[done.Device][done.Shown])
		}
		if n := numbers[o.Device][o.Shown]; n < newest[o.Device] {
			where = append(where, fmt.Sprintf("%s: a %s under its certificate %d was accepted at %v, after one under %d", o.Device, o.Kind, n, o.Begin, newest[o.Device]))
		}
	}
	return where
}

func requestsOnce(e *Evidence) (where []string) {
	rows, of := map[string]Request{}, map[string]int{}
	for _, r := range e.Requests {
		rows[r.ID] = r
		if r.Fingerprint != "" {
			of[r.Fingerprint]++
		}
	}
	for _, r := range e.Enrollments {
		if r.Fingerprint != "" {
			of[r.Fingerprint]++
		}
	}
	known := map[string]bool{}
	for _, c := range e.Certificates {
		known[c.Fingerprint] = true
		if of[c.Fingerprint] != 1 {
			where = append(where, fmt.Sprintf("%s: a certificate came of %d requests", c.Device, of[c.Fingerprint]))
		}
	}
	for fingerprint := range of {
		if !known[fingerprint] {
			where = append(where, fmt.Sprintf("a request led to %s, which is not there", fingerprint))
		}
	}
	for _, o := range e.Ops {
		if o.Kind != record.Renew || o.Result != record.OK && o.Result != record.Pending {
			continue
		}
		if r, ok := rows[o.Request]; !ok || r.Device != o.Device || o.Issued != "" && o.Issued != r.Fingerprint {
			where = append(where, fmt.Sprintf("%s: request %s was answered with %q, and %q is stored", o.Device, o.Request, o.Issued, r.Fingerprint))
		}
	}
	return where
}

func oneRequest(e *Evidence) (where []string) {
	open, spans := map[string]int{}, map[string][]span{}
	for i := range e.Requests {
		r := &e.Requests[i]
		if r.Open() {
			open[r.Device]++
			if e.Devices[r.Device].State == "revoked" {
				where = append(where, fmt.Sprintf("%s: is revoked, and request %s is open", r.Device, r.ID))
			}
		}
		spans[r.Device] = append(spans[r.Device], span{r.Created, cmp.Or(r.End, forever)})
	}
	for id, list := range spans {
		if open[id] > 1 {
			where = append(where, fmt.Sprintf("%s: %d requests are open", id, open[id]))
		}
		if n := most(list, underWay); n > 1 {
			where = append(where, fmt.Sprintf("%s: %d requests were open at a time", id, n))
		}
	}
	return where
}

func agentsKeepIdentity(e *Evidence) (where []string) {
	for id, i := range e.Identities {
		d := e.Devices[id]
		switch {
		case i.InUse == "":
			where = append(where, id+": the slot in use holds no certificate with its key")
		case i.InUse == d.Fingerprint, i.Tried && i.Other == d.Fingerprint:
		default:
			where = append(where, fmt.Sprintf("%s: the server knows it by %s, and it has %s and %s (tried: %t)", id, d.Fingerprint, i.InUse, i.Other, i.Tried))
		}
	}
	return where
}

func thingsRecorded(e *Evidence) (where []string) {
	entries := map[string]int{}
	issue := map[string]int{}
	for _, a := range e.Audit {
		if a.Result == "done" {
			entries[a.Action]++
			if a.Action == "certificate.issue" {
				issue[a.Object]++
			}
		}
	}
	issued := 0
	for _, r := range e.Enrollments {
		if r.State != "issued" {
			continue
		}
		issued++
		if issue[r.Device] != 1 {
			where = append(where, fmt.Sprintf("%s: %d entries of its first certificate", r.Device, issue[r.Device]))
		}
	}
	for action, n := range map[string]int{"certificate.issue": issued, "enrollment.request": len(e.Enrollments), "enroll-token.create": len(e.Tokens)} {
		if entries[action] != n {
			where = append(where, fmt.Sprintf("%d entries of %s for %d rows", entries[action], action, n))
		}
	}
	return where
}

// renewalsRecorded counts, for each request, the entries of each step that it took.
func renewalsRecorded(e *Evidence) (where []string) {
	type step struct{ action, of string }
	entries, used := map[step]int{}, map[string]string{}
	for _, a := range e.Audit {
		var details struct{ Request, Fingerprint string }
		if a.Result != "done" || json.Unmarshal([]byte(a.Details), &details) != nil {
			continue
		}
		if a.Action == "certificate.supersede" {
			entries[step{a.Action, details.Fingerprint}]++
		} else if details.Request != "" {
			entries[step{a.Action, details.Request}]++
		}
	}
	count := func(r Request, action, of string, took bool) {
		s := step{action, of}
		if entries[s] != truth(took) {
			where = append(where, fmt.Sprintf("%s: request %s is %s with %d entries of %s", r.Device, r.ID, r.State, entries[s], action))
		}
		delete(entries, s)
	}
	for _, r := range e.Requests {
		used[r.Fingerprint] = r.ID
		count(r, "certificate.renew", r.ID, r.Fingerprint != "")
		count(r, "identity.request", r.ID, r.Approval != "")
		count(r, "identity.reject", r.ID, r.State == "rejected")
		count(r, "identity.expire", r.ID, r.State == "expired")
		if r.Fingerprint != "" {
			count(r, "certificate.supersede", r.Fingerprint, r.State == "used")
		}
		delete(entries, step{"identity.approve", r.ID}) // which actsRecorded counts
		// One person decides, on what is reviewed; what came of an approval was voted for.
		vote := step{"approval.vote", r.ID}
		if n := entries[vote]; n > truth(r.Approval != "") || n == 0 && r.Approval != "" && r.Fingerprint != "" {
			where = append(where, fmt.Sprintf("%s: request %s is %s with %d votes", r.Device, r.ID, r.State, n))
		}
		delete(entries, vote)
	}
	for s, n := range entries {
		where = append(where, fmt.Sprintf("%d entries of %s for %s, which is no request or did not lead to it", n, s.action, s.of))
	}
	return where
}
