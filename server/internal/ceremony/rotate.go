package ceremony

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

var (
	// ErrOwner says that the keys are not those of the fleet.
	ErrOwner = errors.New("these keys are not this fleet's: its fleet root names others")
	// ErrNotNamed says that an authority that is to be dropped is not in the fleet root.
	ErrNotNamed = errors.New("the fleet root names no authority of this fingerprint")
)

// Rotation is the fleet root that follows, with the certificates of the
// authorities that it names newly. Nothing in it is secret. In a file it is a
// Founding without a policy bundle.
type Rotation struct {
	RootCertificate []byte
	RootList        []byte
	Authorities     []AuthorityCertificate
	FleetRoot       []byte
}

// Rotation is what the file holds when it founds nothing, or false.
func (f *Founding) Rotation() (*Rotation, bool) {
	if len(f.PolicyBundle) > 0 {
		return nil, false
	}
	return &Rotation{f.RootCertificate, f.RootList, f.Authorities, f.FleetRoot}, true
}

// Founding is the rotation as a file holds it.
func (r *Rotation) Founding() *Founding {
	return &Founding{RootCertificate: r.RootCertificate, RootList: r.RootList, Authorities: r.Authorities, FleetRoot: r.FleetRoot}
}

// Rotate signs the fleet root that follows the last of chain: it names the
// requested authorities beside those of before, but for the ones dropped, which
// are given by the fingerprints of their certificates.
func (o *Owner) Rotate(ctx context.Context, r Request, chain [][]byte, drop []string, now time.Time) (*Rotation, error) {
	pinned, err := signing.VerifyRootChain(chain, "")
	if err != nil {
		return nil, err
	}
	last := &pinned.Root
	if last.FleetID != r.FleetID || last.TrustDomain != r.TrustDomain {
		return nil, errors.New("the request is of another fleet than the fleet roots")
	}
	if !slices.ContainsFunc(last.Root.Keys, func(k signing.Key) bool { return bytes.Equal(k.Public, o.root.Key().Public) }) {
		return nil, ErrOwner
	}
	now = now.UTC().Truncate(time.Second)
	next := *last
	next.Version++
	if now.After(last.IssuedAt) {
		next.IssuedAt = now
	}
	next.ServerCAs, next.DeviceCAs = slices.Clone(last.ServerCAs), slices.Clone(last.DeviceCAs)
	for _, fingerprint := range drop {
		named := func(der []byte) bool { return certs.Fingerprint(der) == fingerprint }
		if !slices.ContainsFunc(next.ServerCAs, named) && !slices.ContainsFunc(next.DeviceCAs, named) {
			return nil, fmt.Errorf("%w: %s", ErrNotNamed, fingerprint)
		}
		next.ServerCAs, next.DeviceCAs = slices.DeleteFunc(next.ServerCAs, named), slices.DeleteFunc(next.DeviceCAs, named)
	}
	root, err := o.rootCertificate(r.FleetName, now)
	if err != nil {
		return nil, err
	}
	rotation := &Rotation{RootCertificate: root.Raw}
	if rotation.Authorities, err = o.certify(r, root, now, &next); err != nil {
		return nil, err
	}
	revoked, err := leftOut(chain, &next)
	if err != nil {
		return nil, err
	}
	if rotation.RootList, err = o.rootList(root, revoked, now); err != nil {
		return nil, err
	}
	if len(next.ServerCAs) > signing.MaxCAs || len(next.DeviceCAs) > signing.MaxCAs {
		return nil, fmt.Errorf("a fleet root names at most %d authorities of a kind; drop a retired one: --drop FINGERPRINT", signing.MaxCAs)
	}
	// The keys of the root before and its own must sign: here they are the same.
	env, err := signing.SignFleetRoot(ctx, next, o.root)
	if err != nil {
		return nil, err
	}
	if _, err := pinned.Advance(env); err != nil {
		return nil, fmt.Errorf("the fleet root that was made does not follow: %w", err)
	}
	rotation.FleetRoot, err = env.Marshal()
	return rotation, err
}

// rootCertificate is the certificate that was made when the fleet was founded, or
// a new one of the same key where the file is lost: devices never see it.
func (o *Owner) rootCertificate(fleetName string, now time.Time) (*x509.Certificate, error) {
	der, err := os.ReadFile(filepath.Join(o.dir, CertificateFile))
	if errors.Is(err, os.ErrNotExist) {
		return o.newRootCertificate(fleetName, now)
	}
	if err != nil {
		return nil, err
	}
	cert, err := certs.ParseCA(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", CertificateFile, err)
	}
	return cert, nil
}
