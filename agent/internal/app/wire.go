package app

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/pins"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// wire keeps the connection in step with who the device is and whom it believes: a
// new root's CAs count at once, and a certificate is shown once the journal says
// so. It is the first party of the link, and changes the connection in the link's
// goroutine only, so that whoever asks during a heartbeat what was shown is told
// what was.
type wire struct {
	journal   *journal.Journal
	keeper    *pins.Keeper
	log       *slog.Logger
	client    *link.Client
	transport func([]*x509.Certificate, func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) (http.RoundTripper, error)

	now atomic.Pointer[shown]
}

// shown is what a connection was made for.
type shown struct {
	slot journal.Slot
	id   *identity.Identity
	root string // digest of the fleet root whose CAs are believed
}

// fit makes the connection anew if what it was made for has changed.
func (w *wire) fit(ctx context.Context) error {
	s, err := w.journal.State()
	if err != nil {
		return err
	}
	believed, slot, before := w.keeper.Pins(), s.Enrolled.Shown(), w.now.Load()
	if before != nil && before.slot == slot && before.root == believed.Root.Digest {
		return nil
	}
	id, err := identity.LoadIn(w.journal.Dir(), slot)
	if err != nil && slot != s.Enrolled.Slot {
		// What is tried must not cost the device what works.
		w.log.ErrorContext(ctx, "the new certificate cannot be used; going on with the one before", "error", err.Error())
		if err := w.journal.Update(func(s *journal.State) { s.Enrolled.Renewal = nil }); err != nil {
			return err
		}
		slot = s.Enrolled.Slot
		id, err = identity.LoadIn(w.journal.Dir(), slot)
	}
	if err != nil {
		return err
	}
	cas, err := believed.ServerCAs()
	if err != nil {
		return err
	}
	transport, err := w.transport(cas, id.Present)
	if err != nil {
		return err
	}
	w.client.Swap(transport)
	w.now.Store(&shown{slot: slot, id: id, root: believed.Root.Digest})
	return nil
}

// Slot is where the certificate that is shown lies, Key its key.
func (w *wire) Slot() journal.Slot { return w.now.Load().slot }

// Identity is the key and certificate that are shown.
func (w *wire) Identity() *identity.Identity { return w.now.Load().id }

// Key is the key of the certificate that is shown.
func (w *wire) Key() crypto.Signer { return w.now.Load().id.Key }

// Before is part of link.Party.
func (w *wire) Before(ctx context.Context, _ *protocol.Heartbeat) error { return w.fit(ctx) }

// After is part of link.Party.
func (w *wire) After(context.Context, *protocol.HeartbeatAnswer) error { return nil }

// Refused is part of link.Party.
func (w *wire) Refused(context.Context, protocol.Code) {}
