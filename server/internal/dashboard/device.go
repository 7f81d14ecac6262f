package dashboard

import (
	"context"
	"net/http"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

// deviceData is all about a device.
type deviceData struct {
	*view.Device

	Standing     string // state, or held
	Acts         []act
	Certificates []certificate
	Commands     []view.CommandRow
	Audit        []audit.Row
}

// certificate is one of a device's with how it stands.
type certificate struct {
	pki.Certificate

	Standing  string
	Elsewhere string // fingerprint of the authority that issued it, "" when that is one of ours
}

// act is something that can be done with a device, or why it cannot.
type act struct {
	Name, Title string // in the address; on the button
	Does        string // what follows from it
	Why         string // why it is not possible, "" when it is
	Danger      bool   // it cannot be taken back
}

// acts are what a page offers. Whether they are possible is judged again where
// they are done.
func acts(d *view.Device, may func(authz.Permission) bool) []act {
	all := []struct {
		act

		need authz.Permission
		when bool // it makes sense to show it
	}{
		{act{Name: "suspend", Title: "Quarantine", Does: "The device is stopped at once, on every node and on open connections. It keeps its identity and can be resumed once others agree."}, authz.DeviceSuspend, d.State != "suspended"},
		{act{Name: "resume", Title: "Ask to resume", Does: "Once others agree, the device may connect again with its next heartbeat. This gives back what was taken away for a reason: read it first."}, authz.DeviceResume, d.State == "suspended"},
		{act{Name: "resync", Title: "Ask to end the hold", Does: "Once others agree, the device goes on above its stored counter. Ask for it only when you know why its counter went back: a restored snapshot, or a copy of the device."}, authz.DeviceResync, d.Held},
		{act{Name: "revoke", Title: "Revoke", Does: "The device and all its certificates end for good, at once and everywhere. This is never taken back: the device must be enrolled anew under another device id.", Danger: true}, authz.DeviceRevoke, true},
	}
	var list []act
	for _, a := range all {
		if !a.when {
			continue
		}
		a.Why = whyNot(a.Name, d)
		if a.Why == "" && !may(a.need) {
			a.Why = "your account lacks the permission " + string(a.need)
		}
		list = append(list, a.act)
	}
	return list
}

// whyNot is why an act is not possible as a device stands, "" when it is.
func whyNot(act string, d *view.Device) string {
	switch {
	case d.State == "revoked" && act == "revoke":
		return "the device is revoked already"
	case d.State == "revoked" || d.State == "retired":
		return "the device is " + d.State + ", which is final"
	case act == "suspend" && d.State == "suspended":
		return "the device is suspended already"
	case act == "resume" && d.State != "suspended":
		return "the device is not suspended"
	case act == "resync" && !d.Held:
		return "the device is not held"
	}
	return ""
}

// shown is how much of a device's history its page holds.
const shown = 10

func (c *Console) device(r *http.Request) (*page, error) {
	ctx, id, who := r.Context(), r.PathValue("device_id"), callerOf(r)
	d, err := c.deps.Devices.Device(ctx, id)
	if err != nil {
		return nil, err
	}
	data := deviceData{Device: d, Standing: d.State, Acts: acts(d, who.May)}
	if d.Held && d.State == "active" {
		data.Standing = "held"
	}
	now := c.deps.Now()
	current := false
	for _, x := range d.Certificates {
		cert := certificate{Certificate: x, Standing: "valid"}
		if x.IsOutside() {
			cert.Elsewhere = pki.OutsideFingerprint(x.AuthorityID)
		}
		switch {
		case x.RevokedAt != 0:
			cert.Standing = "revoked"
			if x.RevokedReason == "superseded" {
				cert.Standing = "superseded"
			}
		case now.After(x.NotAfter.Time()):
			cert.Standing = "expired"
		case !current:
			cert.Standing, current = "current", true
		}
		data.Certificates = append(data.Certificates, cert)
	}
	if who.May(authz.CommandRead) {
		if data.Commands, _, err = c.deps.Commands.Commands(ctx, view.CommandFilter{Device: id, Limit: shown}); err != nil {
			return nil, err
		}
	}
	if who.May(authz.AuditRead) {
		page, err := c.deps.AuditLog(ctx, audit.Filter{ObjectKind: "device", ObjectID: id, Limit: shown})
		if err != nil {
			return nil, err
		}
		data.Audit = page.Rows
	}
	title := d.Name
	if title == "" {
		title = d.DeviceID
	}
	return c.newPage(r, "devices", title, data), nil
}

// deviceAct is a form that does one act on one device.
func (c *Console) deviceAct(do func(ctx context.Context, by authz.By, deviceID, reason string) error, said string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := form(r); err != nil {
			c.fail(w, r, err)
			return
		}
		reason, err := reasonOf(r)
		if err == nil {
			err = do(r.Context(), acting(r), r.PathValue("device_id"), reason)
		}
		if err != nil {
			c.fail(w, r, err)
			return
		}
		done(w, r, "/dashboard/devices/"+r.PathValue("device_id"), said)
	}
}

// asked makes an act of what others must agree to first.
func asked(ask func(ctx context.Context, by authz.By, deviceID, reason string) (*approval.Request, error)) func(context.Context, authz.By, string, string) error {
	return func(ctx context.Context, by authz.By, deviceID, reason string) error {
		_, err := ask(ctx, by, deviceID, reason)
		return err
	}
}
