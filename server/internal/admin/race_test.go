package admin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/seal"
)

// raceRounds is how often each one-time thing is used twice at one instant; the heavy
// suite does it at length.
const raceRounds = 100

// ADM-01, ADM-08, ADM-12: on two nodes, at one instant, each works once.
func TestNothingOneTimeWorksTwice(t *testing.T) {
	t.Parallel()
	for name, race := range races {
		t.Run(name, func(t *testing.T) { t.Parallel(); raceOf(t, race, raceRounds) })
	}
}

// race readies one round and is what both nodes then do.
type race func(w *world, round int) func(node *Service) error

var races = map[string]race{
	"TOTP code":     raceTOTP,
	"recovery code": raceRecovery,
	"invitation":    raceInvitation,
}

// twoNodes is a world whose second node has connections of its own.
func twoNodes(t testing.TB) (*world, *Service) {
	t.Helper()
	url := dbtest.PostgresURL(t)
	w := newWorld(t, url)
	d, err := db.Open(context.Background(), db.Options{URL: url, Now: w.clock, MaxConns: 4})
	must(t, err)
	t.Cleanup(func() { _ = d.Close() })
	ring, err := seal.NewRing(w.secret)
	must(t, err)
	other, err := New(d, audit.NewRefusals(d, time.Minute, 100), Settings{
		JWTSecrets: [][]byte{w.keys[0].secret}, Idle: time.Hour, Lifetime: 12 * time.Hour, MinPassword: 15, Ring: ring, PeopleURL: w.settings.PeopleURL,
	})
	must(t, err)
	other.hasher = w.hasher
	return w, other
}

func raceOf(t *testing.T, r race, rounds int) {
	t.Helper()
	w, other := twoNodes(t)
	for round := range rounds {
		act := r(w, round)
		var won [2]error
		var ready, done sync.WaitGroup
		start := make(chan struct{})
		for i, node := range []*Service{w.Service, other} {
			ready.Add(1)
			done.Go(func() {
				ready.Done()
				<-start
				won[i] = act(node)
			})
		}
		ready.Wait()
		close(start)
		done.Wait()
		wins := 0
		for _, err := range won {
			switch {
			case err == nil:
				wins++
			case !errors.Is(err, ErrCode) && !errors.Is(err, ErrInvitation):
				t.Fatalf("round %d: %v", round, err)
			}
		}
		if wins != 1 {
			t.Fatalf("round %d: it worked %d times: %v", round, wins, won)
		}
	}
}

// halves are two sign-ins of one account that both wait for their second step.
func (w *world) halves(name string) [2]string {
	return [2]string{w.halfSignIn(name), w.halfSignIn(name)}
}

// raceAccounts are accounts with code generators, anew now and then, so that nothing
// grows without end.
var raceAccounts sync.Map

type racer struct {
	name     string
	code     func(at time.Time) string
	recovery []string
}

func (w *world) racer(kind string, round, every int) *racer {
	key := fmt.Sprintf("%p %s %d", w, kind, round/every)
	if r, ok := raceAccounts.Load(key); ok {
		return r.(*racer)
	}
	r := &racer{name: fmt.Sprintf("%s-%d", kind, round/every)}
	w.account(r.name, authz.Operator)
	r.code, r.recovery = w.generator(r.name)
	raceAccounts.Store(key, r)
	return r
}

func raceTOTP(w *world, round int) func(*Service) error {
	w.pass(time.Minute) // another step
	r := w.racer("totp", round, 500)
	return w.second(r, r.code(w.clock()))
}

func raceRecovery(w *world, round int) func(*Service) error {
	w.pass(time.Minute)
	r := w.racer("recovery", round, recoveryCodes)
	return w.second(r, r.recovery[round%recoveryCodes])
}

// second is the second step, by another half session at each node.
func (w *world) second(r *racer, code string) func(*Service) error {
	halves := w.halves(r.name)
	return func(node *Service) error {
		half := halves[0]
		if node != w.Service {
			half = halves[1]
		}
		_, _, err := node.SecondStep(context.Background(), half, step(code))
		return err
	}
}

func raceInvitation(w *world, round int) func(*Service) error {
	if round == 0 {
		w.account("root", authz.Admin)
	}
	w.pass(time.Minute)
	row, err := accountBy(context.Background(), w.d.Read(), "name", "root")
	must(w.t, err)
	by := authz.NewBy(audit.Actor{Kind: audit.Person, ID: "root"}, row.ID, "root", func(context.Context, db.Tx) error { return nil })
	by.FullAt = w.clock()
	name := fmt.Sprintf("guest-%d", round)
	_, secret, err := w.Invite(context.Background(), by, NewInvitation{Name: name, Role: authz.Viewer})
	must(w.t, err)
	return func(node *Service) error {
		in := redeeming(secret, name)
		if node != w.Service {
			in.Source = "192.0.2.10"
		}
		_, _, err := node.Redeem(context.Background(), in)
		return err
	}
}
