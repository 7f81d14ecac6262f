package view

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/attestation"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Attestation is what is known of a device by its TPM.
type Attestation struct {
	Verdict       string                       `json:"verdict"` // affirming, warning or contraindicated
	Reasons       []protocol.AttestationReason `json:"reasons" nullable:"false"`
	Baseline      string                       `json:"baseline,omitempty"` // that the evidence is as
	HardwareBound bool                         `json:"hardware_bound"`
	Registers     []Register                   `json:"registers" nullable:"false"` // of the SHA-256 bank, as proven
	TPM           string                       `json:"tpm,omitempty"`              // SHA-256 of its endorsement key
	Maker         string                       `json:"maker,omitempty"`
	Since         db.Micros                    `json:"tpm_since,omitzero"`
	ProvenAt      db.Micros                    `json:"proven_at"`
	ValidUntil    db.Micros                    `json:"valid_until"`
	Stale         bool                         `json:"stale"` // it does not count any more
}

// Register is a PCR with its value.
type Register struct {
	Number int    `json:"number"`
	Value  string `json:"value"`
}

// AttestationOf reads what is known of a device by its TPM; nil when it brought no
// evidence.
func AttestationOf(ctx context.Context, q bun.IDB, deviceID string, now time.Time) (*Attestation, error) {
	r, err := attestation.ResultOf(ctx, q, deviceID)
	if errors.Is(err, attestation.ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a := &Attestation{
		Verdict: string(r.Verdict), Reasons: r.Reasons(), Baseline: r.Baseline, HardwareBound: r.HardwareBound, Registers: []Register{},
		ProvenAt: r.ProvenAt, ValidUntil: r.ValidUntil, Stale: !now.Before(r.ValidUntil.Time()),
	}
	if a.Reasons == nil {
		a.Reasons = []protocol.AttestationReason{}
	}
	values := r.PCRs()
	for _, n := range slices.Sorted(maps.Keys(values)) {
		a.Registers = append(a.Registers, Register{n, values[n]})
	}
	tpm, err := attestation.TPMOf(ctx, q, deviceID)
	if err == nil {
		a.TPM, a.Maker, a.Since = tpm.TPM, tpm.Maker, tpm.Since
	} else if !errors.Is(err, attestation.ErrNone) {
		return nil, err
	}
	return a, nil
}

// Baseline is a baseline with where it stands.
type Baseline struct {
	ID             string              `json:"id"`
	Name           string              `json:"name"`
	Version        int64               `json:"version"`
	State          string              `json:"state" enum:"proposed,active,retired,rejected,expired,over"`
	Label          string              `json:"label,omitempty"`
	Values         map[string][]string `json:"values" doc:"Values by the register's number, of the SHA-256 bank."`
	HardwareBound  bool                `json:"hardware_bound"`
	NotBefore      db.Micros           `json:"not_before"`
	NotAfter       db.Micros           `json:"not_after"`
	OverlapSeconds int64               `json:"overlap_seconds"`
	CauseKind      string              `json:"cause_kind"`
	CauseRef       string              `json:"cause_ref"`
	CauseText      string              `json:"cause_text,omitempty"`
	ProposedBy     string              `json:"proposed_by"`
	ApprovalID     string              `json:"approval_id"`
	Reason         string              `json:"reason,omitempty"`
	CreatedAt      db.Micros           `json:"created_at"`
	DecidedAt      db.Micros           `json:"decided_at,omitzero"`
}

// Baselines reads the newest baselines.
func Baselines(ctx context.Context, q bun.IDB, limit int, now time.Time) ([]Baseline, error) {
	rows, err := attestation.Baselines(ctx, q, clamp(limit))
	list := make([]Baseline, len(rows))
	for i := range rows {
		b := &rows[i]
		list[i] = Baseline{
			ID: b.ID, Name: b.Name, Version: b.Version, State: string(b.Live(now)), Label: b.Label, Values: b.ByText(), HardwareBound: b.HardwareBound,
			NotBefore: b.NotBefore, NotAfter: b.NotAfter, OverlapSeconds: b.Overlap,
			CauseKind: b.CauseKind, CauseRef: b.CauseRef, CauseText: b.CauseText, ProposedBy: b.ProposedBy, ApprovalID: b.ApprovalID,
			Reason: b.Reason, CreatedAt: b.CreatedAt, DecidedAt: b.DecidedAt,
		}
	}
	return list, err
}
