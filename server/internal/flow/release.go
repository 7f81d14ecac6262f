package flow

import (
	"context"
	"encoding/json"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/failpoint"
)

// Release is what people agree to when a device is given back: that exactly this
// suspension, or this hold, ends. Its bytes are made once and stored.
type Release struct {
	Type         string    `json:"type"` // "resume" or "resync"
	DeviceID     string    `json:"device_id"`
	EnrollmentID string    `json:"enrollment_id"`
	State        string    `json:"state"`
	Since        db.Micros `json:"since,omitzero"` // of the suspension
	By           string    `json:"by,omitempty"`   // who suspended
	Why          string    `json:"why"`            // it was suspended, or is held
	Reason       string    `json:"reason"`         // to give it back
}

// Bytes are the release's canonical bytes: encoding/json writes members in the
// order above.
func (r Release) Bytes() ([]byte, error) { return json.Marshal(r) }

// releaseOf is what would be given back of a device at this moment.
func releaseOf(kind approval.Kind, d *device.Device, reason string) Release {
	r := Release{Type: string(kind), DeviceID: d.DeviceID, EnrollmentID: d.EnrollmentID, State: string(d.State), Reason: reason}
	if kind == approval.Resume {
		r.Since, r.By, r.Why = d.StateAt, d.StateBy, d.StateReason
	} else {
		r.Why = d.HeldReason
	}
	return r
}

// releasable refuses what is not there to be given back.
func releasable(kind approval.Kind, d *device.Device) error {
	switch {
	case d.State.Final():
		return device.ErrFinal
	case kind == approval.Resync && d.HeldReason == "":
		return device.ErrNotHeld
	case kind == approval.Resume:
		return device.Change(d.State, device.Active)
	}
	return nil
}

// Resume asks that a suspension ends. Others decide; asking again finds the request
// that waits.
func (f *Flow) Resume(ctx context.Context, by authz.By, deviceID, reason string) (*approval.Request, error) {
	return f.askRelease(ctx, by, approval.Resume, approval.Certificates, deviceID, reason)
}

// Resync asks that a hold after a counter went back ends. Others decide; asking
// again finds the request that waits.
func (f *Flow) Resync(ctx context.Context, by authz.By, deviceID, reason string) (*approval.Request, error) {
	return f.askRelease(ctx, by, approval.Resync, approval.Identities, deviceID, reason)
}

func (f *Flow) askRelease(ctx context.Context, by authz.By, kind approval.Kind, path approval.Path, deviceID, reason string) (asked *approval.Request, err error) {
	if reason == "" {
		return nil, ErrReason
	}
	defer failpoint.Here("act.after-commit")
	err = f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		if err := by.Still(ctx, tx); err != nil {
			return err
		}
		d, err := device.Get(ctx, tx, deviceID)
		if err != nil {
			return err
		}
		if err := releasable(kind, d); err != nil {
			return err
		}
		people, err := f.people(ctx, tx, path)
		if err != nil {
			return err
		}
		action, err := releaseOf(kind, d, reason).Bytes()
		if err != nil {
			return err
		}
		asked, err = f.placeAsk(ctx, tx, by, approval.Ask{Kind: kind, Path: path, SubjectID: deviceID, Action: action, Required: people, Reason: reason})
		failpoint.Here("act.before-audit")
		return err
	})
	return asked, err
}

// placeAsk stores what a person asks for, unless the same waits already: then that
// is it, whoever asked first.
func (f *Flow) placeAsk(ctx context.Context, tx db.Tx, by authz.By, ask approval.Ask) (*approval.Request, error) {
	list, err := approval.Waiting(ctx, tx, ask.Kind, ask.SubjectID, "")
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Live(tx.Now) != approval.Expired {
			return &list[i], nil
		}
		if err := approval.Close(ctx, tx, list[i].ID, approval.Expired); err != nil {
			return nil, err
		}
	}
	ask.Requester, ask.AccountID = by.Person, by.AccountID
	if by.Person == "" { // the server and its host
		ask.Requester = string(by.Kind) + ":" + by.ID
	}
	if ask.TTL == 0 {
		ask.TTL = f.settings.ReviewTTL
	}
	r, err := approval.Place(ctx, tx, ask)
	if err != nil {
		return nil, err
	}
	about, err := acts[r.Kind].open(f, ctx, tx, r, true)
	if err != nil {
		return nil, err
	}
	return r, audit.Write(ctx, tx, by.Actor, about.noted(audit.ApprovalRequest, ask.Reason, r, "kind", string(r.Kind)))
}

func (f *Flow) openResume(ctx context.Context, tx db.Tx, r *approval.Request, _ bool) (*deed, error) {
	return f.openRelease(r, audit.DeviceResume, func(ctx context.Context, tx db.Tx, why verdict) (*device.Device, error) {
		return device.Resume(ctx, tx, r.SubjectID, r.Requester, r.Reason)
	})
}

func (f *Flow) openResync(ctx context.Context, tx db.Tx, r *approval.Request, _ bool) (*deed, error) {
	return f.openRelease(r, audit.DeviceResync, func(ctx context.Context, tx db.Tx, _ verdict) (*device.Device, error) {
		return device.Resync(ctx, tx, r.SubjectID)
	})
}

func (f *Flow) openRelease(r *approval.Request, done string, change func(context.Context, db.Tx, verdict) (*device.Device, error)) (*deed, error) {
	return &deed{
		entry: audit.Entry{ObjectKind: "device", ObjectID: r.SubjectID, Details: map[string]string{"asked_because": r.Reason}},
		done:  done, refused: audit.ApprovalRefuse,
		stale: func(ctx context.Context, tx db.Tx) (string, error) {
			d, err := device.Get(ctx, tx, r.SubjectID)
			if err != nil {
				return "", err
			}
			now, err := releaseOf(r.Kind, d, r.Reason).Bytes()
			if err != nil {
				return "", err
			}
			ended := releasable(r.Kind, d) // what cannot be given back any more
			if ended != nil || approval.Digest(now) != r.Digest {
				return deviceChanged, nil //nolint:nilerr // that it ended is the answer
			}
			return "", nil
		},
		do: func(ctx context.Context, tx db.Tx, why verdict) error {
			d, err := change(ctx, tx, why)
			if err != nil {
				return err
			}
			return retrust(ctx, tx, d.DeviceID)
		},
	}, nil
}

const deviceChanged = "the device is not as it was when it was asked for"

// voidDevice ends what waits to give a device back, in the transaction that changes
// where it stands.
func (f *Flow) voidDevice(ctx context.Context, tx db.Tx, deviceID string) error {
	for _, kind := range []approval.Kind{approval.Resume, approval.Resync} {
		if err := f.annulAll(ctx, tx, kind, deviceID, deviceChanged); err != nil {
			return err
		}
	}
	return nil
}
