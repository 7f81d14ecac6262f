package flow

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/attestation"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/seal"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/trust"
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
	beats    *batcher[beat, int]
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
	f.beats = newBatcher(window, size, atOnce, beat.device, f.store)
	f.renewals = newBatcher(window, size, atOnce, (*renewal).device, f.record)
	return f
}

// retrust decides anew about a device, in the transaction that changed a fact.
func retrust(ctx context.Context, tx db.Tx, d *device.Device) error {
	facts, err := facts(ctx, tx, d, tx.Now)
	if err != nil {
		return err
	}
	return trust.Put(ctx, tx, d.DeviceID, trust.Decide(facts, tx.Now))
}

func facts(ctx context.Context, q bun.IDB, d *device.Device, now time.Time) (trust.Facts, error) {
	e, err := enroll.Get(ctx, q, d.EnrollmentID)
	if err != nil {
		return trust.Facts{}, err
	}
	c, err := device.GetCounter(ctx, q, d.DeviceID)
	if err != nil {
		return trust.Facts{}, err
	}
	cert, err := pki.Get(ctx, q, c.Fingerprint)
	if err != nil {
		return trust.Facts{}, err
	}
	return factsOf(ctx, q, d, e, &cert, now)
}

// factsOf is what is known of a device by what is stored about it.
func factsOf(ctx context.Context, q bun.IDB, d *device.Device, e *enroll.Enrollment, cert *pki.Certificate, now time.Time) (f trust.Facts, err error) {
	f = trust.Facts{State: string(d.State), StateReason: d.StateReason, HeldReason: d.HeldReason, FirstUse: d.FirstUse}
	f.NotBefore, f.NotAfter, f.Revoked = cert.NotBefore.Time(), cert.NotAfter.Time(), cert.RevokedAt != 0
	if e.ApprovalID != "" {
		if f.ReviewedBy, err = approval.Approver(ctx, q, e.ApprovalID); err != nil {
			return f, err
		}
	}
	f.Attestation, err = attested(ctx, q, d.DeviceID, cert.KeyDigest, now)
	return f, err
}
