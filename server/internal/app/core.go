package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/assertion"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keysource"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/seal"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// Refusals are gathered over windows of this length, of at most so many kinds.
const (
	refusalWindow = time.Minute
	refusalKinds  = 1000
)

// simulatedDoors is more than a simulation has requests on their way.
const simulatedDoors = 1 << 10

// Core is the server below its listeners.
type Core struct {
	Config   *config.Config
	Log      *slog.Logger
	DB       *db.DB
	Instance db.Instance
	Outside  *db.Outside
	Journal  *device.Journal
	Ring     *seal.Ring
	Keys     *keysource.Opener
	Refusals *audit.Refusals
	PKI      *pki.Service
	Lists    *pki.Lists
	OCSP     *pki.Responder
	Policy   *policy.Service
	Enroll   *enroll.Service
	Admin    *admin.Service
	Flow     *flow.Flow
	External *External // nil: devices come with certificates of our own authority

	Assertions *assertion.Service

	doors int
}

// Options are what the settings do not say.
type Options struct {
	Config *config.Config
	Log    *slog.Logger

	SettingsFile string // that Config was read from; "" for none

	Now   func() time.Time // the clock of everything that is decided; nil takes the machine's
	Hooks db.Hooks         // of simulations

	CheapHashes bool // of tests; see admin.Settings
}

// now is the clock of everything that is decided.
func (o Options) now() func() time.Time {
	if o.Now != nil {
		return o.Now
	}
	return time.Now
}

// OpenDB opens the database that the settings name, and nothing else.
func OpenDB(ctx context.Context, c *config.Config, now func() time.Time) (*db.DB, error) {
	return openDB(ctx, Options{Config: c, Now: now})
}

func openDB(ctx context.Context, o Options) (*db.DB, error) {
	c := o.Config
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("the data directory: %w", err)
	}
	url := string(c.DatabaseURL)
	if url == "" {
		url = "sqlite:" + filepath.Join(c.DataDir, "sentinel.db")
	}
	return db.Open(ctx, db.Options{URL: url, MaxConns: c.DatabaseMaxConns, Now: o.Now, Hooks: o.Hooks})
}

// Open opens everything below the listeners. A trial makes what it misses: its
// secrets, its schema, its fleet root. Other profiles are told what to do.
func Open(ctx context.Context, o Options) (_ *Core, err error) {
	c := &Core{Config: o.Config, Log: o.Log, Outside: db.NewOutside(o.Config.DataDir), Journal: device.NewJournal(o.Config.DataDir)}
	if c.DB, err = openDB(ctx, o); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = c.Close()
		}
	}()
	if o.Hooks.Begin != nil { // whoever is held up in a transaction must not hold up others outside one
		c.doors = simulatedDoors
	}
	if err = trialSecrets(o.Config); err != nil {
		return nil, err
	}
	if err = c.begin(ctx); err != nil {
		return nil, err
	}
	if err = c.services(o); err != nil {
		return nil, err
	}
	if err = c.load(ctx); err != nil {
		return nil, err
	}
	return c, c.resealAlone(ctx)
}

// begin checks that the database is one that this server may work on.
func (c *Core) begin(ctx context.Context) error {
	if err := c.DB.MayBegin(ctx, string(c.Config.Profile)); err != nil {
		return err
	}
	if c.Config.AutoCreateSchemaOnBoot {
		applied, err := c.DB.Migrate(ctx)
		if err != nil {
			return err
		}
		if len(applied) > 0 {
			c.Log.InfoContext(ctx, "the schema was brought up to date", "migrations", applied)
		}
	}
	if err := c.DB.CheckSchema(ctx); err != nil {
		return err
	}
	var err error
	if c.Instance, err = c.DB.Begin(ctx, string(c.Config.Profile)); err != nil {
		return err
	}
	if err := c.Outside.Check(c.Instance); err != nil {
		return err
	}
	return c.revocationsStand(ctx)
}

