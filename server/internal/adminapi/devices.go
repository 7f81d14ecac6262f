package adminapi

import (
	"context"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

// Devices reads the registry and acts on one device.
type Devices interface {
	Devices(ctx context.Context, f view.DeviceFilter) ([]view.DeviceRow, string, error)
	Device(ctx context.Context, id string) (*view.Device, error)
	Revoke(ctx context.Context, by authz.By, deviceID, reason string) error
	Suspend(ctx context.Context, by authz.By, deviceID, reason string) error
	Resume(ctx context.Context, by authz.By, deviceID, reason string) (*approval.Request, error)
	Resync(ctx context.Context, by authz.By, deviceID, reason string) (*approval.Request, error)
}

type listDevicesIn struct {
	Paging
	Text    string `query:"text" maxLength:"100" doc:"Part of id, name or owner."`
	State   string `query:"state" enum:"active,suspended,revoked,retired"`
	Verdict string `query:"verdict" enum:"trusted,reserved,untrusted"`
	Label   string `query:"label" maxLength:"300" doc:"key=value"`
}

func (a *API) listDevices(ctx context.Context, in *listDevicesIn) (*listOut[view.DeviceRow], error) {
	rows, next, err := a.deps.Devices.Devices(ctx, view.DeviceFilter{
		Text: in.Text, State: in.State, Verdict: in.Verdict, Label: in.Label, Limit: in.Limit, After: in.After,
	})
	if err != nil {
		return nil, err
	}
	return listOf(rows, next, func(r *view.DeviceRow) view.DeviceRow { return *r }), nil
}

// DevicePath is the device_id in the path of a route.
type DevicePath struct {
	DeviceID string `path:"device_id" maxLength:"64"`
}

type deviceOut struct{ Body *view.Device }

func (a *API) device(ctx context.Context, in *DevicePath) (*deviceOut, error) {
	d, err := a.deps.Devices.Device(ctx, in.DeviceID)
	return &deviceOut{d}, err
}

type deviceActIn struct {
	DevicePath
	Body reasonBody
}

type reasonBody struct {
	Reason string `json:"reason" minLength:"1" maxLength:"400" doc:"Why; it is kept in the audit log."`
}

// deviceAct is a route that does one act on one device.
func deviceAct(act func(ctx context.Context, by authz.By, deviceID, reason string) error) func(context.Context, *deviceActIn) (*struct{}, error) {
	return func(ctx context.Context, in *deviceActIn) (*struct{}, error) {
		return nil, act(ctx, acting(ctx), in.DeviceID, in.Body.Reason)
	}
}

// deviceAsk is a route that asks for an act on one device, which others decide on.
func deviceAsk(ask func(ctx context.Context, by authz.By, deviceID, reason string) (*approval.Request, error)) func(context.Context, *deviceActIn) (*waitsOut, error) {
	return func(ctx context.Context, in *deviceActIn) (*waitsOut, error) {
		r, err := ask(ctx, acting(ctx), in.DeviceID, in.Body.Reason)
		if err != nil {
			return nil, err
		}
		return &waitsOut{waiting(r.ID, r.Required)}, nil
	}
}
