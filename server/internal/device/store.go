package device

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// Device is a device that was let in.
type Device struct {
	bun.BaseModel `bun:"table:devices"`

	DeviceID      string    `bun:"device_id,pk"`
	EnrollmentID  string    `bun:"enrollment_id"`
	State         State     `bun:"state"`
	StateReason   string    `bun:"state_reason"`
	StateBy       string    `bun:"state_by"`
	StateAt       db.Micros `bun:"state_at"`
	HeldReason    string    `bun:"held_reason"` // "" when not held
	Name          string    `bun:"name"`
	Owner         string    `bun:"owner"`
	Sensitive     bool      `bun:"sensitive"`
	KeyCode       string    `bun:"key_code"`
	AgentVersion  string    `bun:"agent_version"`
	PolicyVersion int64     `bun:"policy_version"`
	RootVersion   int64     `bun:"root_version"`
	FirstUse      bool      `bun:"first_use"`
	Facts         string    `bun:"facts"` // JSON object of text, self-reported
	EnrolledAt    db.Micros `bun:"enrolled_at"`
}

type labelRow struct {
	bun.BaseModel `bun:"table:device_labels"`

	DeviceID string `bun:"device_id,pk"`
	Key      string `bun:"key,pk"`
	Value    string `bun:"value"`
}

// Get reads a device, or ErrUnknown.
func Get(ctx context.Context, q bun.IDB, id string) (*Device, error) {
	d := new(Device)
	err := q.NewSelect().Model(d).Where("device_id = ?", id).Scan(ctx)
	if errors.Is(err, db.ErrNotFound) {
		return nil, ErrUnknown
	}
	return d, err
}

// Standpoint is what trust in a device looks at, of what is kept here.
type Standpoint struct {
	DeviceID     string `bun:"device_id"`
	EnrollmentID string `bun:"enrollment_id"`
	State        State  `bun:"state"`
	StateReason  string `bun:"state_reason"`
	HeldReason   string `bun:"held_reason"` // "" when not held
	FirstUse     bool   `bun:"first_use"`
	Fingerprint  string `bun:"fingerprint"` // of the certificate that it goes by; "" when it has none
}

// Standpoints reads those of the devices that exist, in the order of their ids.
func Standpoints(ctx context.Context, q bun.IDB, ids []string) (list []Standpoint, err error) {
	err = q.NewSelect().TableExpr("devices AS d").
		ColumnExpr("d.device_id, d.enrollment_id, d.state, d.state_reason, d.held_reason, d.first_use").
		ColumnExpr("COALESCE((SELECT c.fingerprint FROM device_counters AS c WHERE c.device_id = d.device_id), '') AS fingerprint"). // not joined; see Standings
		Where("d.device_id IN (?)", bun.List(ids)).OrderExpr("d.device_id").Scan(ctx, &list)
	return list, err
}

// GetCounter reads a device's counter, or ErrUnknown.
func GetCounter(ctx context.Context, q bun.IDB, id string) (*Counter, error) {
	c := new(Counter)
	err := q.NewSelect().Model(c).Where("device_id = ?", id).Scan(ctx)
	if errors.Is(err, db.ErrNotFound) {
		return nil, ErrUnknown
	}
	return c, err
}

// Add lets a device in, with its labels and a counter at zero. A device_id that
// exists, in whatever state, is ErrExists.
func Add(ctx context.Context, tx db.Tx, d *Device, labels map[string]string, fingerprint, epoch string) error {
	d.State, d.StateAt, d.EnrolledAt, d.Facts = Active, tx.At(), tx.At(), "{}"
	// No failed insert: the transaction can still be asked what is there.
	if err := db.One(tx.NewInsert().Model(d).On("CONFLICT (device_id) DO NOTHING").Exec(ctx)); errors.Is(err, db.ErrConflict) {
		return ErrExists
	} else if err != nil {
		return err
	}
	for k, v := range labels {
		if _, err := tx.NewInsert().Model(&labelRow{DeviceID: d.DeviceID, Key: k, Value: v}).Exec(ctx); err != nil {
			return err
		}
	}
	row := &Counter{DeviceID: d.DeviceID, EnrollmentID: d.EnrollmentID, Fingerprint: fingerprint, Gate: GateOpen, Epoch: epoch}
	_, err := tx.NewInsert().Model(row).Exec(ctx)
	return err
}

