package pki

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

var (
	// ErrPublished says that the change before this one is not finished.
	ErrPublished = errors.New("an authority of this kind is published and does not issue yet; activate it first: sentinel-server keys activate")
	// ErrNotPublished says that there is nothing to activate.
	ErrNotPublished = errors.New("no authority of this kind is published; hold the ceremony first: sentinel-server keys request --rotate")
	// ErrOtherRoot says that certificates were signed by another key than those of before.
	ErrOtherRoot = errors.New("the root certificate is not of the key that signed the authorities of before")
)

// Authority is an issuing authority as it stands.
type Authority struct {
	ID          string     `json:"id"`
	Kind        certs.Kind `json:"kind"`
	State       State      `json:"state"`
	Fingerprint string     `json:"fingerprint,omitempty"` // of its certificate
	NotAfter    time.Time  `json:"not_after,omitzero"`
	External    bool       `json:"external,omitempty"` // its key is with a key source
	Certificate []byte     `json:"-"`
}

// Authorities lists all of them, the oldest first.
func (s *Service) Authorities(ctx context.Context) ([]Authority, error) {
	rows, err := authorities(ctx, s.d.Read())
	return described(rows, err)
}

// AuthoritiesIn is Authorities inside a transaction.
func AuthoritiesIn(ctx context.Context, tx db.Tx) ([]Authority, error) {
	rows, err := authorities(ctx, tx)
	return described(rows, err)
}

func described(rows []authorityRow, err error) ([]Authority, error) {
	list := make([]Authority, 0, len(rows))
	for _, row := range rows {
		a := Authority{ID: row.ID, Kind: row.Kind, State: row.State, External: row.KEKID == external, Certificate: row.Certificate}
		if row.State != Requested {
			cert, err := x509.ParseCertificate(row.Certificate)
			if err != nil {
				return nil, fmt.Errorf("authority %s: %w", row.ID, err)
			}
			a.Fingerprint, a.NotAfter = certs.Fingerprint(cert.Raw), cert.NotAfter
		}
		list = append(list, a)
	}
	return list, err
}

// PrepareNext makes the keys of authorities that are to follow the active ones,
// unless they are requested already, and returns what the ceremony must sign.
func (s *Service) PrepareNext(ctx context.Context, by authz.By, kinds ...certs.Kind) ([]ceremony.AuthorityRequest, error) {
	fresh, err := s.freshKeys(ctx, kinds...)
	if err != nil {
		return nil, err
	}
	var requests []ceremony.AuthorityRequest
	err = s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		requests = nil
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		rows, err := authorities(ctx, tx)
		if err != nil {
			return err
		}
		for _, kind := range kinds {
			in := func(state State) int {
				return slices.IndexFunc(rows, func(r authorityRow) bool { return r.Kind == kind && r.State == state })
			}
			switch {
			case in(Active) < 0:
				return ErrNoAuthority
			case in(Published) >= 0:
				return fmt.Errorf("%w %s", ErrPublished, kind)
			}
			row, err := s.request(ctx, tx, by, rows, kind, fresh[kind])
			if err != nil {
				return err
			}
			requests = append(requests, ceremony.AuthorityRequest{ID: row.ID, Kind: kind, PublicKey: row.PublicKey})
		}
		return nil
	})
	return requests, err
}

// Publish gives requested authorities the certificates signed for them, each
// checked as at the founding and signed by the same key as those of before. They
// are believed from now on, and do not issue.
func (s *Service) Publish(ctx context.Context, tx db.Tx, root []byte, signed []ceremony.AuthorityCertificate) error {
	if len(signed) == 0 {
		return nil
	}
	rows, err := authorities(ctx, tx)
	if err != nil {
		return err
	}
	rootCert, err := x509.ParseCertificate(root)
	if err != nil {
		return fmt.Errorf("the root certificate cannot be read: %w", err)
	}
	for _, row := range rows {
		if row.State != Active {
			continue
		}
		active, err := x509.ParseCertificate(row.Certificate)
		if err != nil {
			return err
		}
		if err := active.CheckSignatureFrom(rootCert); err != nil {
			return ErrOtherRoot
		}
	}
	return s.install(ctx, tx, root, signed, Published)
}

// Activate lets the published authority of a kind issue from now on, and retires
// the one that did.
func Activate(ctx context.Context, tx db.Tx, kind certs.Kind) (retired, active Authority, err error) {
	list, err := AuthoritiesIn(ctx, tx)
	if err != nil {
		return retired, active, err
	}
	in := func(state State) int {
		return slices.IndexFunc(list, func(a Authority) bool { return a.Kind == kind && a.State == state })
	}
	from, to := in(Active), in(Published)
	switch {
	case to < 0:
		return retired, active, ErrNotPublished
	case from < 0:
		return retired, active, ErrNoAuthority
	}
	if err := move(ctx, tx, list[from].ID, Active, Retired); err != nil {
		return retired, active, err
	}
	return list[from], list[to], move(ctx, tx, list[to].ID, Published, Active)
}

// Drop ends that anything of an authority that does not issue is believed.
func Drop(ctx context.Context, tx db.Tx, a Authority) error {
	return move(ctx, tx, a.ID, a.State, Dropped)
}

// Refresh takes over what other nodes changed about authorities.
func (s *Service) Refresh(ctx context.Context) error {
	states, err := authorityStates(ctx, s.d.Read())
	if err != nil {
		return err
	}
	s.mu.RLock()
	same := states == s.states
	s.mu.RUnlock()
	if same {
		return nil
	}
	return s.Load(ctx)
}

// watchEvery is how often other nodes' changes are looked for.
const watchEvery = time.Second

// Watch calls Refresh every second until ctx ends, and tells what failed.
func (s *Service) Watch(ctx context.Context, failed func(error)) error {
	every := time.NewTicker(watchEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
		if err := s.Refresh(ctx); err != nil && ctx.Err() == nil {
			failed(err)
		}
	}
}
