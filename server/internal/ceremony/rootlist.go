package ceremony

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/status"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// rootList signs the root's revocation list. The key is away between ceremonies, so a
// list lasts as long as an authority that is certified with it. Its number is the
// second at which it was made, or one above that of the list before, which lies beside
// the keys.
func (o *Owner) rootList(root *x509.Certificate, revoked []status.Revoked, now time.Time) ([]byte, error) {
	path := filepath.Join(o.dir, ListFile)
	list := status.List{Number: now.Unix(), ThisUpdate: now, Entries: revoked}
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
		list.Number = max(list.Number, before.Number+1)
		if before.ThisUpdate.After(list.ThisUpdate) { // this machine's clock went back
			list.ThisUpdate = before.ThisUpdate
		}
	}
	for _, e := range revoked {
		if e.At.After(list.ThisUpdate) { // as above
			list.ThisUpdate = e.At
		}
	}
	list.NextUpdate = list.ThisUpdate.Add(authorityLife)
	if list.NextUpdate.After(root.NotAfter) {
		list.NextUpdate = root.NotAfter
	}
	der, err := status.SignList(certs.CA{Certificate: root, Signer: o.certificates}, list)
	if err != nil {
		return nil, err
	}
	return der, files.Replace(path, der, 0o600)
}

// leftOut are the authorities that fleet roots named, and that the next one does not
// name, each with when it was left out first. They are read from the fleet roots, and
// not from the list before: that one may have been signed for a fleet root that was
// never installed.
func leftOut(chain [][]byte, next *signing.FleetRoot) ([]status.Revoked, error) {
	var named [][]byte
	since := map[string]time.Time{}
	follow := func(root *signing.FleetRoot) {
		for _, der := range slices.Concat(root.ServerCAs, root.DeviceCAs) {
			if !slices.ContainsFunc(named, func(n []byte) bool { return bytes.Equal(n, der) }) {
				named = append(named, der)
			}
		}
		for _, der := range named {
			if slices.ContainsFunc(slices.Concat(root.ServerCAs, root.DeviceCAs), func(n []byte) bool { return bytes.Equal(n, der) }) {
				delete(since, string(der))
			} else if _, gone := since[string(der)]; !gone {
				since[string(der)] = root.IssuedAt
			}
		}
	}
	for i := range chain {
		pinned, err := signing.VerifyRootChain(chain[:i+1], "")
		if err != nil {
			return nil, err
		}
		follow(&pinned.Root)
	}
	follow(next)
	var revoked []status.Revoked
	for _, der := range named {
		at, gone := since[string(der)]
		if !gone {
			continue
		}
		c, err := certs.ParseCA(der)
		if err != nil {
			return nil, err
		}
		revoked = append(revoked, status.Revoked{Serial: c.SerialNumber, At: at, Reason: status.CessationOfOperation})
	}
	return revoked, nil
}