// revocationsStand compares the journal of revocations with the database: a
// device that is in the one and lives in the other came back with a backup.
func (c *Core) revocationsStand(ctx context.Context) error {
	journal, err := c.Journal.Read()
	if err != nil {
		return err
	}
	ids := make([]string, len(journal))
	for i, r := range journal {
		ids[i] = r.DeviceID
	}
	back, err := device.NotRevoked(ctx, c.DB.Read(), ids)
	if err != nil {
		return err
	}
	if len(back) > 0 {
		return fmt.Errorf("%w (%d devices that were revoked are not, %s among them); run: sentinel-server db mark-restored", db.ErrRestored, len(back), back[0])
	}
	return nil
}

func (c *Core) services(o Options) error {
	var err error
	if c.Ring, err = seal.NewRing([]byte(c.Config.SecretKey), []byte(c.Config.SecretKeyPrevious)); err != nil {
		return err
	}
	c.Keys = NewKeys(o)
	c.Refusals = audit.NewRefusals(c.DB, refusalWindow, refusalKinds)
	c.PKI = pki.New(c.DB, c.Ring, c.Config.TrustDomain)
	c.PKI.UseKeys(c.AuthorityKeys())
	c.Lists = c.PKI.NewLists(pki.NewMarks(c.Config.DataDir), pki.ListSettings{Life: c.Config.CRLValidity, Every: c.Config.CRLInterval})
	if c.OCSP, err = c.PKI.NewResponder(c.Config.OCSPValidity); err != nil {
		return err
	}
	if err = c.believeExternal(); err != nil {
		return err
	}
	c.Assertions = assertion.New(c.DB, c.AssertionKeys())
	c.Policy = policy.New(c.DB)
	c.Enroll = enroll.New(c.DB)
	c.Enroll.OnWithdraw(func(ctx context.Context, tx db.Tx, e *enroll.Enrollment) error { return c.Flow.Withdrawn(ctx, tx, e) })
	secrets := [][]byte{[]byte(c.Config.JWTSecret)}
	if c.Config.JWTSecretPrevious != "" {
		secrets = append(secrets, []byte(c.Config.JWTSecretPrevious))
	}
	c.Admin, err = admin.New(c.DB, c.Refusals, admin.Settings{
		JWTSecrets: secrets, Idle: c.Config.SessionIdle, Lifetime: c.Config.SessionLifetime, MinPassword: c.Config.PasswordMinLength,
		Ring: c.Ring, FleetName: c.Config.FleetName, PasskeyRoles: roles(c.Config.PasskeyRoles), PeopleURL: func() string { return c.Config.PeopleURL }, CheapHashes: o.CheapHashes,
	})
	if err != nil {
		return err
	}
	terms, err := attestationTerms(c.Config)
	if err != nil {
		return err
	}
	c.Flow = flow.New(flow.Parts{
		DB: c.DB, Log: c.Log, Ring: c.Ring, PKI: c.PKI, Policy: c.Policy, Refusals: c.Refusals, Journal: c.Journal, Outside: c.Outside,
		Settings: flow.Settings{
			Outside: c.External != nil, RequireReview: c.Config.RequireNewDeviceApproval, ReviewRotations: c.Config.RequireRotationApproval, ReviewTTL: c.Config.EnrollmentReviewTTL, MaxPending: c.Config.MaxPendingEnrollments,
			CertificateLife: c.Config.DeviceCertLifetime, HeartbeatInterval: c.Config.HeartbeatInterval,
			BatchWindow: c.Config.HeartbeatBatchWindow, BatchSize: c.Config.HeartbeatBatchSize, Doors: c.doors,
			People: map[approval.Path]int{
				approval.Commands: int(c.Config.DualApprovalCommands), approval.Certificates: c.Config.DualApprovalCertificates, approval.Identities: c.Config.DualApprovalIdentity,
			},
			ApprovalDelay: c.Config.ApprovalDelay, FreshSignIn: c.Config.ApprovalFreshSignIn, Attestation: terms,
		},
		CommandSigner: c.commandSigner, Accounts: c.Admin,
	})
	c.Admin.OnRights(c.Flow)
	return nil
}

