package flow_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/seal"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// clock is a time that only the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

func (c *clock) Add(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }

// world is a server without its listeners, on a real database.
type world struct {
	*testing.T
	*flow.Flow
	clock   *clock
	url     string
	dir     string
	d       *db.DB
	ring    *seal.Ring
	pki     *pki.Service
	policy  *policy.Service
	enroll  *enroll.Service
	refused *audit.Refusals
	people  *admin.Service
	outside *db.Outside
	journal *device.Journal
	by      authz.By // who may do everything
	maker   authz.By // who makes the tokens: nobody lets in what comes by their own
	command signing.Signer
	keys    string        // directory of the fleet's own keys
	begun   *atomic.Int64 // transactions
}

// onBoth runs a test on both databases.
func onBoth(t *testing.T, f func(w *world)) {
	t.Helper()
	dbtest.Both(t, func(t *testing.T, url string) { f(newWorld(t, url, nil)) })
}

var standard = flow.Settings{
	RequireReview: true, ReviewTTL: 72 * time.Hour, MaxPending: 100, CertificateLife: 7 * 24 * time.Hour,
	HeartbeatInterval: time.Minute, BatchWindow: time.Millisecond, BatchSize: 64,
}

func newWorld(t *testing.T, url string, change func(*flow.Settings)) *world {
	t.Helper()
	settings := standard
	if change != nil {
		change(&settings)
	}
	w := &world{T: t, url: url, dir: t.TempDir(), clock: &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}}
	w.open(settings)
	w.must(w.migrate())
	_, err := w.d.Begin(t.Context(), "trial")
	w.must(err)
	w.found()

	// A person who may do everything: rights are tested where they live.
	w.must(w.d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error {
		grants, err := json.Marshal(authz.Permissions())
		if err != nil {
			return err
		}
		for _, a := range [][3]string{{"a1", "alice", "Alice"}, {"a2", "alice2", "Alice"}, {"b1", "bob", "Bob"}, {"c1", "carol", "Carol"}, {"d1", "dave", "Dave"}} {
			if _, err := tx.ExecContext(ctx, `INSERT INTO accounts (id, name, person, role, grants, password_hash, created_at, created_by, password_at)
				VALUES (?, ?, ?, 'admin', ?, '', 0, '', 0)`, a[0], a[1], a[2], string(grants)); err != nil {
				return err
			}
		}
		return nil
	}))
	w.by, w.maker = person("alice", "a1", "Alice"), person("bob", "b1", "Bob")
	w.run()
	return w
}

func person(name, account, human string) authz.By {
	return authz.NewBy(audit.Actor{Kind: audit.Person, ID: name, Source: "192.0.2.1"}, account, human, func(context.Context, db.Tx) error { return nil })
}

func (w *world) open(settings flow.Settings) {
	w.Helper()
	if w.begun == nil {
		w.begun = new(atomic.Int64)
	}
	d, err := db.Open(w.Context(), db.Options{URL: w.url, Now: w.clock.Now, Hooks: db.Hooks{
		Begin: func(context.Context) error { w.begun.Add(1); return nil },
	}})
	w.must(err)
	w.Cleanup(func() { _ = d.Close() })
	w.d = d
	w.ring, err = seal.NewRing([]byte("a secret of at least thirty-two bytes"))
	w.must(err)
	w.pki, w.policy = pki.New(d, w.ring, "fleet.test"), policy.New(d)
	w.enroll, w.refused = enroll.New(d), audit.NewRefusals(d, time.Minute, 100)
	w.outside, w.journal = db.NewOutside(w.dir), device.NewJournal(w.dir)
	w.people, err = admin.New(d, w.refused, admin.Settings{JWTSecrets: [][]byte{bytes.Repeat([]byte("k"), 32)}, Idle: time.Hour, Lifetime: 12 * time.Hour, MinPassword: 15, Ring: w.ring, CheapHashes: true, PeopleURL: func() string { return "http://localhost" }})
	w.must(err)
	w.Flow = w.flow(settings)
	w.people.OnRights(w.Flow)
	w.enroll.OnWithdraw(w.Withdrawn)
}

// flow carries out the acts of this world by these settings.
func (w *world) flow(settings flow.Settings) *flow.Flow {
	return flow.New(flow.Parts{
		DB: w.d, Log: slog.New(slog.DiscardHandler), Ring: w.ring, PKI: w.pki, Policy: w.policy,
		Refusals: w.refused, Journal: w.journal, Outside: w.outside, Settings: settings,
		CommandSigner: func(context.Context, []signing.Key) (signing.Signer, error) { return w.command, nil }, Accounts: w.people,
	})
}

func (w *world) migrate() error { _, err := w.d.Migrate(w.Context()); return err }

// run lets heartbeats be stored until the test ends.
func (w *world) run() {
	ctx, stop := context.WithCancel(context.Background())
	f := w.Flow // a test may go on with another
	var parts sync.WaitGroup
	parts.Go(func() { _ = f.RunHeartbeats(ctx) })
	parts.Go(func() { _ = f.RunRenewals(ctx) })
	w.Cleanup(func() { stop(); parts.Wait() })
}

