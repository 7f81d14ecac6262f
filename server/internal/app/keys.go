package app

import (
	"context"
	"crypto"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keyfile"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keysource"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// NewKeys opens the key sources that the settings name.
func NewKeys(o Options) *keysource.Opener { return keysource.OfSettings(o.Config, o.now()) }

// CommandKeys are the sources of the keys that sign commands.
func (c *Core) CommandKeys() *keysource.Set {
	newest := c.Config.SignerCommand
	if newest.Kind == "" {
		newest = config.FileSource(c.ownCommandKey())
	}
	return c.Keys.Set(string(signing.PurposeCommand), newest, c.Config.SignerCommandPrevious)
}

// AssertionKeys are the sources of the keys that sign assertions for others.
func (c *Core) AssertionKeys() map[signing.Purpose]*keysource.Set {
	of := func(p signing.Purpose, sources ...config.KeySource) *keysource.Set {
		return c.Keys.Set(string(p), sources...)
	}
	return map[signing.Purpose]*keysource.Set{
		signing.PurposeTrustAssertion:    of(signing.PurposeTrustAssertion, c.Config.SignerTrustAssertion, c.Config.SignerTrustAssertionPrevious),
		signing.PurposeWorkloadAssertion: of(signing.PurposeWorkloadAssertion, c.Config.SignerWorkloadAssertion, c.Config.SignerWorkloadAssertionPrevious),
	}
}

// AuthorityKeys are the sources of the keys of authorities, where they are not in the
// database.
func (c *Core) AuthorityKeys() map[certs.Kind]*keysource.Set {
	return c.Keys.Authorities(c.Config)
}

func (c *Core) ownCommandKey() string {
	path := filepath.Join(c.Config.DataDir, keysDir, commandKey)
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

// errNoCommands says that the settings keep this server from signing commands.
var errNoCommands = errors.New("SENTINEL_SIGNER_COMMAND is none: this server signs no commands")

// commandKeyNow is the public command key for a founding: the newest configured one,
// made where this server keeps its own and has none yet.
func (c *Core) commandKeyNow(ctx context.Context) (signing.Key, error) {
	if c.Config.SignerCommand.Kind == config.FromNowhere {
		return signing.Key{}, errNoCommands
	}
	if c.Config.SignerCommand.Kind == "" {
		path := c.ownCommandKey()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return signing.Key{}, err
		}
		if _, err := keyfile.NewEd25519(path); err != nil && !errors.Is(err, keyfile.ErrExists) {
			return signing.Key{}, err
		}
	}
	pub, err := c.CommandKeys().Newest(ctx)
	if err != nil {
		return signing.Key{}, err
	}
	return signing.NewKey(signing.PurposeCommand, pub)
}

// commandSigner is the first configured key that is listed, or the newest of all. Keys
// are looked for each time: they change by putting another file in its place.
func (c *Core) commandSigner(ctx context.Context, listed []signing.Key) (signing.Signer, error) {
	if c.Config.SignerCommand.Kind == config.FromNowhere {
		return nil, errNoCommands
	}
	var newest crypto.Signer
	var failed []error
	for _, source := range c.CommandKeys().Sources() {
		pub, err := c.Keys.Public(ctx, string(signing.PurposeCommand), source)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		key, err := signing.NewKey(signing.PurposeCommand, pub)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		signer, err := c.Keys.Signer(string(signing.PurposeCommand), source, pub)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		if slices.ContainsFunc(listed, func(k signing.Key) bool { return k.ID == key.ID }) {
			return signing.NewSigner(signing.PurposeCommand, signer)
		}
		if newest == nil {
			newest = signer
		}
	}
	if newest == nil || len(failed) > 0 { // one that cannot be asked may be the listed one
		return nil, errors.Join(append(failed, keysource.ErrNoKey)...)
	}
	return signing.NewSigner(signing.PurposeCommand, newest)
}
