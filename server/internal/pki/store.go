package pki

import (
	"context"
	"strings"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// State is where an authority stands.
type State string

// See the package's documentation.
const (
	Requested State = "requested"
	Published State = "published"
	Active    State = "active"
	Retired   State = "retired"
	Dropped   State = "dropped"
)

type authorityRow struct {
	bun.BaseModel `bun:"table:authorities"`

	ID          string     `bun:"id,pk"`
	Kind        certs.Kind `bun:"kind"`
	State       State      `bun:"state"`
	Certificate []byte     `bun:"certificate,nullzero:false"`
	PublicKey   []byte     `bun:"public_key"`
	KEKID       string     `bun:"kek_id"`
	SealedKey   []byte     `bun:"sealed_key,nullzero:false"` // of an authority that is not ours, empty
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
	KeyDigest     string     `bun:"key_digest" json:"-"` // SHA-256 of the public key's PKIX DER, lower-case hex
}

func authorities(ctx context.Context, q bun.IDB) (rows []authorityRow, err error) {
	err = q.NewSelect().Model(&rows).OrderExpr("created_at, id").Scan(ctx)
	return rows, err
}

// authorityStates says which authorities there are and where they stand.
func authorityStates(ctx context.Context, q bun.IDB) (string, error) {
	var rows []authorityRow
	err := q.NewSelect().Model(&rows).Column("id", "state").OrderExpr("created_at, id").Scan(ctx)
	return statesOf(rows), err
}

func statesOf(rows []authorityRow) string {
	var b strings.Builder
	for _, row := range rows {
		b.WriteString(row.ID + " " + string(row.State) + "\n")
	}
	return b.String()
}

func insertAuthority(ctx context.Context, tx db.Tx, row *authorityRow) error {
	_, err := tx.NewInsert().Model(row).Exec(ctx)
	return err
}

// rekeyRequested gives an authority that nobody signed another key.
func rekeyRequested(ctx context.Context, tx db.Tx, row *authorityRow) error {
	return db.One(tx.NewUpdate().Model(row).Column("public_key", "kek_id", "sealed_key").
		Where("id = ? AND state = ?", row.ID, Requested).Exec(ctx))
}

// certify gives a requested authority its certificate, and the state that comes
// with it.
func certify(ctx context.Context, tx db.Tx, id string, certificate []byte, to State) error {
	return db.One(tx.NewUpdate().Model((*authorityRow)(nil)).
		Set("certificate = ?", certificate).Set("state = ?", to).
		Where("id = ? AND state = ?", id, Requested).Exec(ctx))
}

// move changes an authority's state from one to another, or is db.ErrConflict.
func move(ctx context.Context, tx db.Tx, id string, from, to State) error {
	return db.One(tx.NewUpdate().Model((*authorityRow)(nil)).Set("state = ?", to).
		Where("id = ? AND state = ?", id, from).Exec(ctx))
}

func insertCertificates(ctx context.Context, tx db.Tx, list []*Certificate) error {
	_, err := tx.NewInsert().Model(&list).Exec(ctx)
	return err
}

// Get reads a certificate by its fingerprint, or db.ErrNotFound.
func Get(ctx context.Context, q bun.IDB, fingerprint string) (Certificate, error) {
	var c Certificate
	err := q.NewSelect().Model(&c).Where("fingerprint = ?", fingerprint).Scan(ctx)
	return c, err
}

// Lives reads what decides whether certificates are in force and for which keys, by
// fingerprint: their time, their end and the digests of their keys.
func Lives(ctx context.Context, q bun.IDB, fingerprints []string) (map[string]*Certificate, error) {
	var rows []Certificate
	err := q.NewSelect().Model(&rows).Column("fingerprint", "not_before", "not_after", "revoked_at", "key_digest").
		Where("fingerprint IN (?)", bun.List(fingerprints)).Scan(ctx)
	byFingerprint := make(map[string]*Certificate, len(rows))
	for i := range rows {
		byFingerprint[rows[i].Fingerprint] = &rows[i]
	}
	return byFingerprint, err
}

// OfDevice lists a device's certificates, the newest first.
func OfDevice(ctx context.Context, q bun.IDB, deviceID string) (list []Certificate, err error) {
	err = q.NewSelect().Model(&list).Where("device_id = ? AND kind = ?", deviceID, certs.KindDevice).
		OrderExpr("issued_at DESC, fingerprint").Limit(100).Scan(ctx)
	return list, err
}

// Revoke marks every certificate of a device as revoked, for good.
func Revoke(ctx context.Context, tx db.Tx, deviceID, reason string) error {
	_, err := revoking(tx, tx.At(), []string{deviceID}, reason).Exec(ctx)
	return err
}

// revoking revokes what devices have in force. Devices with short certificates leave
// thousands behind them, which this must not read: certificates_live is its index.
func revoking(q bun.IDB, at db.Micros, devices []string, reason string) *bun.UpdateQuery {
	return q.NewUpdate().Model((*Certificate)(nil)).
		Set("revoked_at = ?", at).Set("revoked_reason = ?", reason).
		Where("device_id IN (?) AND kind = ? AND revoked_at = 0", bun.List(devices), certs.KindDevice)
}

// The reasons of certificates that end without their device.
const (
	Superseded = "superseded" // the device uses another
	Unused     = "unused"     // it was not used in time
	Restored   = "restored"   // the database came from a backup
	Elsewhere  = "elsewhere"  // the authority that issued it, which is not ours, says so
)

// Keep leaves devices one certificate each: every other of theirs is revoked as
// superseded, for good. It returns the fingerprints of those that were, by device_id.
func Keep(ctx context.Context, tx db.Tx, devices, fingerprints []string) (ended map[string][]string, err error) {
	var rows []Certificate
	err = revoking(tx, tx.At(), devices, Superseded).Where("fingerprint NOT IN (?)", bun.List(fingerprints)).
		Returning("device_id, fingerprint").Scan(ctx, &rows)
	ended = make(map[string][]string, len(rows))
	for _, c := range rows {
		ended[c.DeviceID] = append(ended[c.DeviceID], c.Fingerprint)
	}
	return ended, err
}

// End revokes single certificates, for good.
func End(ctx context.Context, tx db.Tx, reason string, fingerprints ...string) error {
	if len(fingerprints) == 0 {
		return nil
	}
	_, err := tx.NewUpdate().Model((*Certificate)(nil)).
		Set("revoked_at = ?", tx.At()).Set("revoked_reason = ?", reason).
		Where("fingerprint IN (?) AND revoked_at = 0", bun.List(fingerprints)).Exec(ctx)
	return err
}

// Returning are devices that may still come back: they are not revoked or retired,
// and the certificate that they go by is in date or was not long ago.
type Returning struct {
	Since     db.Micros // certificates that ended before count no more
	RootBelow int64     // only those that say they know an older fleet root; 0 for all
	Authority string    // only those whose certificate is of this authority; "" for all
}

// Count counts them. It reads the tables of devices, which it does not own: what
// an authority may do depends on who still needs it.
func (r Returning) Count(ctx context.Context, tx db.Tx) (int, error) {
	sel := tx.NewSelect().TableExpr("certificates AS x").
		Join("JOIN device_counters AS c ON c.device_id = x.device_id AND c.fingerprint = x.fingerprint").
		Join("JOIN devices AS d ON d.device_id = c.device_id").
		Where("x.kind = ? AND x.not_after > ? AND d.state IN ('active', 'suspended')", certs.KindDevice, r.Since)
	if r.RootBelow > 0 {
		sel = sel.Where("d.root_version < ?", r.RootBelow)
	}
	if r.Authority != "" {
		sel = sel.Where("x.authority_id = ?", r.Authority)
	}
	n := 0
	err := sel.ColumnExpr("COUNT(*)").Scan(ctx, &n)
	return n, err
}

// resealAuthority is db.ErrConflict when the key does not stand under before any more.
func resealAuthority(ctx context.Context, tx db.Tx, id, before, kek string, sealed []byte) error {
	return db.One(tx.NewUpdate().Model((*authorityRow)(nil)).Set("kek_id = ?", kek).Set("sealed_key = ?", sealed).
		Where("id = ? AND kek_id = ?", id, before).Exec(ctx))
}
