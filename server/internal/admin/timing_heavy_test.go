//go:build heavy

package admin

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/rounds"
)

// ADM-05: how long a refusal takes does not tell whether a name exists. Ten thousand
// samples of each at ten rounds; the kinds follow each other in random order, so that
// what else the machine does meets all alike. The hash is a cheap one, which hides less.
func TestTheTimeOfARefusalTellsNoName(t *testing.T) {
	w := newWorld(t, "sqlite:"+dbtest.SQLitePath(t))
	w.account("alice", authz.Operator)
	w.account("gone", authz.Operator)
	gone, err := accountBy(t.Context(), w.d.Read(), "name", "gone")
	must(t, err)
	w.account("root", authz.Admin)
	_, err = w.Update(t.Context(), authz.Host("test"), gone.ID, Change{Disabled: new(true)})
	must(t, err)

	many := 1000 * rounds.Of(t)
	kinds := []string{"alice", "gone", "nobody"}
	order := make([]int, 0, len(kinds)*many)
	for i := range kinds {
		for range many {
			order = append(order, i)
		}
	}
	var p float64
	var apart time.Duration
	for range 3 { // one honest comparison in fifty or so looks like a difference
		took := make([][]float64, len(kinds))
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for i, kind := range order {
			if i%3 == 0 { // or an account would be locked
				must(t, w.d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error {
					_, err := tx.NewDelete().Table("attempt_counts").Where("1 = 1").Exec(ctx)
					return err
				}))
			}
			at := attempt(kinds[kind], goodPassword+"x")
			at.Source = fmt.Sprintf("2001:db8:%x:%x::1", i>>16, i&0xffff)
			begin := time.Now()
			_, _, err := w.SignIn(t.Context(), at)
			took[kind] = append(took[kind], float64(time.Since(begin)))
			if !errors.Is(err, ErrSignIn) {
				t.Fatalf("%s: %v", kinds[kind], err)
			}
		}
		p, apart = 1, 0
		for _, known := range took[:2] {
			one, mean := welch(known, took[2])
			t.Logf("a known and an unknown name: p = %.3f, %s apart", one, mean)
			p, apart = min(p, one), max(apart, mean)
		}
		if p > 0.01 && apart < time.Millisecond {
			return
		}
	}
	t.Errorf("the time tells which names exist: p = %g, %s apart", p, apart)
}

// welch compares two means (Welch's t-test). There are so many samples that Student's
// distribution is the normal one. The slowest hundredth of each is left out: what the
// machine did besides.
func welch(a, b []float64) (p float64, apart time.Duration) {
	mean := func(list []float64) (m, v float64) {
		list = append([]float64(nil), list...)
		slices.Sort(list)
		list = list[:len(list)*99/100]
		for _, x := range list {
			m += x
		}
		m /= float64(len(list))
		for _, x := range list {
			v += (x - m) * (x - m)
		}
		return m, v / float64(len(list)-1) / float64(len(list))
	}
	ma, va := mean(a)
	mb, vb := mean(b)
	return math.Erfc(math.Abs(ma-mb) / math.Sqrt(va+vb) / math.Sqrt2), time.Duration(math.Abs(ma - mb))
}
