package flow

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/attestation"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/seal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Settings are what operators chose.
type Settings struct {
	Outside           bool // devices come with certificates of another authority, and none enrolls by token
	RequireReview     bool
	ReviewRotations   bool // renewals too; recoveries are reviewed always
	ReviewTTL         time.Duration
	MaxPending        int
	CertificateLife   time.Duration
	HeartbeatInterval time.Duration
	BatchWindow       time.Duration
	BatchSize         int
	Doors             int                   // enrollments that are written at once; 0 is one
	People            map[approval.Path]int // how many approve, where the database has no number of its own yet
	ApprovalDelay     time.Duration         // until a change of who may approve takes effect
	FreshSignIn       time.Duration         // the oldest sign-in that approves; 0: any
	Attestation       attestation.Terms
}

// Flow carries out the acts.
type Flow struct {
	d        *db.DB
	log      *slog.Logger
	ring     *seal.Ring
	pki      *pki.Service
	policy   *policy.Service
	refusals *audit.Refusals
	journal  *device.Journal
	outside  *db.Outside
	settings Settings
	beats    *batcher[*beat, int]
	renewals *batcher[*renewal, *renewed]
	door     chan struct{} // full while an enrollment is written
	signer   func(ctx context.Context, listed []signing.Key) (signing.Signer, error)
	wake     chan struct{} // of RunCommands
	trees    trees
	accounts Accounts
	rejudged atomic.Int64 // the policy that all results were judged by

	wakeSigning chan struct{}
	signFailed  atomic.Pointer[signFailure] // nil while all is well

	beatCount beatCount
}

// Accounts gives rights once people agreed to it.
type Accounts interface {
	// Apply is part of a transaction, and asks nobody.
	Apply(ctx context.Context, tx db.Tx, by authz.By, id string, c admin.Change) (admin.Account, error)
}

// Parts are what the acts are made of.
type Parts struct {
	DB       *db.DB
	Log      *slog.Logger
	Ring     *seal.Ring
	PKI      *pki.Service
	Policy   *policy.Service
	Refusals *audit.Refusals
	Journal  *device.Journal
	Outside  *db.Outside
	Settings Settings
	Accounts Accounts
	// CommandSigner gives the key that commands are signed with, as it is now: one that
	// is listed where this server has one.
	CommandSigner func(ctx context.Context, listed []signing.Key) (signing.Signer, error)
}

// New makes the acts. RunHeartbeats must run for heartbeats to be answered, and
// RunRenewals for renewals.
func New(p Parts) *Flow {
	f := &Flow{
		d: p.DB, log: p.Log, ring: p.Ring, pki: p.PKI, policy: p.Policy, refusals: p.Refusals,
		journal: p.Journal, outside: p.Outside, settings: p.Settings, door: make(chan struct{}, max(p.Settings.Doors, 1)),
		signer: p.CommandSigner, wake: make(chan struct{}, 1), wakeSigning: make(chan struct{}, 1), accounts: p.Accounts,
	}
	window, size, atOnce := p.Settings.BatchWindow, p.Settings.BatchSize, writers(p.DB.Dialect())
	f.beats = newBatcher(window, size, atOnce, (*beat).device, f.store)
	f.renewals = newBatcher(window, size, atOnce, (*renewal).device, f.record)
	return f
}
