package flow

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// NeededError refuses a change of authorities that would leave devices behind.
type NeededError struct {
	Devices int
	Why     string
}

func (e *NeededError) Error() string { return fmt.Sprintf("devices that %s: %d", e.Why, e.Devices) }

// RotationRequest makes the issuing keys that are to follow, if they are not
// there, and says what the fleet's owner must sign, with the fleet roots so far.
func RotationRequest(ctx context.Context, d *db.DB, authorities *pki.Service, by authz.By, fleetName string, kinds ...certs.Kind) (ceremony.Request, [][]byte, error) {
	in, err := d.Instance(ctx)
	if err != nil {
		return ceremony.Request{}, nil, err
	}
	chain, err := policy.Chain(ctx, d.Read())
	if err != nil {
		return ceremony.Request{}, nil, err
	}
	list, err := authorities.PrepareNext(ctx, by, kinds...)
	return ceremony.Request{FleetID: in.FleetID, FleetName: fleetName, TrustDomain: authorities.TrustDomain(), Authorities: list}, chain, err
}

// InstallRotation installs the fleet root that follows: the authorities that it
// names newly are published, the ones that it names no more are dropped. It may
// name nothing but what is on record here and what this server asked for. Dropping
// an authority whose certificates devices still go by is a NeededError, unless
// forced.
func InstallRotation(ctx context.Context, d *db.DB, authorities *pki.Service, documents *policy.Service, by authz.By, r *ceremony.Rotation, force bool) (version int64, err error) {
	err = d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		if err := authorities.Publish(ctx, tx, r.RootCertificate, r.Authorities); err != nil {
			return err
		}
		if err := pki.InstallRootList(ctx, tx, r.RootCertificate, r.RootList); err != nil {
			return err
		}
		root, err := documents.Follow(ctx, tx, r.FleetRoot)
		if err != nil {
			return err
		}
		list, err := pki.AuthoritiesIn(ctx, tx)
		if err != nil {
			return err
		}
		dropped, err := unnamed(&root.Root, list)
		if err != nil {
			return err
		}
		var names []string
		for _, a := range dropped {
			if err := drop(ctx, tx, a, force); err != nil {
				return err
			}
			names = append(names, a.Fingerprint)
		}
		version = root.Root.Version
		return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.RootPublish, ObjectKind: "fleet", ObjectID: root.Root.FleetID,
			Details: map[string]string{"version": strconv.FormatInt(version, 10), "digest": root.Digest, "published": strconv.Itoa(len(r.Authorities)),
				"dropped": strings.Join(names, " "), "forced": strconv.FormatBool(force)}})
	})
	if err != nil {
		return 0, err
	}
	if err := authorities.Load(ctx); err != nil {
		return 0, err
	}
	return version, documents.Load(ctx)
}

// unnamed compares a fleet root with the authorities on record and returns those
// that it drops. One that it names and this server does not know would be believed
// by every device; one that issues, or is published, must be named.
func unnamed(root *signing.FleetRoot, list []pki.Authority) (dropped []pki.Authority, err error) {
	for kind, ders := range map[certs.Kind][][]byte{certs.KindServer: root.ServerCAs, certs.KindDevice: root.DeviceCAs} {
		for _, der := range ders {
			if !slices.ContainsFunc(list, func(a pki.Authority) bool {
				return a.Kind == kind && a.State != pki.Requested && a.State != pki.Dropped && bytes.Equal(a.Certificate, der)
			}) {
				return nil, fmt.Errorf("%w: the fleet root lists a %s authority that is not of this server", policy.ErrForeign, kind)
			}
		}
		for _, a := range list {
			if a.Kind != kind || a.State == pki.Requested || a.State == pki.Dropped ||
				slices.ContainsFunc(ders, func(der []byte) bool { return bytes.Equal(a.Certificate, der) }) {
				continue
			}
			if a.State != pki.Retired {
				return nil, fmt.Errorf("%w: the fleet root leaves out the %s authority that is %s", policy.ErrForeign, kind, a.State)
			}
			dropped = append(dropped, a)
		}
	}
	return dropped, nil
}

func drop(ctx context.Context, tx db.Tx, a pki.Authority, force bool) error {
	if a.Kind == certs.KindDevice && !force {
		n, err := pki.Returning{Since: tx.At().Add(-identity.Window), Authority: a.ID}.Count(ctx, tx)
		if err != nil {
			return err
		}
		if n > 0 {
			return &NeededError{n, "go by certificates of the authority " + a.Fingerprint + ", which this fleet root names no more"}
		}
	}
	return pki.Drop(ctx, tx, a)
}

// ActivateAuthority lets the published authority of a kind issue, and retires the
// one that did. A device that does not know the fleet root that names a server
// authority would take this server for another: while there are any, it is a
// NeededError, unless forced.
func ActivateAuthority(ctx context.Context, d *db.DB, authorities *pki.Service, by authz.By, kind certs.Kind, force bool) error {
	err := d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		retired, active, err := pki.Activate(ctx, tx, kind)
		if err != nil {
			return err
		}
		since, err := policy.NamedSince(ctx, tx, kind, active.Certificate)
		if err != nil {
			return err
		}
		if since == 0 {
			return fmt.Errorf("%w: the newest fleet root does not name it", pki.ErrNotPublished)
		}
		if kind == certs.KindServer && !force {
			n, err := pki.Returning{Since: tx.At().Add(-identity.Window), RootBelow: since}.Count(ctx, tx)
			if err != nil {
				return err
			}
			if n > 0 {
				return &NeededError{n, fmt.Sprintf("have not said yet that they know fleet root %d, which names the new authority, and so would not connect any more", since)}
			}
		}
		details := map[string]string{"kind": string(kind), "forced": strconv.FormatBool(force)}
		return audit.WriteAll(ctx, tx, []audit.Act{
			{Actor: by.Actor, Entry: audit.Entry{Action: audit.AuthorityRetire, ObjectKind: "authority", ObjectID: retired.ID, Details: details}},
			{Actor: by.Actor, Entry: audit.Entry{Action: audit.AuthorityActivate, ObjectKind: "authority", ObjectID: active.ID, Details: details}},
		})
	})
	if err != nil {
		return err
	}
	return authorities.Load(ctx)
}
