package flow

import (
	"context"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// CeremonyRequest makes the server's issuing keys, if they are not there, and
// says what the fleet's owner must sign.
func CeremonyRequest(ctx context.Context, d *db.DB, authorities *pki.Service, by authz.By, fleetName string, commandKeys ...signing.Key) (ceremony.Request, error) {
	in, err := d.Instance(ctx)
	if err != nil {
		return ceremony.Request{}, err
	}
	list, err := authorities.Prepare(ctx, by)
	return ceremony.Request{
		FleetID: in.FleetID, FleetName: fleetName, TrustDomain: authorities.TrustDomain(), Authorities: list, CommandKeys: commandKeys,
	}, err
}

// InstallFounding installs what the ceremony made of a request: authorities, fleet
// root and bundle, all or nothing, each verified, and naming nothing that was not
// asked for.
func InstallFounding(ctx context.Context, d *db.DB, authorities *pki.Service, documents *policy.Service, by authz.By, asked ceremony.Request, founding *ceremony.Founding) error {
	err := d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		in, err := tx.Instance(ctx)
		if err != nil {
			return err
		}
		if err := documents.Found(ctx, tx, founding, asked); err != nil {
			return err
		}
		if err := authorities.Install(ctx, tx, founding.RootCertificate, founding.Authorities); err != nil {
			return err
		}
		if err := pki.InstallRootList(ctx, tx, founding.RootCertificate, founding.RootList); err != nil {
			return err
		}
		return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.FleetInstall, ObjectKind: "fleet", ObjectID: in.FleetID})
	})
	if err != nil {
		return err
	}
	if err := authorities.Load(ctx); err != nil {
		return err
	}
	return documents.Load(ctx)
}
