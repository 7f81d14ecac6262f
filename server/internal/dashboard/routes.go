package dashboard

import (
	"net/http"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
)

// maxForm is far above any form that a person fills in.
const maxForm = 16 << 10

// maxPasskey is above what authenticators say, attestations included.
const maxPasskey = 64 << 10

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
	c.get("/dashboard/sign-in/code", anyone, c.stepPage)
	c.post("/dashboard/sign-in/code", anyone, c.secondStep)
	c.get("/dashboard/sign-in/password", anyone, c.stepPage)
	c.post("/dashboard/sign-in/password", anyone, c.newPassword)
	c.script("/dashboard/sign-in/passkey/options", anyone, c.passkeyOptions)
	c.script("/dashboard/sign-in/passkey", anyone, c.passkeySignIn)
	c.post("/dashboard/sign-out", self, c.signOut)

	c.get("/dashboard", self, c.reading("overview", c.overview))

	c.get("/dashboard/devices", need(authz.DeviceRead), c.reading("devices", c.devices))
	c.post("/dashboard/devices/bulk", need(authz.DeviceSuspend), c.bulk)
	c.get("/dashboard/devices/{device_id}", need(authz.DeviceRead), c.reading("device", c.device))
	c.post("/dashboard/devices/{device_id}/suspend", need(authz.DeviceSuspend), c.deviceAct(c.deps.Devices.Suspend, "suspended"))
	c.post("/dashboard/devices/{device_id}/resume", need(authz.DeviceResume), c.deviceAct(asked(c.deps.Devices.Resume), "waits"))
	c.post("/dashboard/devices/{device_id}/resync", need(authz.DeviceResync), c.deviceAct(asked(c.deps.Devices.Resync), "waits"))
	c.post("/dashboard/devices/{device_id}/revoke", need(authz.DeviceRevoke), c.deviceAct(c.deps.Devices.Revoke, "revoked"))

	c.get("/dashboard/reviews", need(authz.ApprovalRead), c.reading("reviews", c.reviews))
	c.get("/dashboard/reviews/{id}", need(authz.ApprovalRead), c.reading("review", c.review))
	c.post("/dashboard/reviews/{id}", need(authz.ApprovalRead), c.decide)

	c.get("/dashboard/commands", need(authz.CommandRead), c.reading("commands", c.commands))
	c.get("/dashboard/commands/new", need(authz.CommandCreate), c.reading("newcommand", c.newCommand))
	c.post("/dashboard/commands/new", need(authz.CommandCreate), c.sendCommand)
	c.get("/dashboard/commands/{id}", need(authz.CommandRead), c.reading("command", c.command))
	c.post("/dashboard/commands/{id}/cancel", need(authz.CommandCancel), c.cancelCommand)

	c.get("/dashboard/enrollment", need(authz.EnrollmentRead), c.reading("enrollment", c.enrollment))
	c.post("/dashboard/enrollment/tokens", need(authz.EnrollTokenCreate), c.createToken)
	c.post("/dashboard/enrollment/tokens/{id}/revoke", need(authz.EnrollTokenRevoke), c.revokeToken)
	c.post("/dashboard/enrollment/window/open", need(authz.EnrollWindowOpen), c.openWindow)
	c.post("/dashboard/enrollment/window/close", need(authz.EnrollWindowClose), c.closeWindow)

	c.get("/dashboard/accounts", need(authz.AccountRead), c.reading("accounts", c.accounts))
	c.post("/dashboard/accounts", need(authz.AccountManage), c.createAccount)
	c.post("/dashboard/accounts/{id}", need(authz.AccountManage), c.updateAccount)

	c.get("/dashboard/me", self, c.reading("me", c.me))
	c.post("/dashboard/me/password", self, c.changePassword)
	c.post("/dashboard/me/totp", self, c.startTOTP)
	c.post("/dashboard/me/totp/confirm", self, c.confirmTOTP)
	c.post("/dashboard/me/totp/remove", self, c.removeTOTP)
	c.post("/dashboard/me/recovery", self, c.newRecovery)
	c.script("/dashboard/me/passkeys/options", self, c.passkeyRegistrationOptions)
	c.script("/dashboard/me/passkeys", self, c.registerPasskey)
	c.post("/dashboard/me/passkeys/{id}/remove", self, c.removePasskey)
	c.post("/dashboard/me/sessions/{id}/end", self, c.endSession)

	c.get("/dashboard/audit", need(authz.AuditRead), c.reading("audit", c.audit))
	c.get("/dashboard/audit/export", need(authz.AuditRead), c.exportAudit)
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

// script is a call of the console's own script, which speaks JSON: what a passkey
// says fits into no form.
func (c *Console) script(pattern string, policy httpkit.Policy, h http.HandlerFunc) {
	c.routed = append(c.routed, route{httpkit.Route{
		Method: http.MethodPost, Pattern: pattern, Policy: policy, MaxBody: maxPasskey, Media: "application/json",
	}, h})
}
