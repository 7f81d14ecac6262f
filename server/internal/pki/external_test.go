package pki_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keyfile"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keysource"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// source makes a key that is not in the database.
func (w *office) source(name string, create func(string) (crypto.Signer, error)) config.KeySource {
	w.Helper()
	path := filepath.Join(w.TempDir(), name)
	_, err := create(path)
	w.must(err)
	return config.FileSource(path)
}

// uses has the authorities of devices take their keys from these sources.
func (w *office) uses(s *pki.Service, sources ...config.KeySource) {
	o := keysource.New(time.Minute, func() time.Time { return w.now })
	s.UseKeys(map[certs.Kind]*keysource.Set{certs.KindDevice: o.Set("device-ca", sources...)})
}

func (w *office) column(name string) (value []byte) {
	w.Helper()
	w.must(w.d.Read().NewSelect().Table("authorities").Column(name).Where("kind = 'device'").OrderExpr("created_at DESC, id DESC").Limit(1).Scan(w.Context(), &value))
	return value
}

// A5, A6: certificates are issued with a key that is not in the database at any time.
func TestAnAuthoritysKeyMayBeElsewhere(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		source := w.source("device-ca.key", keyfile.NewP256)
		w.uses(w.Service, source)
		w.founded()
		if sealed := w.column("sealed_key"); len(sealed) != 0 {
			w.Errorf("the database has a key of %d bytes", len(sealed))
		}
		issued, err := w.IssueDevice("edge-1", db.NewID(w.now), newKey(w.T), w.now, time.Hour)
		w.must(err)
		key, err := keyfile.Load(source.Path)
		w.must(err)
		ca, err := x509.ParseCertificate(issued.Chain[1])
		w.must(err)
		leaf, err := x509.ParseCertificate(issued.Chain[0])
		w.must(err)
		if pub, ok := ca.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(key.Public()) || leaf.CheckSignatureFrom(ca) != nil {
			w.Error("the certificate is not of that key")
		}
		// A change of the secret key has nothing to seal anew for it.
		node := w.node("another secret of thirty-two bytes!", "fleet.test")
		w.uses(node, source)
		if err := w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error { _, err := w.Reseal(ctx, tx); return err }); err != nil {
			w.Errorf("reseal: %v", err)
		}
		// Without the source, with another key or with one that is gone, nothing is issued
		// and the reason names the setting.
		other := w.source("other.key", keyfile.NewP256)
		for name, sources := range map[string][]config.KeySource{"none": nil, "another": {other}, "gone": {config.FileSource(source.Path + ".gone")}} {
			node := w.node("a secret of at least thirty-two bytes", "fleet.test")
			w.uses(node, sources...)
			if err := node.Load(w.Context()); err == nil || !strings.Contains(err.Error(), "SENTINEL_SIGNER_DEVICE_CA") {
				w.Errorf("%s: %v", name, err)
			}
			if _, err := node.IssueDevice("edge-2", db.NewID(w.now), newKey(w.T), w.now, time.Hour); !errors.Is(err, pki.ErrNoAuthority) {
				w.Errorf("%s: issued: %v", name, err)
			}
		}
	})
}

func TestARequestedAuthorityFollowsTheSettings(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		device := func() string {
			w.Helper()
			for _, a := range w.request().Authorities {
				if a.Kind == certs.KindDevice {
					return string(a.PublicKey)
				}
			}
			w.Fatal("no request")
			return ""
		}
		made := device()
		if device() != made {
			w.Error("each request makes another key")
		}
		source, next := w.source("a.key", keyfile.NewP256), w.source("b.key", keyfile.NewP256)
		w.uses(w.Service, source)
		external := device()
		if external == made || device() != external {
			w.Error("the source's key is not asked for")
		}
		w.uses(w.Service, next)
		if device() == external {
			w.Error("the source was changed, and the key before is asked for")
		}
		w.uses(w.Service)
		if back := device(); back == external || len(w.column("sealed_key")) == 0 {
			w.Error("without a source the key is made here")
		}
		w.uses(w.Service, w.source("edwards.key", keyfile.NewEd25519))
		if _, err := w.Prepare(w.Context(), authz.System("test")); !errors.Is(err, pki.ErrAuthorityKey) {
			w.Errorf("an Ed25519 key: %v", err)
		}
		o := keysource.New(time.Minute, func() time.Time { return w.now })
		w.UseKeys(map[certs.Kind]*keysource.Set{certs.KindDevice: o.Set("device-ca", source), certs.KindServer: o.Set("server-ca", source)})
		if _, err := w.Prepare(w.Context(), authz.System("test")); !errors.Is(err, pki.ErrSameKey) {
			w.Errorf("one key for two authorities: %v", err)
		}
	})
}

func TestTheNextAuthorityHasAnotherKey(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *office) {
		first, second := w.source("first.key", keyfile.NewP256), w.source("second.key", keyfile.NewP256)
		w.uses(w.Service, first)
		w.founded()
		if _, err := w.PrepareNext(w.Context(), authz.System("test"), certs.KindDevice); !errors.Is(err, pki.ErrSameKey) {
			w.Errorf("the same key again: %v", err)
		}
		w.uses(w.Service, second, first)
		requests, err := w.PrepareNext(w.Context(), authz.System("test"), certs.KindDevice)
		w.must(err)
		pub, err := keyfile.Load(second.Path)
		w.must(err)
		der, err := x509.MarshalPKIXPublicKey(pub.Public())
		w.must(err)
		if len(requests) != 1 || string(requests[0].PublicKey) != string(der) {
			w.Errorf("%+v", requests)
		}
		// The one before still signs what is told of its certificates.
		w.must(w.Load(w.Context()))
		if _, err := w.IssueDevice("edge-1", db.NewID(w.now), newKey(w.T), w.now, time.Hour); err != nil {
			w.Error(err)
		}
		w.must(os.Rename(first.Path, first.Path+".away"))
		if err := w.Load(w.Context()); err == nil {
			w.Error("the active authority's key is gone, and nothing is said")
		}
	})
}
