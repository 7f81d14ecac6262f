package adminapi

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/attestation"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

// Attestations tells what devices proved by their TPMs, and keeps what that is
// compared with.
type Attestations interface {
	Attestation(ctx context.Context, deviceID string) (*view.Attestation, error)
	Baselines(ctx context.Context, limit int) ([]view.Baseline, error)
	ProposeBaseline(ctx context.Context, by authz.By, p attestation.Proposal) (*flow.ProposedBaseline, error)
	RetireBaseline(ctx context.Context, by authz.By, id, reason string) error
	ForgetTPM(ctx context.Context, by authz.By, deviceID, reason string) (*approval.Request, error)
}

// attestationRoutes are the routes about TPMs and baselines.
func (a *API) attestationRoutes() {
	add(a, httpkit.Need(authz.DeviceRead), get("/api/attestation/devices/{device_id}", "get-attestation", "What a device proved by its TPM"), a.attestation)
	add(a, httpkit.Need(authz.DeviceResync), with(202, post("/api/attestation/devices/{device_id}/forget-tpm", "forget-tpm", "Ask that a device may have another TPM; others decide")), deviceAsk(a.deps.Attestations.ForgetTPM))
	add(a, httpkit.Need(authz.FleetRead), get("/api/attestation/baselines", "list-baselines", "The newest baselines"), a.baselines)
	add(a, httpkit.Need(authz.BaselinePropose), with(202, post("/api/attestation/baselines", "propose-baseline", "Ask that a baseline comes into force; others decide on the approval")), a.proposeBaseline)
	add(a, httpkit.Need(authz.BaselineRetire), with(204, post("/api/attestation/baselines/{id}/retire", "retire-baseline", "End a baseline at once")), a.retireBaseline)
}

type attestationOut struct{ Body *view.Attestation }

func (a *API) attestation(ctx context.Context, in *DevicePath) (*attestationOut, error) {
	found, err := a.deps.Attestations.Attestation(ctx, in.DeviceID)
	return &attestationOut{found}, err
}

type baselinesIn struct {
	Limit int `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

func (a *API) baselines(ctx context.Context, in *baselinesIn) (*listOut[view.Baseline], error) {
	rows, err := a.deps.Attestations.Baselines(ctx, in.Limit)
	if err != nil {
		return nil, err
	}
	return listOf(rows, "", func(b *view.Baseline) view.Baseline { return *b }), nil
}

type proposeIn struct {
	Body struct {
		Name           string              `json:"name" minLength:"1" maxLength:"64" doc:"The next version of it is proposed."`
		Label          string              `json:"label,omitempty" maxLength:"300" doc:"key=value: for devices with this label; for all otherwise."`
		Values         map[string][]string `json:"values" minProperties:"1" maxProperties:"24" doc:"Values that are good, in hex, by the register's number, of the SHA-256 bank."`
		HardwareBound  bool                `json:"hardware_bound,omitempty" doc:"The TPM must hold the key of the device's certificate."`
		NotBefore      *time.Time          `json:"not_before,omitempty" doc:"Now, if left out."`
		NotAfter       time.Time           `json:"not_after"`
		OverlapSeconds int64               `json:"overlap_seconds,omitempty" minimum:"0" doc:"How long earlier versions go on."`
		CauseKind      string              `json:"cause_kind" enum:"first-look,system-update,firmware-update,configuration,hardware,incident"`
		CauseRef       string              `json:"cause_ref" minLength:"1" maxLength:"200" doc:"What caused it: a change, a release, an incident."`
		CauseText      string              `json:"cause_text,omitempty" maxLength:"400"`
	}
}

type proposeOut struct{ Body *flow.ProposedBaseline }

func (a *API) proposeBaseline(ctx context.Context, in *proposeIn) (*proposeOut, error) {
	b := &in.Body
	p := attestation.Proposal{
		Name: b.Name, Label: b.Label, Values: map[int][]string{}, HardwareBound: b.HardwareBound, NotAfter: b.NotAfter,
		OverlapSeconds: b.OverlapSeconds, Cause: attestation.Cause{Kind: b.CauseKind, Ref: b.CauseRef, Text: b.CauseText},
	}
	if b.NotBefore != nil {
		p.NotBefore = *b.NotBefore
	}
	for _, text := range slices.Sorted(maps.Keys(b.Values)) {
		n, err := strconv.Atoi(text)
		if err != nil || strconv.Itoa(n) != text { // "07" and "7" would be one register twice
			return nil, &attestation.InvalidError{Rule: "a register is given by its number"}
		}
		p.Values[n] = b.Values[text]
	}
	asked, err := a.deps.Attestations.ProposeBaseline(ctx, acting(ctx), p)
	return &proposeOut{asked}, err
}

type retireIn struct {
	ID   string `path:"id" maxLength:"36"`
	Body reasonBody
}

func (a *API) retireBaseline(ctx context.Context, in *retireIn) (*struct{}, error) {
	return nil, a.deps.Attestations.RetireBaseline(ctx, acting(ctx), in.ID, in.Body.Reason)
}
