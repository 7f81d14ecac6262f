package dashboard

import (
	"net/http"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
)

// maxForm is far above any form that a person fills in.
const maxForm = 16 << 10

type route struct {
	httpkit.Route

	handler http.Handler
}

// routes is every route of the console with who may call it.
func (c *Console) routes() {
	anyone := httpkit.Anonymous
	need := httpkit.Console
	self := need(authz.Self)

	c.get("/{$}", anyone, c.home)
	c.get("/dashboard/assets/{name}", anyone, c.asset)
	c.get("/dashboard/sign-in", anyone, c.signInPage)
	c.post("/dashboard/sign-in", anyone, c.signIn)
	c.post("/dashboard/sign-out", self, c.signOut)

	c.get("/dashboard", self, c.reading("overview", c.overview))

	c.get("/dashboard/devices", need(authz.DeviceRead), c.reading("devices", c.devices))
	c.post("/dashboard/devices/bulk", need(authz.DeviceSuspend), c.bulk)
	c.get("/dashboard/devices/{device_id}", need(authz.DeviceRead), c.reading("device", c.device))
	c.post("/dashboard/devices/{device_id}/suspend", need(authz.DeviceSuspend), c.deviceAct(c.deps.Devices.Suspend, "suspended"))
	c.post("/dashboard/devices/{device_id}/resume", need(authz.DeviceResume), c.deviceAct(c.deps.Devices.Resume, "resumed"))
	c.post("/dashboard/devices/{device_id}/resync", need(authz.DeviceResync), c.deviceAct(c.deps.Devices.Resync, "resynced"))
	c.post("/dashboard/devices/{device_id}/revoke", need(authz.DeviceRevoke), c.deviceAct(c.deps.Devices.Revoke, "revoked"))
}

func (c *Console) get(pattern string, policy httpkit.Policy, h http.HandlerFunc) {
	c.routed = append(c.routed, route{httpkit.Route{Method: http.MethodGet, Pattern: pattern, Policy: policy}, h})
}

// post is a form of a page.
func (c *Console) post(pattern string, policy httpkit.Policy, h http.HandlerFunc) {
	c.routed = append(c.routed, route{httpkit.Route{
		Method: http.MethodPost, Pattern: pattern, Policy: policy, MaxBody: maxForm, Media: "application/x-www-form-urlencoded",
	}, h})
}