// NotRevoked lists those of the devices that exist and are not revoked.
func NotRevoked(ctx context.Context, q bun.IDB, ids []string) (list []string, err error) {
	for len(ids) > 0 {
		part := ids[:min(len(ids), 500)]
		ids = ids[len(part):]
		var found []string
		if err := q.NewSelect().Model((*Device)(nil)).Column("device_id").
			Where("device_id IN (?) AND state <> ?", bun.List(part), Revoked).Scan(ctx, &found); err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	return list, nil
}

// Labels reads a device's labels.
func Labels(ctx context.Context, q bun.IDB, id string) (map[string]string, error) {
	all, err := LabelsOf(ctx, q, []string{id})
	return all[id], err
}

// LabelsOf reads the labels of devices, by device_id.
func LabelsOf(ctx context.Context, q bun.IDB, ids []string) (map[string]map[string]string, error) {
	var rows []labelRow
	if err := q.NewSelect().Model(&rows).Where("device_id IN (?)", bun.List(ids)).Scan(ctx); err != nil {
		return nil, err
	}
	all := make(map[string]map[string]string, len(ids))
	for _, id := range ids {
		all[id] = map[string]string{}
	}
	for _, r := range rows {
		all[r.DeviceID][r.Key] = r.Value
	}
	return all, nil
}

// setState moves a device that is as d says, and its gate with it.
func setState(ctx context.Context, tx db.Tx, d *Device, to State, by, reason string) error {
	from := d.State
	d.State, d.StateBy, d.StateReason, d.StateAt = to, by, reason, tx.At()
	// The counter's row first, as heartbeats do: two orders would be a deadlock.
	if err := setGate(ctx, tx, d); err != nil {
		return err
	}
	return db.One(tx.NewUpdate().Model((*Device)(nil)).
		Set("state = ?", to).Set("state_by = ?", by).Set("state_reason = ?", reason).Set("state_at = ?", tx.At()).
		Where("device_id = ? AND state = ?", d.DeviceID, from).Exec(ctx))
}

// setHeld holds a device, or ends its hold when reason is "".
func setHeld(ctx context.Context, tx db.Tx, d *Device, reason string) error {
	d.HeldReason = reason
	if err := setGate(ctx, tx, d); err != nil {
		return err
	}
	return db.One(tx.NewUpdate().Model((*Device)(nil)).Set("held_reason = ?", reason).
		Where("device_id = ?", d.DeviceID).Exec(ctx))
}

func setGate(ctx context.Context, tx db.Tx, d *Device) error {
	return db.One(tx.NewUpdate().Model((*Counter)(nil)).
		Set("gate = ?", GateOf(d.State, d.HeldReason != "")).Set("refused = 0").
		Where("device_id = ?", d.DeviceID).Exec(ctx))
}

// forgetEpoch makes the next heartbeat prove that it is fresh: it needs the
// nonce that only the refusal of the one before it carries. A device that was not heard
// in the present epoch needs that anyway, and is not to pass for one that was; see Heard.
func forgetEpoch(ctx context.Context, tx db.Tx, id string) error {
	present, err := tx.Epoch(ctx)
	if err != nil {
		return err
	}
	return db.One(tx.NewUpdate().Model((*Counter)(nil)).Set("epoch = CASE WHEN epoch = ? THEN '' ELSE epoch END", present).Set("boot_id = ''").
		Where("device_id = ?", id).Exec(ctx))
}

// EndEpoch writes down, before an epoch ends, which devices were heard in it.
func EndEpoch(ctx context.Context, tx db.Tx) error {
	present, err := tx.Epoch(ctx)
	if err != nil {
		return err
	}
	_, err = tx.NewUpdate().Model((*Counter)(nil)).Set("epoch = ?", present).Where("epoch = ''").Exec(ctx)
	return err
}

// Said is what a device says of itself.
type Said struct {
	AgentVersion  string
	PolicyVersion int64
	RootVersion   int64
	FirstUse      bool
	Facts         map[string]string // nil: unchanged
}

// Telling is a device with what it says, and the digest that tells the next change.
type Telling struct {
	DeviceID string
	Digest   string
	Said     Said
}

var (
	setSaid = db.NewListed(`UPDATE devices AS d SET agent_version = l.agent_version, policy_version = l.policy_version, root_version = l.root_version,
  first_use = (l.first_use = 1), facts = CASE WHEN l.facts = '' THEN d.facts ELSE l.facts END FROM %s WHERE d.device_id = l.device_id`,
		db.Text("device_id"), db.Text("agent_version"), db.Int("policy_version"), db.Int("root_version"), db.Int("first_use"), db.Text("facts"))
	setDigest = db.NewListed("UPDATE device_counters AS c SET said = l.said FROM %s WHERE c.device_id = l.device_id", db.Text("device_id"), db.Text("said"))
)

// SetSaid stores what devices, each once, say of themselves.
func SetSaid(ctx context.Context, tx db.Tx, list ...Telling) error {
	n := len(list)
	ids, digests, agents, facts := make(db.Texts, n), make(db.Texts, n), make(db.Texts, n), make(db.Texts, n)
	policies, roots, firstUses := make(db.Ints, n), make(db.Ints, n), make(db.Ints, n)
	for i, t := range list {
		ids[i], digests[i], agents[i], policies[i], roots[i] = t.DeviceID, t.Digest, t.Said.AgentVersion, t.Said.PolicyVersion, t.Said.RootVersion
		if t.Said.FirstUse {
			firstUses[i] = 1
		}
		if t.Said.Facts != nil {
			data, err := json.Marshal(t.Said.Facts)
			if err != nil {
				return err
			}
			facts[i] = string(data)
		}
	}
	if err := setSaid.All(ctx, tx, db.Lists{ids, agents, policies, roots, firstUses, facts}); err != nil {
		return err
	}
	return setDigest.All(ctx, tx, db.Lists{ids, digests})
}

// Addressed is a device as a command names it.
type Addressed struct {
	DeviceID     string `bun:"device_id"`
	EnrollmentID string `bun:"enrollment_id"`
	State        State  `bun:"state"`
}

// ByIDs reads those of the devices that exist, by device_id.
func ByIDs(ctx context.Context, q bun.IDB, ids []string) (list []Addressed, err error) {
	err = q.NewSelect().Model((*Device)(nil)).Column("device_id", "enrollment_id", "state").
		Where("device_id IN (?)", bun.List(ids)).OrderExpr("device_id").Scan(ctx, &list)
	return list, err
}

// ActiveByLabel lists active devices with a label by device_id, at most limit.
func ActiveByLabel(ctx context.Context, q bun.IDB, key, value string, limit int) (list []Addressed, err error) {
	err = q.NewSelect().Model((*Device)(nil)).Column("device_id", "enrollment_id", "state").
		Where("state = ?", Active).
		Where("device_id IN (?)", q.NewSelect().Model((*labelRow)(nil)).Column("device_id").Where("key = ? AND value = ?", key, value)).
		OrderExpr("device_id").Limit(int64(limit)).Scan(ctx, &list)
	return list, err
}

// BeatCount is how many heartbeats there were in a stretch of time, for people to
// look at: nothing is decided by it.
type BeatCount struct {
	bun.BaseModel `bun:"table:heartbeat_counts,alias:heartbeat_count"`

	At       db.Micros `bun:"at,pk"`
	Accepted int64     `bun:"accepted"`
	Refused  int64     `bun:"refused"`
}

// AddBeats adds to what was counted of a stretch, by any node.
func AddBeats(ctx context.Context, tx db.Tx, n BeatCount) error {
	_, err := tx.NewInsert().Model(&n).On("CONFLICT (at) DO UPDATE").
		Set("accepted = heartbeat_count.accepted + EXCLUDED.accepted").Set("refused = heartbeat_count.refused + EXCLUDED.refused").Exec(ctx)
	return err
}

// ForgetBeats deletes what was counted before a time.
func ForgetBeats(ctx context.Context, tx db.Tx, before db.Micros) error {
	_, err := tx.NewDelete().Model((*BeatCount)(nil)).Where("at < ?", before).Exec(ctx)
	return err
}
