package admin

import (
	"context"
	"crypto/rand"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/seal"
)

const goodPassword = "blue kettles sing at noon"

// world is a service on a database of its own, with a clock that stands still and
// a hash that is cheap and counted.
type world struct {
	*Service
	t   testing.TB
	d   *db.DB
	mu  sync.Mutex
	now time.Time

	hashes int
	secret []byte // of the ring
	ring   *seal.Ring
}

func newWorld(t testing.TB, url string) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	ctx := context.Background()
	d, err := db.Open(ctx, db.Options{URL: url, Now: w.clock, MaxConns: 8})
	must(t, err)
	t.Cleanup(func() { _ = d.Close() })
	_, err = d.Migrate(ctx)
	must(t, err)
	_, err = d.Begin(ctx, "trial")
	must(t, err)
	w.d = d
	w.secret = key(t)
	w.ring, err = seal.NewRing(w.secret)
	must(t, err)
	w.Service = w.node([][]byte{key(t)})
	return w
}

// node is another service over the same database.
func (w *world) node(secrets [][]byte) *Service {
	w.t.Helper()
	s, err := New(w.d, audit.NewRefusals(w.d, time.Minute, 100), Settings{
		JWTSecrets: secrets, Idle: time.Hour, Lifetime: 12 * time.Hour, MinPassword: 15,
		Ring: w.ring, FleetName: "Test fleet", CheapHashes: true, PeopleURL: func() string { return "http://localhost:8080" },
	})
	must(w.t, err)
	s.hasher.key = func(password, salt []byte, passes, memory uint32, threads uint8, size uint32) []byte {
		w.mu.Lock()
		w.hashes++
		w.mu.Unlock()
		return argon2.IDKey(password, salt, passes, memory, threads, size)
	}
	return s
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) account(name string, role authz.Role, grants ...authz.Permission) Account {
	w.t.Helper()
	a, err := w.CreateLocal(context.Background(), NewAccount{Name: name, Role: role, Grants: grants, Password: goodPassword})
	must(w.t, err)
	return a
}

func (w *world) signIn(name string) (string, Caller) {
	w.t.Helper()
	token, c, err := w.SignIn(context.Background(), attempt(name, goodPassword))
	must(w.t, err)
	return token, c
}

// entries are the audit entries of an action, newest first.
func (w *world) entries(action string) []audit.Row {
	w.t.Helper()
	page, err := audit.List(context.Background(), w.d.Read(), audit.Filter{Action: action, Limit: 500})
	must(w.t, err)
	return page.Rows
}

func attempt(name, password string) Attempt {
	return Attempt{Source: "192.0.2.7", RequestID: "r1", Agent: "test", Name: name, Password: password}
}

func key(t testing.TB) []byte {
	t.Helper()
	k := make([]byte, 32)
	rand.Read(k)
	return k
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func to[T any](v T) *T { return new(v) }
