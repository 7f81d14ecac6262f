package command

import (
	"context"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Command is a statement and where it stands.
type Command struct {
	bun.BaseModel `bun:"table:commands,alias:c"`

	ID          string    `bun:"id,pk"` // the statement's action_id
	State       State     `bun:"state"`
	Kind        string    `bun:"kind"`
	Reason      string    `bun:"reason"` // the asking person's words
	Statement   []byte    `bun:"statement,nullzero:false"`
	Digest      string    `bun:"digest"` // of Statement
	Envelope    []byte    `bun:"envelope,nullzero:false"`
	Targets     int64     `bun:"targets"`
	RequestedBy string    `bun:"requested_by"` // person
	ApprovalID  string    `bun:"approval_id"`
	Queued      int64     `bun:"queued"`
	Ending      Ending    `bun:"ending"`
	EndedBy     string    `bun:"ended_by"`
	EndedReason string    `bun:"ended_reason"`
	NotBefore   db.Micros `bun:"not_before"`
	NotAfter    db.Micros `bun:"not_after"`
	CreatedAt   db.Micros `bun:"created_at"`
	SignedAt    db.Micros `bun:"signed_at"`
	ClosedAt    db.Micros `bun:"closed_at"`
}

// Target is a device of a command.
type Target struct {
	bun.BaseModel `bun:"table:command_targets,alias:t"`

	CommandID      string      `bun:"command_id,pk"`
	DeviceID       string      `bun:"device_id,pk"`
	EnrollmentID   string      `bun:"enrollment_id"`
	Position       int64       `bun:"position"` // of its leaf in the statement's tree
	State          TargetState `bun:"state"`
	Reason         string      `bun:"reason"`
	Deliveries     int64       `bun:"deliveries"`
	DeliveredAt    db.Micros   `bun:"delivered_at"` // first
	AcknowledgedAt db.Micros   `bun:"acknowledged_at"`
	ClosedAt       db.Micros   `bun:"closed_at"`
	Result         []byte      `bun:"result,nullzero:false"` // envelope of a signing.CommandResult
}

// ErrUnknown says that there is no such command.
var ErrUnknown = errors.New("there is no such command")

// open is the condition of the partial indexes, letter for letter: SQLite takes an
// index for nothing else.
const open = "state IN ('queued', 'delivered', 'acknowledged')"

// rowsAtOnce bounds what one statement inserts.
const rowsAtOnce = 1000

// Add stores a command and its targets, in the order of the statement's tree.
func Add(ctx context.Context, tx db.Tx, c *Command, targets []signing.Target) error {
	c.CreatedAt, c.Targets, c.Envelope = tx.At(), int64(len(targets)), []byte{}
	if _, err := tx.NewInsert().Model(c).Exec(ctx); err != nil {
		return err
	}
	for first := 0; first < len(targets); first += rowsAtOnce {
		part := targets[first:min(first+rowsAtOnce, len(targets))]
		rows := make([]Target, len(part))
		for i, t := range part {
			rows[i] = Target{CommandID: c.ID, DeviceID: t.DeviceID, EnrollmentID: t.EnrollmentID, Position: int64(first + i), State: Queued, Result: []byte{}}
		}
		if _, err := tx.NewInsert().Model(&rows).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Get reads a command, or ErrUnknown.
func Get(ctx context.Context, q bun.IDB, id string) (*Command, error) {
	c := new(Command)
	err := q.NewSelect().Model(c).Where("id = ?", id).Scan(ctx)
	if errors.Is(err, db.ErrNotFound) {
		return nil, ErrUnknown
	}
	return c, err
}

// Hold is Get with the row held until the transaction ends, so that two acts on
// one command come one after the other.
func Hold(ctx context.Context, tx db.Tx, id string) (*Command, error) {
	c := new(Command)
	sel := tx.NewSelect().Model(c).Where("id = ?", id)
	if tx.On == db.PostgreSQL { // on SQLite the transaction is alone already
		sel = sel.For("UPDATE")
	}
	err := sel.Scan(ctx)
	if errors.Is(err, db.ErrNotFound) {
		return nil, ErrUnknown
	}
	return c, err
}

// Agreed lets a command that was reviewed be signed, once.
func Agreed(ctx context.Context, tx db.Tx, id string) error {
	return db.One(tx.NewUpdate().Model((*Command)(nil)).Set("state = ?", Unsigned).
		Where("id = ? AND state = ? AND ending = ''", id, Review).Exec(ctx))
}

// early is how long before a command is valid it goes out. Devices take one that is
// not valid yet within five minutes (signing.ClockSkew), and refuse it for good before
// that; nodes' clocks may be some way apart. Only a clock that was ahead when it was asked
// for makes more than that of it.
const early = time.Minute

func due(now db.Micros) db.Micros { return now.Add(early) }

// ToSign lists commands that wait for a signature, the oldest first, without what
// is over and what is not due.
func ToSign(ctx context.Context, q bun.IDB, now db.Micros, limit int) (list []Command, err error) {
	err = q.NewSelect().Model(&list).Where("state = ? AND not_after > ? AND not_before <= ? AND ending = ''", Unsigned, now, due(now)).
		OrderExpr("created_at, id").Limit(int64(limit)).Scan(ctx)
	return list, err
}

// Sign stores the envelope of a statement, once: another node may have been faster,
// or a person who cancelled (db.ErrConflict).
func Sign(ctx context.Context, tx db.Tx, id, digest string, envelope []byte) error {
	return db.One(tx.NewUpdate().Model((*Command)(nil)).
		Set("state = ?", Open).Set("envelope = ?", envelope).Set("signed_at = ?", tx.At()).
		Where("id = ? AND digest = ? AND state = ? AND ending = ''", id, digest, Unsigned).Exec(ctx))
}

// ToQueue lists signed commands of which not every device was told yet that
// something waits for it, the oldest first, without what is not due.
func ToQueue(ctx context.Context, q bun.IDB, now db.Micros, limit int) (list []Command, err error) {
	err = q.NewSelect().Model(&list).Column("id", "queued", "targets").
		Where("state = ? AND not_after > ? AND not_before <= ? AND ending = '' AND queued < targets", Open, now, due(now)).
		OrderExpr("created_at, id").Limit(int64(limit)).Scan(ctx)
	return list, err
}

// DevicesFrom lists the devices of a command by position.
func DevicesFrom(ctx context.Context, q bun.IDB, id string, from int64, limit int) (ids []string, err error) {
	err = q.NewSelect().Model((*Target)(nil)).Column("device_id").
		Where("command_id = ? AND position >= ? AND position < ?", id, from, from+int64(limit)).OrderExpr("position").Scan(ctx, &ids)
	return ids, err
}

// SetQueued writes down how far the queueing of a command came. Another node may
// have come further.
func SetQueued(ctx context.Context, tx db.Tx, id string, queued int64) error {
	_, err := tx.NewUpdate().Model((*Command)(nil)).Set("queued = ?", queued).Where("id = ? AND queued < ?", id, queued).Exec(ctx)
	return err
}

// Waiting is a command that a device is to be given.
type Waiting struct {
	CommandID string `bun:"id"`
	Envelope  []byte `bun:"envelope"`
	Position  int64  `bun:"position"`
	Due       bool   `bun:"due"` // or it is to be asked for again
}

// WaitingFor lists what a device is to be given: what it was given least often
// first, so that one that is never acknowledged holds up nothing behind it, then
// the oldest. What is not due comes last.
func WaitingFor(ctx context.Context, tx db.Tx, deviceID, enrollmentID string, limit int) (list []Waiting, err error) {
	err = tx.NewSelect().Model((*Target)(nil)).ColumnExpr("c.id, c.envelope, t.position, c.not_before <= ? AS due", due(tx.At())).
		Join("JOIN commands AS c ON c.id = t.command_id").
		Where("t.device_id = ? AND t.enrollment_id = ?", deviceID, enrollmentID).
		Where("t."+open).Where("t.state IN (?)", bun.List(From(Deliver))).
		Where("c.state = ? AND c.ending = '' AND c.not_after > ?", Open, tx.At()).
		OrderExpr("due DESC, t.deliveries, c.created_at, c.id").Limit(int64(limit)).Scan(ctx, &list)
	return list, err
}

// change is a conditional change of one target: false says that its state is not
// one that the event leads out of.
func change(ctx context.Context, tx db.Tx, commandID, deviceID string, e Event, set func(*bun.UpdateQuery) *bun.UpdateQuery) (bool, error) {
	up := set(tx.NewUpdate().Model((*Target)(nil))).
		Where("command_id = ? AND device_id = ? AND state IN (?)", commandID, deviceID, bun.List(From(e)))
	err := db.One(up.Exec(ctx))
	if errors.Is(err, db.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

// MarkDelivered counts a delivery. False says that the target was ended meanwhile:
// it must not go out.
func MarkDelivered(ctx context.Context, tx db.Tx, commandID, deviceID string) (bool, error) {
	return change(ctx, tx, commandID, deviceID, Deliver, func(up *bun.UpdateQuery) *bun.UpdateQuery {
		return up.Set("state = ?", Delivered).Set("deliveries = deliveries + 1").
			Set("delivered_at = CASE WHEN delivered_at = 0 THEN ? ELSE delivered_at END", tx.At())
	})
}

// MarkAcknowledged records that the device has written the command down.
func MarkAcknowledged(ctx context.Context, tx db.Tx, commandID, deviceID string) (bool, error) {
	return change(ctx, tx, commandID, deviceID, Acknowledge, func(up *bun.UpdateQuery) *bun.UpdateQuery {
		return up.Set("state = ?", Acknowledged).Set("acknowledged_at = ?", tx.At())
	})
}

// Close ends a target with a reason, and with the result that ended it.
func Close(ctx context.Context, tx db.Tx, commandID, deviceID string, e Event, reason string, result []byte) (bool, error) {
	to, given, err := Next(Queued, e)
	if err != nil {
		return false, err
	}
	if given != "" {
		reason = given
	}
	if result == nil {
		result = []byte{}
	}
	return change(ctx, tx, commandID, deviceID, e, func(up *bun.UpdateQuery) *bun.UpdateQuery {
		up = up.Set("state = ?", to).Set("reason = ?", reason).Set("closed_at = ?", tx.At()).Set("result = ?", result)
		if e == Succeed || e == Fail { // a result stands for a lost acknowledgement
			up = up.Set("acknowledged_at = CASE WHEN acknowledged_at = 0 THEN ? ELSE acknowledged_at END", tx.At())
		}
		return up
	})
}

// Known is a target with what its result must name.
type Known struct {
	Target   `bun:",extend"`
	Digest   string `bun:"digest"`
	Envelope []byte `bun:"envelope"`
	Signed   bool   `bun:"signed"`
}

// KnownTo reads what a device has to do with commands. What is not among its own
// is left out.
func KnownTo(ctx context.Context, q bun.IDB, deviceID string, commandIDs []string) (map[string]*Known, error) {
	var rows []Known
	if err := q.NewSelect().Model((*Target)(nil)).ColumnExpr("t.*, c.digest, c.envelope, c.signed_at > 0 AS signed").
		Join("JOIN commands AS c ON c.id = t.command_id").
		Where("t.device_id = ? AND t.command_id IN (?)", deviceID, bun.List(commandIDs)).Scan(ctx, &rows); err != nil {
		return nil, err
	}
	m := make(map[string]*Known, len(rows))
	for i := range rows {
		m[rows[i].CommandID] = &rows[i]
	}
	return m, nil
}

// End brings a command to an end before its time: from now on nothing of it is
// signed or delivered. What has an ending keeps it (db.ErrConflict).
func End(ctx context.Context, tx db.Tx, id string, ending Ending, by, reason string) error {
	return db.One(tx.NewUpdate().Model((*Command)(nil)).
		Set("ending = ?", ending).Set("ended_by = ?", by).Set("ended_reason = ?", reason).
		Where("id = ? AND state IN (?, ?, ?) AND ending = ''", id, Review, Unsigned, Open).Exec(ctx))
}

// EndAll brings everything that is not over to an end, after a restore: what was
// cancelled since the backup would run otherwise.
func EndAll(ctx context.Context, tx db.Tx, by string) error {
	_, err := tx.NewUpdate().Model((*Command)(nil)).
		Set("ending = ?", EndRestored).Set("ended_by = ?", by).Set("ended_reason = ?", "the database was restored").
		Where("state IN (?, ?, ?) AND ending = ''", Review, Unsigned, Open).Exec(ctx)
	return err
}

// EndDeviceTargets closes what is open for a device that is revoked or retired.
func EndDeviceTargets(ctx context.Context, tx db.Tx, deviceID string) error {
	to, reason, err := Next(Queued, EndDevice)
	if err != nil {
		return err
	}
	_, err = tx.NewUpdate().Model((*Target)(nil)).Set("state = ?", to).Set("reason = ?", reason).Set("closed_at = ?", tx.At()).
		Where("device_id = ?", deviceID).Where(open).Exec(ctx)
	return err
}

// CloseSome closes at most limit targets of a command that an event leads out of,
// and says how many there were of each state.
func CloseSome(ctx context.Context, tx db.Tx, id string, e Event, limit int) (map[TargetState]int, error) {
	closed := map[TargetState]int{}
	for _, from := range From(e) {
		to, reason, err := Next(from, e)
		if err != nil {
			return nil, err
		}
		some := tx.NewSelect().Model((*Target)(nil)).Column("device_id").
			Where("command_id = ?", id).Where(open).Where("state = ?", from).OrderExpr("device_id").Limit(int64(limit))
		// The state is asked for again on the row itself: between the two a device
		// may have acknowledged.
		res, err := tx.NewUpdate().Model((*Target)(nil)).Set("state = ?", to).Set("reason = ?", reason).Set("closed_at = ?", tx.At()).
			Where("command_id = ? AND state = ? AND device_id IN (?)", id, from, some).Exec(ctx)
		if err != nil {
			return nil, err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return nil, err
		}
		closed[from] = int(n)
	}
	return closed, nil
}

// CountOpen counts the targets of a command in a state that is not final.
func CountOpen(ctx context.Context, q bun.IDB, id string, states ...TargetState) (int, error) {
	n, err := q.NewSelect().Model((*Target)(nil)).Where("command_id = ?", id).Where(open).Where("state IN (?)", bun.List(states)).Count(ctx)
	return int(n), err
}

// ToEnd lists commands with something to be closed at the time: targets, or the
// command itself.
func ToEnd(ctx context.Context, q bun.IDB, now db.Micros, limit int) (list []Command, err error) {
	target := func(states string) string {
		return "EXISTS (SELECT 1 FROM command_targets AS t WHERE t.command_id = c.id AND t." + open + states + ")"
	}
	err = q.NewSelect().Model(&list).Column("id", "state", "ending", "not_after", "approval_id").
		Where("c.state IN (?, ?, ?)", Review, Unsigned, Open).
		WhereGroup(" AND ", func(sel *bun.SelectQuery) *bun.SelectQuery {
			return sel.Where("NOT "+target("")).
				WhereOr("c.ending <> '' AND "+target(" AND t.state <> 'acknowledged'")).
				WhereOr("c.not_after <= ? AND "+target(" AND t.state = 'queued'"), now).
				WhereOr("c.not_after <= ?", now.Add(-ReportGrace))
		}).
		OrderExpr("c.not_after, c.id").Limit(int64(limit)).Scan(ctx)
	return list, err
}

// Finish writes down the final state of a command none of whose targets is open.
// False says that one is, or that another node was faster.
func Finish(ctx context.Context, tx db.Tx, id string) (State, bool, error) {
	c, err := Hold(ctx, tx, id)
	if err != nil || c.State.Final() {
		return "", false, err
	}
	left, err := CountOpen(ctx, tx, id, Queued, Delivered, Acknowledged)
	if err != nil || left > 0 {
		return "", false, err
	}
	expired, err := tx.NewSelect().Model((*Target)(nil)).Where("command_id = ? AND state = ?", id, TargetExpired).Exists(ctx)
	if err != nil {
		return "", false, err
	}
	last := Last(c.State, c.Ending, expired)
	err = db.One(tx.NewUpdate().Model((*Command)(nil)).Set("state = ?", last).Set("closed_at = ?", tx.At()).
		Where("id = ? AND state = ?", id, c.State).Exec(ctx))
	return last, err == nil, err
}

// TreeOf lists the targets of a command in the order of its statement's tree.
func TreeOf(ctx context.Context, q bun.IDB, id string) ([]signing.Target, error) {
	var rows []Target
	if err := q.NewSelect().Model(&rows).Column("device_id", "enrollment_id").Where("command_id = ?", id).OrderExpr("position").Scan(ctx); err != nil {
		return nil, err
	}
	list := make([]signing.Target, len(rows))
	for i, r := range rows {
		list[i] = signing.Target{DeviceID: r.DeviceID, EnrollmentID: r.EnrollmentID}
	}
	return list, nil
}
