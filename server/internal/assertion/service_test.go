package assertion_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/assertion"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keyfile"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keysource"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

const (
	trust    = signing.PurposeTrustAssertion
	workload = signing.PurposeWorkloadAssertion
)

// house is a database, key files and a clock that only the test moves.
type house struct {
	*testing.T
	d   *db.DB
	dir string
	now time.Time
	o   *keysource.Opener
}

func onBoth(t *testing.T, f func(w *house)) {
	t.Helper()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := &house{T: t, dir: t.TempDir(), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
		var err error
		w.d, err = db.Open(t.Context(), db.Options{URL: url, Now: func() time.Time { return w.now }})
		w.must(err)
		t.Cleanup(func() { _ = w.d.Close() })
		_, err = w.d.Migrate(t.Context())
		w.must(err)
		_, err = w.d.Begin(t.Context(), "trial")
		w.must(err)
		w.o = keysource.New(time.Minute, func() time.Time { return w.now })
		f(w)
	})
}

func (w *house) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *house) key(name string, create func(string) (crypto.Signer, error)) config.KeySource {
	w.Helper()
	path := filepath.Join(w.dir, name)
	_, err := create(path)
	w.must(err)
	return config.FileSource(path)
}

// node is a service with these sources for trust assertions, the newest first.
func (w *house) node(sources ...config.KeySource) *assertion.Service {
	return assertion.New(w.d, map[signing.Purpose]*keysource.Set{trust: w.o.Set(string(trust), sources...), workload: w.o.Set(string(workload))})
}

var by = authz.System("test")

// set is the key ids of a purpose's JWK set, in order.
func (w *house) set(s *assertion.Service, p signing.Purpose) (ids []string) {
	w.Helper()
	data, err := s.Set(w.Context(), p)
	w.must(err)
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	w.must(json.Unmarshal(data, &set))
	for _, k := range set.Keys {
		ids = append(ids, k["kid"])
	}
	return ids
}

func (w *house) signs(s *assertion.Service) string {
	w.Helper()
	signer, err := s.Signer(w.Context(), trust, w.now.Add(assertion.MaxLife))
	w.must(err)
	pae := signing.PAE(trust.PayloadType(), []byte("{}"))
	sig, err := signer.Sign(w.Context(), pae)
	w.must(err)
	w.must(signer.Key().Verify(pae, sig))
	return signer.Key().ID
}

func TestAKeyIsChangedWithoutAnybodyMissingOne(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *house) {
		first, second := w.key("first", keyfile.NewEd25519), w.key("second", keyfile.NewP256)
		before := w.node(first)
		if _, err := before.Signer(w.Context(), trust, w.now); !errors.Is(err, assertion.ErrNone) || len(w.set(before, trust)) != 0 {
			w.Errorf("nothing is published: %v", err)
		}
		one, err := before.Publish(w.Context(), by, trust)
		w.must(err)
		w.now = w.now.Add(time.Second)
		if one.State != assertion.Signs || w.signs(before) != one.ID {
			w.Errorf("%+v", one)
		}
		if _, err := before.Publish(w.Context(), by, trust); !errors.Is(err, assertion.ErrKnown) {
			w.Errorf("again: %v", err)
		}
		w.now = w.now.Add(time.Hour)

		after := w.node(second, first)
		two, err := after.Publish(w.Context(), by, trust)
		w.must(err)
		begins := w.now.Add(assertion.Lead)
		if two.State != assertion.Published || !two.Until.Equal(begins) {
			w.Errorf("%+v", two)
		}
		if _, err := w.node(w.key("third", keyfile.NewEd25519)).Publish(w.Context(), by, trust); !errors.Is(err, assertion.ErrPending) {
			w.Errorf("a third one meanwhile: %v", err)
		}
		w.now = w.now.Add(time.Second)
		if got := w.set(before, trust); len(got) != 2 || w.signs(after) != one.ID || w.signs(before) != one.ID {
			w.Errorf("before its turn: %v", got)
		}
		w.now = begins
		if w.signs(after) != two.ID || len(w.set(after, trust)) != 2 {
			w.Error("its turn has come")
		}
		if _, err := before.Signer(w.Context(), trust, w.now); !errors.Is(err, keysource.ErrNoKey) {
			w.Errorf("a node whose settings are old: %v", err)
		}
		if err := after.Retire(w.Context(), by, trust, one.ID, "test", false); !errors.Is(err, assertion.ErrInUse) {
			w.Errorf("retired while its assertions may be valid: %v", err)
		}
		w.now = begins.Add(assertion.MaxLife + assertion.Lead)
		if got := w.set(after, trust); len(got) != 1 || got[0] != two.ID {
			w.Errorf("all of its assertions have ended: %v", got)
		}
		w.must(after.Retire(w.Context(), by, trust, one.ID, "test", false))
		if err := after.Retire(w.Context(), by, trust, one.ID, "test", true); !errors.Is(err, assertion.ErrUnknown) {
			w.Errorf("twice: %v", err)
		}
		if err := after.Retire(w.Context(), by, trust, two.ID, "test", false); !errors.Is(err, assertion.ErrInUse) {
			w.Errorf("the one that signs: %v", err)
		}
		w.must(after.Retire(w.Context(), by, trust, two.ID, "stolen", true))
		w.now = w.now.Add(time.Second)
		if got := w.set(after, trust); len(got) != 0 {
			w.Errorf("a stolen key is shown: %v", got)
		}
	})
}