func roles(names []string) (list []authz.Role) {
	for _, name := range names {
		list = append(list, authz.Role(name))
	}
	return list
}

// load brings in authorities and fleet documents. A fleet without a root is
// founded in a trial; elsewhere the server runs without enrolling anybody until
// the ceremony's result is installed.
func (c *Core) load(ctx context.Context) error {
	if err := c.PKI.Load(ctx); err != nil {
		return err
	}
	err := c.Policy.Load(ctx)
	if !errors.Is(err, policy.ErrNotFounded) {
		return err
	}
	if c.Config.Profile != config.Trial {
		return nil
	}
	if err := c.foundTrial(ctx); err != nil {
		return fmt.Errorf("found the trial's fleet: %w", err)
	}
	c.Log.WarnContext(ctx, "this trial keeps the fleet's own keys on the server; in production they must be out of its reach",
		"keys", filepath.Join(c.Config.DataDir, keysDir))
	return nil
}

func (c *Core) foundTrial(ctx context.Context) error {
	dir := filepath.Join(c.Config.DataDir, keysDir)
	request, err := c.CeremonyRequest(ctx, authz.System("trial"))
	if err != nil {
		return err
	}
	owner, err := ceremony.ResumeOwner(dir)
	if err != nil {
		return err
	}
	founding, err := owner.Hold(ctx, request, c.DB.Now())
	if err != nil {
		return err
	}
	return flow.InstallFounding(ctx, c.DB, c.PKI, c.Policy, authz.System("trial"), request, founding)
}

// CeremonyRequest is what the fleet's owner must sign for this server. It makes
// the server's issuing keys and its command key when they are missing.
func (c *Core) CeremonyRequest(ctx context.Context, by authz.By) (ceremony.Request, error) {
	key, err := c.commandKeyNow(ctx)
	if err != nil {
		return ceremony.Request{}, fmt.Errorf("the command key: %w", err)
	}
	return flow.CeremonyRequest(ctx, c.DB, c.PKI, by, c.Config.FleetName, key)
}

// RotationRequest is what the fleet's owner must sign so that other authorities
// can follow, with the fleet roots so far.
func (c *Core) RotationRequest(ctx context.Context, by authz.By, kinds ...certs.Kind) (ceremony.Request, [][]byte, error) {
	return flow.RotationRequest(ctx, c.DB, c.PKI, by, c.Config.FleetName, kinds...)
}

// InstallRotation installs what the fleet's owner made of it.
func (c *Core) InstallRotation(ctx context.Context, by authz.By, r *ceremony.Rotation, force bool) (version int64, err error) {
	return flow.InstallRotation(ctx, c.DB, c.PKI, c.Policy, by, r, force)
}

// Activate lets a published authority issue.
func (c *Core) Activate(ctx context.Context, by authz.By, kind certs.Kind, force bool) error {
	return flow.ActivateAuthority(ctx, c.DB, c.PKI, by, kind, force)
}

// ErrNotTrial says that the server does not hold the fleet's own keys.
var ErrNotTrial = errors.New("only a trial holds the fleet's own keys; elsewhere: sentinel-server keys request --rotate, ceremony --rotate, install, activate")

// PublishTrial has a trial's own keys sign authorities that are to follow, without
// those that are dropped, and installs the fleet root that names them.
func (c *Core) PublishTrial(ctx context.Context, by authz.By, drop []string, force bool, kinds ...certs.Kind) (version int64, err error) {
	if c.Config.Profile != config.Trial {
		return 0, ErrNotTrial
	}
	owner, err := ceremony.LoadOwner(filepath.Join(c.Config.DataDir, keysDir))
	if err != nil {
		return 0, err
	}
	request, chain, err := c.RotationRequest(ctx, by, kinds...)
	if err != nil {
		return 0, err
	}
	rotation, err := owner.Rotate(ctx, request, chain, drop, c.DB.Now())
	if err != nil {
		return 0, err
	}
	return c.InstallRotation(ctx, by, rotation, force)
}

// Close gives everything back.
func (c *Core) Close() error {
	if c.DB == nil {
		return nil
	}
	return c.DB.Close()
}
