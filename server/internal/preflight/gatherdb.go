package preflight

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keysource"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/seal"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// gatherDatabase reads what the database knows. It connects to PostgreSQL only, and
// never where that would send a password in plain text.
func gatherDatabase(ctx context.Context, f *Facts) {
	if f.Config.DatabaseURL == "" || f.Config.DatabaseInTheClear() {
		return
	}
	f.Database.Asked = true
	d, err := db.Open(ctx, db.Options{URL: string(f.Config.DatabaseURL), MaxConns: 2, Now: f.now})
	if err != nil {
		f.Database.Refused = whyNot(err)
		return
	}
	defer func() { _ = d.Close() }()
	if f.Database.Session, err = d.Session(ctx); err != nil {
		f.Database.Refused = whyNot(err)
		return
	}
	if f.Database.Schema, err = d.Schema(ctx); err != nil {
		f.Database.Unread = whyNot(err)
		return
	}
	if f.Database.Fits = f.Database.Schema.Current == f.Database.Schema.Wanted; !f.Database.Fits {
		return
	}
	if err := f.readTables(ctx, d); err != nil {
		f.Standing, f.Database.Unread = nil, whyNot(err)
	}
}

// whyNot says why the database gave nothing, without what its error may repeat of the
// URL.
func whyNot(err error) string {
	var pg *pgconn.PgError
	var network *net.OpError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.As(err, &pg):
		return "PostgreSQL says " + pg.Code + ": " + pg.Message
	case errors.As(err, &unknown):
		return "its certificate is of an authority that is not known here (sslrootcert=FILE names one)"
	case errors.As(err, &name):
		return "its certificate names another host"
	case errors.As(err, &network):
		return "it cannot be reached: " + network.Err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "it does not answer in time"
	}
	return "it cannot be opened with this URL"
}

func (f *Facts) readTables(ctx context.Context, d *db.DB) error {
	in, err := d.Instance(ctx)
	switch {
	case errors.Is(err, db.ErrNotFound):
	case err != nil:
		return err
	default:
		f.Database.Instance = &in
		if err := db.NewOutside(f.Config.DataDir).Check(in); err != nil {
			f.Database.Behind = err.Error()
		}
	}
	if f.Standing, err = view.ReadStanding(ctx, d.Read(), f.At); err != nil {
		return err
	}
	documents := policy.New(d)
	err = documents.Load(ctx)
	fleet, missing := documents.Fleet()
	switch {
	case errors.Is(err, policy.ErrNotFounded):
	case err != nil:
		f.Fleet.Wrong = err.Error()
	case missing == nil:
		f.Fleet.Founded, f.Fleet.Bundle = true, fleet.Bundle
		f.Fleet.Owner = ownersKeys(&fleet.Root.Root, f.Standing.RootIssuer)
		f.Fleet.CommandKey = commandKey(ctx, f.Config, f.now, fleet.Bundle)
	}
	return f.readAuthorities(ctx, d)
}

// readAuthorities opens the issuing keys, as a server does when it starts.
func (f *Facts) readAuthorities(ctx context.Context, d *db.DB) error {
	ring, err := seal.NewRing([]byte(f.Config.SecretKey), []byte(f.Config.SecretKeyPrevious))
	if err != nil { // another check tells of the secret
		ring = nil
	}
	authorities := pki.New(d, ring, f.Config.TrustDomain)
	authorities.UseKeys(keysource.OfSettings(f.Config, f.now).Authorities(f.Config))
	if f.Fleet.Authorities, err = authorities.Authorities(ctx); err != nil {
		return err
	}
	if ring == nil {
		return nil
	}
	if err := authorities.Load(ctx); errors.Is(err, seal.ErrUnknownKey) || errors.Is(err, seal.ErrTampered) {
		f.Fleet.Sealed = "the issuing keys are sealed under another key"
	} else if err != nil {
		return err
	}
	return nil
}

// ownersKeys are the keys that the fleet's owner signs with, by their public halves.
func ownersKeys(root *signing.FleetRoot, certificateRoot []byte) map[string]string {
	owner := map[string]string{}
	for what, keys := range map[string][]signing.Key{"fleet root": root.Root.Keys, "policy": root.Policy.Keys} {
		for _, k := range keys {
			owner[digestOf(k.Public)] = what
		}
	}
	if c, err := x509.ParseCertificate(certificateRoot); err == nil {
		owner[digestOf(c.RawSubjectPublicKeyInfo)] = "certificate root"
	}
	return owner
}

// commandKey says why the server could not sign a command.
func commandKey(ctx context.Context, c *config.Config, now func() time.Time, bundle *signing.PolicyBundle) string {
	source := c.SignerCommand
	if source.Kind == "" {
		path, err := filepath.Abs(filepath.Join(c.DataDir, "keys", "command.key"))
		if err != nil {
			return err.Error()
		}
		source = config.FileSource(path)
	}
	pub, err := keysource.OfSettings(c, now).Public(ctx, string(signing.PurposeCommand), source)
	if errors.Is(err, os.ErrNotExist) {
		return source.Shown() + " is not there"
	}
	if err != nil {
		return source.Shown() + " is no key of this server alone: " + err.Error()
	}
	key, err := signing.NewKey(signing.PurposeCommand, pub)
	if err != nil {
		return source.Shown() + " holds a key that signs no commands"
	}
	if !slices.ContainsFunc(bundle.CommandKeys, func(k signing.Key) bool { return k.ID == key.ID }) {
		return "the policy bundle does not list the key in " + source.Shown()
	}
	return ""
}