func TestNoAssertionOutlivesItsKey(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *house) {
		s := w.node(w.key("first", keyfile.NewEd25519))
		_, err := s.Publish(w.Context(), by, trust)
		w.must(err)
		if _, err := s.Signer(w.Context(), trust, w.now.Add(assertion.MaxLife+time.Second)); !errors.Is(err, assertion.ErrTooLong) {
			w.Errorf("%v", err)
		}
	})
}

// ATT-04
func TestAKeyServesOnePurpose(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *house) {
		source := w.key("first", keyfile.NewEd25519)
		s := assertion.New(w.d, map[signing.Purpose]*keysource.Set{trust: w.o.Set(string(trust), source), workload: w.o.Set(string(workload), source)})
		_, err := s.Publish(w.Context(), by, trust)
		w.must(err)
		if _, err := s.Publish(w.Context(), by, workload); !errors.Is(err, assertion.ErrOtherPurpose) {
			w.Errorf("a key of trust assertions for workloads: %v", err)
		}
		if len(w.set(s, workload)) != 0 || len(w.set(s, trust)) != 1 {
			w.Error("the sets are not apart")
		}
		for _, p := range signing.Purposes() {
			if _, err := s.Set(w.Context(), p); p != trust && p != workload && !errors.Is(err, assertion.ErrPurpose) {
				w.Errorf("a set of %s: %v", p, err)
			}
		}
		command := w.key("command", keyfile.NewEd25519)
		pub, err := w.o.Public(w.Context(), "command", command)
		w.must(err)
		der, err := x509.MarshalPKIXPublicKey(pub)
		w.must(err)
		s = w.node(command)
		if _, err := s.Publish(w.Context(), by, trust, der); !errors.Is(err, assertion.ErrOtherPurpose) {
			w.Errorf("a command key: %v", err)
		}
		w.must(w.d.Write(w.Context(), func(ctx context.Context, tx db.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO authorities (id, kind, state, certificate, public_key, kek_id, sealed_key, created_at) VALUES ('a', 'device', 'requested', ?, ?, 'external', ?, 1)", []byte{}, der, []byte{})
			return err
		}))
		if _, err := s.Publish(w.Context(), by, trust); !errors.Is(err, assertion.ErrOtherPurpose) {
			w.Errorf("an authority's key: %v", err)
		}
		denied := authz.By{}
		if _, err := w.node(w.key("another", keyfile.NewEd25519)).Publish(w.Context(), denied, trust); !errors.Is(err, authz.ErrDenied) {
			w.Errorf("by nobody: %v", err)
		}
		if err := s.Retire(w.Context(), denied, trust, "x", "", true); !errors.Is(err, authz.ErrDenied) {
			w.Errorf("by nobody: %v", err)
		}
	})
}

// RFC 7517, RFC 8037, RFC 7518: what is shown is the key, member by member.
func TestTheSetHoldsPublicKeysAsOthersReadThem(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *house) {
		for name, create := range map[string]func(string) (crypto.Signer, error){"ed25519": keyfile.NewEd25519, "p256": keyfile.NewP256} {
			source := w.key(name, create)
			s := w.node(source)
			k, err := s.Publish(w.Context(), by, trust)
			w.must(err)
			data, err := s.Set(w.Context(), trust)
			w.must(err)
			var set struct {
				Keys []map[string]string `json:"keys"`
			}
			w.must(json.Unmarshal(data, &set))
			jwk := set.Keys[len(set.Keys)-1]
			pub, err := w.o.Public(w.Context(), string(trust), source)
			w.must(err)
			if jwk["kid"] != k.ID || jwk["use"] != "sig" || jwk["d"] != "" {
				w.Errorf("%s: %v", name, jwk)
			}
			number := func(member string) []byte {
				b, err := base64.RawURLEncoding.DecodeString(jwk[member])
				w.must(err)
				return b
			}
			switch pub := pub.(type) {
			case ed25519.PublicKey:
				if jwk["kty"] != "OKP" || jwk["crv"] != "Ed25519" || jwk["alg"] != "EdDSA" || !pub.Equal(ed25519.PublicKey(number("x"))) || jwk["y"] != "" {
					w.Errorf("%v", jwk)
				}
			case *ecdsa.PublicKey:
				read := &ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int).SetBytes(number("x")), Y: new(big.Int).SetBytes(number("y"))}
				if jwk["kty"] != "EC" || jwk["crv"] != "P-256" || jwk["alg"] != "ES256" || !pub.Equal(read) || len(number("x")) != 32 || len(number("y")) != 32 {
					w.Errorf("%v", jwk)
				}
			}
			w.now = w.now.Add(assertion.Lead)
		}
	})
}