func (w *world) found() {
	w.Helper()
	ctx := w.Context()
	command, _, err := signing.GenerateEd25519(signing.PurposeCommand)
	w.must(err)
	w.command = command
	request, err := flow.CeremonyRequest(ctx, w.d, w.pki, authz.System("test"), "Test", command.Key())
	w.must(err)
	w.keys = w.TempDir()
	owner, err := ceremony.NewOwner(w.keys)
	w.must(err)
	founding, err := owner.Hold(ctx, request, w.clock.Now())
	w.must(err)
	w.must(flow.InstallFounding(ctx, w.d, w.pki, w.policy, authz.System("test"), request, founding))
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// token makes an enrollment token.
func (w *world) token(n enroll.NewToken) (secret, id string) {
	w.Helper()
	if n.Uses == 0 {
		n.Uses = 1
	}
	if n.Life == 0 {
		n.Life = time.Hour
	}
	t, secret, err := w.enroll.CreateToken(w.Context(), w.maker, n)
	w.must(err)
	return secret, t.ID
}

// agent is a device's side, without the network.
type agent struct {
	w            *world
	id           string
	enrollmentID string
	key          *ecdsa.PrivateKey
	nonce        string
	chain        [][]byte
	identity     certs.Identity
	counter      int64
	epoch        string
	boot         string
	beatNonce    string
	receipt      string
	answer       *protocol.HeartbeatAnswer // the last one
	acks         []string
	results      []json.RawMessage
}

func (w *world) agent(id string) *agent {
	w.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	return &agent{w: w, id: id, key: key, enrollmentID: db.NewID(w.clock.Now()), boot: db.NewID(w.clock.Now())}
}

func (a *agent) request(token string) *protocol.EnrollRequest {
	a.w.Helper()
	csr, err := certs.NewRequest(a.id, a.key)
	a.w.must(err)
	return &protocol.EnrollRequest{Protocol: 1, EnrollmentID: a.enrollmentID, DeviceID: a.id, Token: token, CSR: csr, Facts: protocol.Facts{"os": "linux"}}
}

func (a *agent) ask(token string) error {
	a.w.Helper()
	answer, err := a.w.Enroll(a.w.Context(), "192.0.2.9", "", a.request(token))
	if err == nil {
		a.nonce = answer.Nonce
	}
	return err
}

func (a *agent) pollBody() []byte {
	a.w.Helper()
	ca, err := a.w.pki.Active(certs.KindServer)
	a.w.must(err)
	payload, err := json.Marshal(protocol.EnrollPoll{EnrollmentID: a.enrollmentID, Nonce: a.nonce, CAFingerprint: certs.Fingerprint(ca.Raw)})
	a.w.must(err)
	signer, err := signing.NewSigner(signing.PurposeEnrollPoll, a.key)
	a.w.must(err)
	env, err := signing.Seal(a.w.Context(), signing.PurposeEnrollPoll, payload, signer)
	a.w.must(err)
	body, err := env.Marshal()
	a.w.must(err)
	return body
}

func (a *agent) poll() (*protocol.EnrollResult, error) {
	a.w.Helper()
	r, err := a.w.Poll(a.w.Context(), "192.0.2.9", "", a.enrollmentID, a.pollBody())
	if err == nil && r.State == protocol.EnrollIssued {
		a.take(r)
	}
	return r, err
}

func (a *agent) take(r *protocol.EnrollResult) {
	a.w.Helper()
	a.chain, a.epoch = r.Certificates, r.Epoch
	a.identity = a.w.identify(r.Certificates[0])
}

// review is what waits for a person about an enrollment.
func (w *world) review(id string) view.Review {
	w.Helper()
	list, _, err := view.Reviews(w.Context(), w.d.Read(), "", 500, "")
	w.must(err)
	for _, r := range list {
		if r.EnrollmentID == id {
			return r
		}
	}
	w.Fatalf("no review of %s", id)
	return view.Review{}
}

func (w *world) approve(a *agent) {
	w.Helper()
	_, err := w.Review(w.Context(), w.by, a.enrollmentID, flow.Decision{Approve: true, Digest: w.review(a.enrollmentID).Digest, Reason: "known"})
	w.must(err)
}

// enrolled lets a device in, the whole way.
func (w *world) enrolled(id string) *agent {
	w.Helper()
	a := w.agent(id)
	secret, _ := w.token(enroll.NewToken{})
	w.must(a.ask(secret))
	w.approve(a)
	_, err := a.poll()
	w.must(err)
	return a
}

func (a *agent) heartbeat() *protocol.Heartbeat {
	a.counter++
	return &protocol.Heartbeat{Protocol: 1, DeviceID: a.id, EnrollmentID: a.enrollmentID, Counter: a.counter, Epoch: a.epoch,
		BootID: a.boot, AgentVersion: "1.0.0", Nonce: a.beatNonce, Receipt: a.receipt, Acks: a.acks, Results: a.results}
}

func (a *agent) send(h *protocol.Heartbeat) error {
	answer, err := a.w.Heartbeat(context.Background(), a.identity, h)
	if err == nil {
		a.beatNonce, a.receipt, a.answer = answer.Nonce, answer.Receipt, answer
		a.acks, a.results = nil, nil
	}
	return err
}

func (a *agent) beat() error { return a.send(a.heartbeat()) }

// count is the number of rows that match.
func (w *world) count(table, where string, args ...any) int {
	w.Helper()
	n, err := w.d.Read().NewSelect().Table(table).Where(where, args...).Count(w.Context())
	w.must(err)
	return int(n)
}

func execute(query string, args ...any) func(context.Context, db.Tx) error {
	return func(ctx context.Context, tx db.Tx) error { _, err := tx.ExecContext(ctx, query, args...); return err }
}

func (w *world) exec(query string, args ...any) {
	w.Helper()
	w.must(w.d.Write(w.Context(), execute(query, args...)))
}
