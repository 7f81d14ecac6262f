package pki

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// State is where an authority stands.
type State string

// See the package's documentation.
const (
	Requested State = "requested"
	Active    State = "active"
	Retired   State = "retired"
)

type authorityRow struct {
	bun.BaseModel `bun:"table:authorities"`

	ID          string     `bun:"id,pk"`
	Kind        certs.Kind `bun:"kind"`
	State       State      `bun:"state"`
	Certificate []byte     `bun:"certificate,nullzero:false"`
	PublicKey   []byte     `bun:"public_key"`
	KEKID       string     `bun:"kek_id"`
	SealedKey   []byte     `bun:"sealed_key"`
	CreatedAt   db.Micros  `bun:"created_at"`
}

// Certificate is an issued certificate in the inventory.
type Certificate struct {
	bun.BaseModel `bun:"table:certificates"`

	Fingerprint   string     `bun:"fingerprint,pk" json:"fingerprint"`
	Serial        string     `bun:"serial" json:"serial"`
	Kind          certs.Kind `bun:"kind" json:"kind"`
	DeviceID      string     `bun:"device_id" json:"device_id,omitempty"`
	EnrollmentID  string     `bun:"enrollment_id" json:"enrollment_id,omitempty"`
	AuthorityID   string     `bun:"authority_id" json:"authority_id"`
	DER           []byte     `bun:"der" json:"-"`
	NotBefore     db.Micros  `bun:"not_before" json:"not_before"`
	NotAfter      db.Micros  `bun:"not_after" json:"not_after"`
	IssuedAt      db.Micros  `bun:"issued_at" json:"issued_at"`
	RevokedAt     db.Micros  `bun:"revoked_at" json:"revoked_at,omitzero"`
	RevokedReason string     `bun:"revoked_reason" json:"revoked_reason,omitempty"`
}

func authorities(ctx context.Context, q bun.IDB) (rows []authorityRow, err error) {
	err = q.NewSelect().Model(&rows).OrderExpr("created_at, id").Scan(ctx)
	return rows, err
}

func insertAuthority(ctx context.Context, tx db.Tx, row *authorityRow) error {
	_, err := tx.NewInsert().Model(row).Exec(ctx)
	return err
}

func activate(ctx context.Context, tx db.Tx, id string, certificate []byte) error {
	return db.One(tx.NewUpdate().Model((*authorityRow)(nil)).
		Set("certificate = ?", certificate).Set("state = ?", Active).
		Where("id = ? AND state = ?", id, Requested).Exec(ctx))
}

func insertCertificate(ctx context.Context, tx db.Tx, c *Certificate) error {
	_, err := tx.NewInsert().Model(c).Exec(ctx)
	return err
}

// Get reads a certificate by its fingerprint, or db.ErrNotFound.
func Get(ctx context.Context, q bun.IDB, fingerprint string) (Certificate, error) {
	var c Certificate
	err := q.NewSelect().Model(&c).Where("fingerprint = ?", fingerprint).Scan(ctx)
	return c, err
}

// OfDevice lists a device's certificates, the newest first.
func OfDevice(ctx context.Context, q bun.IDB, deviceID string) (list []Certificate, err error) {
	err = q.NewSelect().Model(&list).Where("device_id = ? AND kind = ?", deviceID, certs.KindDevice).
		OrderExpr("issued_at DESC, fingerprint").Limit(100).Scan(ctx)
	return list, err
}

// Revoke marks every certificate of a device as revoked, for good.
func Revoke(ctx context.Context, tx db.Tx, deviceID, reason string) error {
	_, err := tx.NewUpdate().Model((*Certificate)(nil)).
		Set("revoked_at = ?", tx.At()).Set("revoked_reason = ?", reason).
		Where("device_id = ? AND kind = ? AND revoked_at = 0", deviceID, certs.KindDevice).Exec(ctx)
	return err
}
