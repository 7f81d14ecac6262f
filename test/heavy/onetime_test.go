//go:build heavy

package heavy

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/rounds"
)

// Fifty devices use a token for one at the same instant. At fifty rounds it is
// 1,000 tokens. ENR-01
func TestATokenForOneDeviceLetsOneIn(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) { oneTime(newFleet(t, database), 1) })
	t.Run("postgres, two nodes", func(t *testing.T) { oneTime(newFleet(t, postgres(t)), 2) })
}

func oneTime(f *fleet, nodes int) {
	t := f.t
	const atATime = 50
	tokens := 20 * rounds.Of(t)
	at := []*servertest.Server{f.Server}
	for len(at) < nodes {
		at = append(at, f.Sibling())
	}
	var made int
	fresh := func(i int) *servertest.Device {
		made++
		return at[i%nodes].NewDevice(fmt.Sprintf("edge-%d", made))
	}
	crowd := make([]*servertest.Device, atATime)
	for i := range crowd {
		crowd[i] = fresh(i)
	}
	var took []time.Duration
	for range tokens {
		token := f.operator.EnrollToken(1)
		var in atomic.Int32
		winner := make([]bool, atATime)
		calls := make([]func(), atATime)
		for i, d := range crowd {
			d.EnrollmentID = newID()
			calls[i] = func() {
				problem, err := ask(d, token)
				switch {
				case err != nil:
					t.Errorf("%s: %v", d.ID, err)
				case problem == nil:
					in.Add(1)
					winner[i] = true
					if err := fetch(d); err != nil {
						t.Error(err)
					}
				case problem.Code != protocol.CodeTokenUsedUp:
					t.Errorf("%s: refused as %s", d.ID, problem.Code)
				}
			}
		}
		begin := time.Now()
		atOnce(calls...)
		took = append(took, time.Since(begin))
		if in.Load() != 1 {
			t.Fatalf("%d of %d devices were let in with one token", in.Load(), atATime)
		}
		for i, won := range winner {
			if won {
				crowd[i].Hangup()
				crowd[i] = fresh(i)
			}
		}
	}
	for _, s := range at {
		s.Round() // writes down how often what was refused
	}
	for what, n := range map[string]int{
		"certificates": f.Count("certificates", "kind = 'device'"), "devices": f.Count("devices", "state = 'active'"),
		"enrollments": f.Count("enrollments", "state = 'issued'"), "used tokens": f.Count("enroll_tokens", "uses = 1"),
		"entries of certificates": f.Count("audit_entries", "action = 'certificate.issue' AND result = 'done'"),
	} {
		if n != tokens {
			t.Errorf("%d %s from %d tokens", n, what, tokens)
		}
	}
	if refused, want := f.refusals("token-used-up"), tokens*(atATime-1); refused != want {
		t.Errorf("the audit log tells of %d refusals, and there were %d", refused, want)
	}
	t.Logf("%d tokens x %d devices: %d certificates; a crowd took median %v, p99 %v", tokens, atATime, tokens, quantile(took, 0.5), quantile(took, 0.99))
}

// refusals counts the refusals for a reason that the audit log tells of: each
// entry stands for itself, or for as many as it says.
func (f *fleet) refusals(reason string) int {
	f.t.Helper()
	rows, err := f.read().Query("SELECT details FROM audit_entries WHERE result = 'refused' AND reason = '" + reason + "'")
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	total := 0
	for rows.Next() {
		var text string
		var details struct {
			Repeated string `json:"repeated"`
		}
		if err := rows.Scan(&text); err != nil {
			f.t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(text), &details); err != nil {
			f.t.Fatal(err)
		}
		n := 1
		if details.Repeated != "" {
			if n, err = strconv.Atoi(details.Repeated); err != nil {
				f.t.Fatal(err)
			}
		}
		total += n
	}
	if err := rows.Err(); err != nil {
		f.t.Fatal(err)
	}
	return total
}

// newID is a random UUID (RFC 9562 section 5.4).
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
