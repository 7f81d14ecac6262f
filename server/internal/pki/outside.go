package pki

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// KindOutside is the kind of authorities that are not ours, and Outside their state.
// The settings say which of them are believed; the record says of whose certificate
// devices are. Nothing is signed, published or told in their name.
const (
	KindOutside certs.Kind = "outside"
	Outside     State      = "outside"
)

// outsideID begins the ids of authorities that are not ours; their certificate's
// fingerprint follows.
const outsideID = "outside:"

// ErrSerial says that an authority gave one serial number to two certificates: what it
// says of the one would be taken for the other.
var ErrSerial = errors.New("another certificate of the same authority has this serial number")

// IsOutside reports whether another authority than ours issued the certificate.
func (c *Certificate) IsOutside() bool { return strings.HasPrefix(c.AuthorityID, outsideID) }

// KeepOutside puts an authority that is not ours on record, if it is not there, and
// says its id.
func KeepOutside(ctx context.Context, tx db.Tx, issuer *x509.Certificate) (id string, err error) {
	row := &authorityRow{ID: outsideID + certs.Fingerprint(issuer.Raw), Kind: KindOutside, State: Outside,
		Certificate: issuer.Raw, PublicKey: issuer.RawSubjectPublicKeyInfo, SealedKey: []byte{}, CreatedAt: tx.At()}
	_, err = tx.NewInsert().Model(row).On("CONFLICT (id) DO NOTHING").Exec(ctx)
	return row.ID, err
}

// OutsideFingerprint is the fingerprint of an authority by its id.
func OutsideFingerprint(authorityID string) string { return strings.TrimPrefix(authorityID, outsideID) }

// outsideSerial is a serial number as the record has it: those of other authorities
// may be the same as ours.
func outsideSerial(c *x509.Certificate, authorityID string) string {
	return fmt.Sprintf("%x@%.16s", c.SerialNumber, OutsideFingerprint(authorityID))
}

// FromOutside is a certificate that another authority issued, ready to be recorded.
func FromOutside(der []byte, authorityID, deviceID, enrollmentID string, now time.Time) (*Issued, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return &Issued{Chain: [][]byte{der}, Certificate: Certificate{
		KeyDigest:   hex.EncodeToString(key[:]),
		Fingerprint: certs.Fingerprint(der), Serial: outsideSerial(cert, authorityID), Kind: certs.KindDevice,
		DeviceID: deviceID, EnrollmentID: enrollmentID, AuthorityID: authorityID, DER: der,
		NotBefore: db.At(cert.NotBefore), NotAfter: db.At(cert.NotAfter), IssuedAt: db.At(now),
	}}, nil
}

// FreeSerial is ErrSerial when the serial number of a certificate that another
// authority issued is on record already.
func FreeSerial(ctx context.Context, q bun.IDB, c *x509.Certificate, authorityID string) error {
	taken, err := q.NewSelect().Model((*Certificate)(nil)).
		Where("serial = ? AND fingerprint <> ?", outsideSerial(c, authorityID), certs.Fingerprint(c.Raw)).Exists(ctx)
	if err == nil && taken {
		err = ErrSerial
	}
	return err
}

// LiveOutside lists certificates that other authorities issued, are not revoked here and
// are in date, in the order of their fingerprints, after one of them.
func LiveOutside(ctx context.Context, q bun.IDB, now db.Micros, after string, limit int) (list []Certificate, err error) {
	err = q.NewSelect().Model(&list).Column("fingerprint", "der", "authority_id").
		Where("authority_id IN (SELECT id FROM authorities WHERE kind = ?) AND revoked_at = 0 AND not_after > ? AND fingerprint > ?", KindOutside, now, after).
		OrderExpr("fingerprint").Limit(int64(limit)).Scan(ctx)
	return list, err
}

// EndedElsewhere revokes a certificate that another authority says is revoked, and
// reports whose it was; false when nothing changed.
func EndedElsewhere(ctx context.Context, tx db.Tx, fingerprint string) (deviceID string, changed bool, err error) {
	err = tx.NewUpdate().Model((*Certificate)(nil)).
		Set("revoked_at = ?", tx.At()).Set("revoked_reason = ?", Elsewhere).
		Where("fingerprint = ? AND revoked_at = 0", fingerprint).Returning("device_id").Scan(ctx, &deviceID)
	if errors.Is(err, db.ErrNotFound) {
		return "", false, nil
	}
	return deviceID, err == nil, err
}
