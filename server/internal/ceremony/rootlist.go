package ceremony

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/status"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
)

// rootList signs the root's revocation list: the authorities that fleet roots name no
// more, and so none at the founding. The key is away between ceremonies, so a list
// lasts as long as an authority that is certified with it. Its number is the second at
// which it was made, or one above that of the list before, which lies beside the keys.
func (o *Owner) rootList(root *x509.Certificate, dropped [][]byte, now time.Time) ([]byte, error) {
	path := filepath.Join(o.dir, ListFile)
	list := status.List{Number: now.Unix(), ThisUpdate: now}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist): // the first one, or lost: devices never see it
	case err != nil:
		return nil, err
	default:
		before, err := status.ReadList(data, root)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ListFile, err)
		}
		list.Number, list.Entries = max(list.Number, before.Number+1), before.Entries
		if before.ThisUpdate.After(list.ThisUpdate) { // this machine's clock went back
			list.ThisUpdate = before.ThisUpdate
		}
	}
	list.NextUpdate = list.ThisUpdate.Add(authorityLife)
	if list.NextUpdate.After(root.NotAfter) {
		list.NextUpdate = root.NotAfter
	}
	for _, der := range dropped {
		c, err := certs.ParseCA(der)
		if err != nil {
			return nil, err
		}
		list.Entries = append(list.Entries, status.Revoked{Serial: c.SerialNumber, At: list.ThisUpdate, Reason: status.CessationOfOperation})
	}
	der, err := status.SignList(certs.CA{Certificate: root, Signer: o.certificates}, list)
	if err != nil {
		return nil, err
	}
	return der, files.Replace(path, der, 0o600)
}
