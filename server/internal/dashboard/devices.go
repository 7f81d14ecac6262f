package dashboard

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// devicesData is a page of the list of devices.
type devicesData struct {
	Rows    []view.DeviceRow
	Filter  view.DeviceFilter
	Next    string // address of the next page, "" at the end
	First   string // address of the first page, "" when this is it
	Chosen  bool   // a filter is set
	Any     bool   // there are devices at all
	MayBulk bool
}

func (c *Console) devices(r *http.Request) (*page, error) {
	q := r.URL.Query()
	f := view.DeviceFilter{
		Text: strings.TrimSpace(q.Get("q")), State: q.Get("state"), Verdict: q.Get("verdict"), Label: strings.TrimSpace(q.Get("label")),
		Version: strings.TrimSpace(q.Get("version")), After: q.Get("after"), Limit: 50,
	}
	for name, text := range map[string]string{"the search": f.Text, "the label": f.Label, "the version": f.Version, "the page": f.After, "the state": f.State, "the verdict": f.Verdict} {
		if protocol.CheckText(name, text, 300) != nil {
			return nil, inputError(name + " must be one line of printable text")
		}
	}
	d := devicesData{Filter: f, Chosen: f.Text+f.State+f.Verdict+f.Label+f.Version != "", MayBulk: callerOf(r).May(authz.DeviceSuspend)}
	rows, next, err := c.deps.Devices.Devices(r.Context(), f)
	if err != nil {
		return nil, err
	}
	d.Rows, d.Any = rows, len(rows) > 0 || f.After != ""
	if next != "" {
		d.Next = withQuery(r.URL, "after", next)
	}
	if f.After != "" {
		d.First = withQuery(r.URL, "after", "")
	}
	return c.newPage(r, "devices", "Devices", d), nil
}

// withQuery is the address of the same page with a value of its query replaced,
// and without what was said above the page.
func withQuery(u *url.URL, key, value string) string {
	q := u.Query()
	q.Del("done")
	q.Del(key)
	if value != "" {
		q.Set(key, value)
	}
	for k, v := range q {
		if len(v) == 1 && v[0] == "" {
			q.Del(k)
		}
	}
	if len(q) == 0 {
		return u.Path
	}
	return u.Path + "?" + q.Encode()
}

// maxBulk bounds one act on many: what a person can choose on a page.
const maxBulk = 500

// bulkData is an act on many devices, counted before it is done.
type bulkData struct {
	Act      string
	Able     []view.DeviceRow // for which it is possible
	Unable   []unable
	Back     string
	ReasonOf string
}

type unable struct {
	view.DeviceRow

	Why string
}

// bulk counts what an act on the chosen devices would do, and does it when it was
// confirmed.
func (c *Console) bulk(w http.ResponseWriter, r *http.Request) {
	if err := form(r, "device"); err != nil {
		c.fail(w, r, err)
		return
	}
	ids, act := r.PostForm["device"], r.PostFormValue("act")
	need, ok := map[string]authz.Permission{"suspend": authz.DeviceSuspend, "revoke": authz.DeviceRevoke}[act]
	switch {
	case !ok:
		c.fail(w, r, inputError("choose what to do with the devices"))
		return
	case len(ids) == 0:
		c.fail(w, r, inputError("choose at least one device: mark it in the list"))
		return
	case len(ids) > maxBulk:
		c.fail(w, r, inputError("that is more than "+strconv.Itoa(maxBulk)+" devices at once"))
		return
	case !callerOf(r).May(need):
		c.fail(w, r, authz.ErrDenied)
		return
	}
	plan := bulkData{Act: act}
	for _, id := range ids {
		d, err := c.deps.Devices.Device(r.Context(), id)
		if errors.Is(err, device.ErrUnknown) {
			plan.Unable = append(plan.Unable, unable{view.DeviceRow{DeviceID: id}, "there is no such device"})
			continue
		}
		if err != nil {
			c.fail(w, r, err)
			return
		}
		row := view.DeviceRow{DeviceID: d.DeviceID, Name: d.Name, Owner: d.Owner, State: d.State, Verdict: string(d.Trust.Verdict)}
		if why := whyNot(act, d); why != "" {
			plan.Unable = append(plan.Unable, unable{row, why})
			continue
		}
		plan.Able = append(plan.Able, row)
	}
	if r.PostFormValue("confirmed") != "yes" {
		c.show(w, r, http.StatusOK, "bulk", c.newPage(r, "devices", "Confirm", plan))
		return
	}
	reason, err := reasonOf(r)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	do := map[string]func(context.Context, authz.By, string, string) error{"suspend": c.deps.Devices.Suspend, "revoke": c.deps.Devices.Revoke}[act]
	said := "bulk"
	for _, row := range plan.Able {
		err := do(r.Context(), actingWith(r, need), row.DeviceID, reason)
		if _, _, _, known := meaning(err); err != nil && known {
			said = "bulk-partly"
			continue
		}
		if err != nil {
			c.fail(w, r, err)
			return
		}
	}
	if len(plan.Unable) > 0 {
		said = "bulk-partly"
	}
	done(w, r, "/dashboard/devices", said)
}
