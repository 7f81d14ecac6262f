package attestation

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Challenge is a stored challenge, without its nonce and its secret.
type Challenge struct {
	bun.BaseModel `bun:"table:attestation_challenges"`

	ID           string    `bun:"id,pk"` // SHA-256 of the nonce
	DeviceID     string    `bun:"device_id"`
	EnrollmentID string    `bun:"enrollment_id"`
	Fingerprint  string    `bun:"fingerprint"` // of the certificate that the connection proved
	Epoch        string    `bun:"epoch"`
	TPM          string    `bun:"tpm"` // digest of the endorsement key
	Maker        string    `bun:"maker"`
	Key          []byte    `bun:"attestation_key"` // public area
	SecretDigest string    `bun:"secret_digest"`
	PCRs         string    `bun:"pcrs"` // JSON
	CreatedAt    db.Micros `bun:"created_at"`
	ExpiresAt    db.Micros `bun:"expires_at"`
	UsedAt       db.Micros `bun:"used_at"`
}

func (c *Challenge) pcrs() (list []int) {
	if json.Unmarshal([]byte(c.PCRs), &list) != nil { // written by Open
		return nil
	}
	return list
}

// Open stores a challenge in place of the device's open one. Those whose time is over
// go with it: a device has no more of them than it used within the life of one.
func Open(ctx context.Context, tx db.Tx, c *Challenge, nonce, secret []byte, pcrs []int) error {
	text, err := json.Marshal(pcrs)
	if err != nil {
		return err
	}
	if _, err := tx.NewDelete().Model((*Challenge)(nil)).
		Where("device_id = ? AND (used_at = 0 OR expires_at <= ?)", c.DeviceID, tx.At()).Exec(ctx); err != nil {
		return err
	}
	c.ID, c.SecretDigest, c.PCRs = digestOf(nonce), digestOf(secret), string(text)
	c.CreatedAt, c.ExpiresAt = tx.At(), tx.At().Add(ChallengeLife)
	_, err = tx.NewInsert().Model(c).Exec(ctx)
	return err
}

// Use takes the challenge of a nonce, once. It is ErrUnknown, ErrForeign, ErrUsed or
// ErrExpired otherwise.
func Use(ctx context.Context, tx db.Tx, nonce []byte, deviceID, enrollmentID, fingerprint, epoch string) (*Challenge, error) {
	c := new(Challenge)
	err := tx.NewSelect().Model(c).Where("id = ?", digestOf(nonce)).Scan(ctx)
	if errors.Is(err, db.ErrNotFound) {
		return nil, ErrUnknown
	}
	if err != nil {
		return nil, err
	}
	if err := c.For(deviceID, enrollmentID, fingerprint, epoch, tx.Now); err != nil {
		return nil, err
	}
	err = db.One(tx.NewUpdate().Model((*Challenge)(nil)).Set("used_at = ?", tx.At()).Where("id = ? AND used_at = 0", c.ID).Exec(ctx))
	if errors.Is(err, db.ErrConflict) {
		return nil, ErrUsed
	}
	return c, err
}

// TPM is the one that a device has, by genuine evidence.
type TPM struct {
	bun.BaseModel `bun:"table:attestation_tpms,alias:t"`

	DeviceID     string    `bun:"device_id,pk"`
	EnrollmentID string    `bun:"enrollment_id"`
	TPM          string    `bun:"tpm"` // digest of the endorsement key
	Maker        string    `bun:"maker"`
	Since        db.Micros `bun:"since"`
}

// MayHave makes sure that a device may have a TPM: the one on record for its
// enrollment if there is one (ErrTPMChanged), and not that of another device in use
// (ErrTPMTaken).
func MayHave(ctx context.Context, tx db.Tx, deviceID, enrollmentID, tpm string) error {
	var others int
	err := tx.NewSelect().TableExpr("attestation_tpms AS t").ColumnExpr("COUNT(*)").
		Join("JOIN devices AS d ON d.device_id = t.device_id").
		Where("t.tpm = ? AND t.device_id <> ? AND d.state IN ('active', 'suspended')", tpm, deviceID).Scan(ctx, &others)
	if err != nil {
		return err
	}
	if others > 0 {
		return ErrTPMTaken
	}
	var known TPM
	err = tx.NewSelect().Model(&known).Where("device_id = ?", deviceID).Scan(ctx)
	switch {
	case errors.Is(err, db.ErrNotFound):
		return nil
	case err != nil:
		return err
	case known.EnrollmentID == enrollmentID && known.TPM != tpm:
		return ErrTPMChanged
	}
	return nil
}

// Tie writes down that a device has the TPM of a challenge.
func Tie(ctx context.Context, tx db.Tx, c *Challenge) error {
	switch known, err := TPMOf(ctx, tx, c.DeviceID); {
	case err == nil && known.EnrollmentID == c.EnrollmentID && known.TPM == c.TPM:
		return nil
	case err != nil && !errors.Is(err, ErrNone):
		return err
	}
	row := &TPM{DeviceID: c.DeviceID, EnrollmentID: c.EnrollmentID, TPM: c.TPM, Maker: c.Maker, Since: tx.At()}
	_, err := tx.NewInsert().Model(row).On("CONFLICT (device_id) DO UPDATE").
		Set("enrollment_id = EXCLUDED.enrollment_id").Set("tpm = EXCLUDED.tpm").Set("maker = EXCLUDED.maker").Set("since = EXCLUDED.since").Exec(ctx)
	return err
}

// Untie forgets a device's TPM, so that its next evidence may bring another. It is
// ErrNone when none is on record.
func Untie(ctx context.Context, tx db.Tx, deviceID string) error {
	err := db.One(tx.NewDelete().Model((*TPM)(nil)).Where("device_id = ?", deviceID).Exec(ctx))
	if errors.Is(err, db.ErrConflict) {
		err = ErrNone
	}
	return err
}

// TPMOf reads which TPM a device has, or ErrNone.
func TPMOf(ctx context.Context, q bun.IDB, deviceID string) (*TPM, error) {
	row := new(TPM)
	err := q.NewSelect().Model(row).Where("device_id = ?", deviceID).Scan(ctx)
	if errors.Is(err, db.ErrNotFound) {
		return nil, ErrNone
	}
	return row, err
}

// Result is what became of a device's last evidence.
type Result struct {
	bun.BaseModel `bun:"table:attestation_results"`

	DeviceID      string                      `bun:"device_id,pk"`
	EnrollmentID  string                      `bun:"enrollment_id"`
	KeyDigest     string                      `bun:"key_digest"` // of the certificate's key that it is about: SHA-256 of the PKIX DER
	Verdict       protocol.AttestationVerdict `bun:"verdict"`
	ReasonText    string                      `bun:"reasons"`    // JSON
	Values        string                      `bun:"pcr_values"` // JSON; {} when the evidence is not genuine
	HardwareBound bool                        `bun:"hardware_bound"`
	Baseline      string                      `bun:"baseline"` // that it is as; "" for none
	Resets        int64                       `bun:"resets"`
	Policy        int64                       `bun:"policy"` // number of the policy that it was judged by
	JudgedAt      db.Micros                   `bun:"judged_at"`
	ProvenAt      db.Micros                   `bun:"proven_at"`
	ValidUntil    db.Micros                   `bun:"valid_until"`
}

// Reasons are those of the verdict.
func (r *Result) Reasons() (list []protocol.AttestationReason) {
	if json.Unmarshal([]byte(r.ReasonText), &list) != nil { // written by set
		return nil
	}
	return list
}

// PCRs are the values that were proven.
func (r *Result) PCRs() map[int]string {
	m := map[int]string{}
	if json.Unmarshal([]byte(r.Values), &m) != nil { // written by Put
		return map[int]string{}
	}
	return m
}

// Proof is what the evidence proved, as far as baselines look at it.
func (r *Result) Proof() Proof {
	p := Proof{PCRs: r.PCRs(), HardwareBound: r.HardwareBound, Resets: uint32(r.Resets)}
	if r.Verdict == protocol.AttestContraindicated {
		p.Reasons = r.Reasons()
	}
	return p
}

// set takes a judgement over. Evidence counts for its life, and no longer than the
// baseline that it is as.
func (r *Result) set(j *Judgement, policy int64, at db.Micros, life time.Duration) error {
	reasons, err := json.Marshal(j.Reasons)
	if err != nil {
		return err
	}
	r.Verdict, r.ReasonText, r.Baseline, r.Policy, r.JudgedAt = j.Verdict, string(reasons), j.Baseline, policy, at
	r.ValidUntil = r.ProvenAt.Add(life)
	if !j.Until.IsZero() {
		r.ValidUntil = min(r.ValidUntil, db.At(j.Until))
	}
	return nil
}

// Put stores what became of evidence. It says whether verdict or reasons are others
// than before.
func Put(ctx context.Context, tx db.Tx, r *Result, p *Proof, j *Judgement, policy int64, life time.Duration) (changed bool, err error) {
	values, err := json.Marshal(p.PCRs)
	if err != nil {
		return false, err
	}
	if p.PCRs == nil {
		values = []byte("{}")
	}
	r.Values, r.HardwareBound, r.Resets, r.ProvenAt = string(values), p.HardwareBound, int64(p.Resets), tx.At()
	if err := r.set(j, policy, tx.At(), life); err != nil {
		return false, err
	}
	before, err := ResultOf(ctx, tx, r.DeviceID)
	switch {
	case errors.Is(err, ErrNone):
		changed = true
	case err != nil:
		return false, err
	default:
		changed = before.Verdict != r.Verdict || before.ReasonText != r.ReasonText || before.HardwareBound != r.HardwareBound
	}
	_, err = tx.NewInsert().Model(r).On("CONFLICT (device_id) DO UPDATE").
		Set("enrollment_id = EXCLUDED.enrollment_id").Set("key_digest = EXCLUDED.key_digest").Set("verdict = EXCLUDED.verdict").
		Set("reasons = EXCLUDED.reasons").Set("pcr_values = EXCLUDED.pcr_values").Set("hardware_bound = EXCLUDED.hardware_bound").
		Set("baseline = EXCLUDED.baseline").Set("resets = EXCLUDED.resets").Set("policy = EXCLUDED.policy").
		Set("judged_at = EXCLUDED.judged_at").Set("proven_at = EXCLUDED.proven_at").Set("valid_until = EXCLUDED.valid_until").Exec(ctx)
	return changed, err
}

// Rejudge stores what the same evidence means by other baselines.
func Rejudge(ctx context.Context, tx db.Tx, r *Result, j *Judgement, policy int64, life time.Duration) (changed bool, err error) {
	verdict, reasons := r.Verdict, r.ReasonText
	if err := r.set(j, policy, tx.At(), life); err != nil {
		return false, err
	}
	_, err = tx.NewUpdate().Model(r).WherePK().Exec(ctx)
	return verdict != r.Verdict || reasons != r.ReasonText, err
}

// ResultOf reads what became of a device's last evidence, or ErrNone.
func ResultOf(ctx context.Context, q bun.IDB, deviceID string) (*Result, error) {
	r := new(Result)
	err := q.NewSelect().Model(r).Where("device_id = ?", deviceID).Scan(ctx)
	if errors.Is(err, db.ErrNotFound) {
		return nil, ErrNone
	}
	return r, err
}

// Results reads what became of the last evidence of devices, by device_id.
func Results(ctx context.Context, q bun.IDB, ids []string) (map[string]*Result, error) {
	var rows []Result
	err := q.NewSelect().Model(&rows).Where("device_id IN (?)", bun.List(ids)).Scan(ctx)
	byDevice := make(map[string]*Result, len(rows))
	for i := range rows {
		byDevice[rows[i].DeviceID] = &rows[i]
	}
	return byDevice, err
}

// Baseline is a stored baseline.
type Baseline struct {
	bun.BaseModel `bun:"table:attestation_baselines"`

	ID            string           `bun:"id,pk"`
	Name          string           `bun:"name"`
	Version       int64            `bun:"version"`
	State         State            `bun:"state"`
	Label         string           `bun:"label"`
	ValueText     string           `bun:"pcr_values"` // JSON
	Values        map[int][]string `bun:"-"`
	HardwareBound bool             `bun:"hardware_bound"`
	NotBefore     db.Micros        `bun:"not_before"`
	NotAfter      db.Micros        `bun:"not_after"`
	Overlap       int64            `bun:"overlap"` // seconds
	CauseKind     string           `bun:"cause_kind"`
	CauseRef      string           `bun:"cause_ref"`
	CauseText     string           `bun:"cause_text"`
	ProposedBy    string           `bun:"proposed_by"`
	ApprovalID    string           `bun:"approval_id"`
	Reason        string           `bun:"reason"` // why it ended
	CreatedAt     db.Micros        `bun:"created_at"`
	ExpiresAt     db.Micros        `bun:"expires_at"` // of the proposal
	DecidedAt     db.Micros        `bun:"decided_at"`
}

func (b *Baseline) read() error { return json.Unmarshal([]byte(b.ValueText), &b.Values) }

// NextVersion is the version of the next baseline of a name. There is no room for it
// when too many are proposed or in force: InvalidError.
func NextVersion(ctx context.Context, tx db.Tx, name string) (int64, error) {
	var open int
	err := tx.NewSelect().Model((*Baseline)(nil)).ColumnExpr("COUNT(*)").
		Where("state = ? AND expires_at > ? OR state = ? AND not_after > ?", Proposed, tx.At(), Active, tx.At()).Scan(ctx, &open)
	if err != nil {
		return 0, err
	}
	if open >= MaxBaselines {
		return 0, &InvalidError{"too many baselines are proposed or in force; retire some first"}
	}
	var last int64
	err = tx.NewSelect().Model((*Baseline)(nil)).ColumnExpr("COALESCE(MAX(version), 0)").Where("name = ?", name).Scan(ctx, &last)
	return last + 1, err
}

// Propose stores a baseline that waits for people.
func Propose(ctx context.Context, tx db.Tx, a *Action, by, approvalID string, until db.Micros) error {
	values, err := json.Marshal(a.Values)
	if err != nil {
		return err
	}
	_, err = tx.NewInsert().Model(&Baseline{
		ID: a.ID, Name: a.Name, Version: a.Version, State: Proposed, Label: a.Label, ValueText: string(values), HardwareBound: a.HardwareBound,
		NotBefore: db.At(a.NotBefore), NotAfter: db.At(a.NotAfter), Overlap: a.OverlapSeconds,
		CauseKind: a.Cause.Kind, CauseRef: a.Cause.Ref, CauseText: a.Cause.Text,
		ProposedBy: by, ApprovalID: approvalID, CreatedAt: tx.At(), ExpiresAt: until,
	}).Exec(ctx)
	return err
}

// Get reads a baseline, or ErrNoBaseline.
func Get(ctx context.Context, q bun.IDB, id string) (*Baseline, error) {
	b := new(Baseline)
	err := q.NewSelect().Model(b).Where("id = ?", id).Scan(ctx)
	if errors.Is(err, db.ErrNotFound) {
		return nil, ErrNoBaseline
	}
	if err != nil {
		return nil, err
	}
	return b, b.read()
}

// Baselines lists the newest baselines, whatever their state.
func Baselines(ctx context.Context, q bun.IDB, limit int) ([]Baseline, error) {
	return list(ctx, q.NewSelect().OrderExpr("created_at DESC, id DESC").Limit(int64(limit)))
}

// Actives lists the active baselines of all devices, the newest first.
func Actives(ctx context.Context, q bun.IDB) ([]Baseline, error) {
	return list(ctx, q.NewSelect().Where("state = ?", Active).OrderExpr("decided_at DESC, id DESC"))
}

func list(ctx context.Context, sel *bun.SelectQuery) (rows []Baseline, err error) {
	if err := sel.Model(&rows).Scan(ctx); err != nil {
		return nil, err
	}
	for i := range rows {
		if err := rows[i].read(); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// Newer reports whether a later version of the same name was in force already.
func Newer(ctx context.Context, tx db.Tx, b *Baseline) (bool, error) {
	var n int
	err := tx.NewSelect().Model((*Baseline)(nil)).ColumnExpr("COUNT(*)").
		Where("name = ? AND version > ? AND state IN (?, ?)", b.Name, b.Version, Active, Retired).Scan(ctx, &n)
	return n > 0, err
}

// Activate puts a proposed baseline into force, and ends those that it replaces after
// its overlap. The policy is another one from then on.
func Activate(ctx context.Context, tx db.Tx, b *Baseline) error {
	if err := move(ctx, tx, b.ID, Proposed, Active, ""); err != nil {
		return err
	}
	before, err := list(ctx, tx.NewSelect().Where("name = ? AND version < ? AND state = ?", b.Name, b.Version, Active))
	if err != nil {
		return err
	}
	from := max(tx.At(), b.NotBefore)
	for i := range before {
		until := before[i].ends(from, time.Duration(b.Overlap)*time.Second)
		if _, err := tx.NewUpdate().Model((*Baseline)(nil)).Set("not_after = ?", until).Where("id = ?", before[i].ID).Exec(ctx); err != nil {
			return err
		}
	}
	return raisePolicy(ctx, tx)
}

// Refuse ends a baseline that nobody agreed to.
func Refuse(ctx context.Context, tx db.Tx, id, reason string) error {
	return move(ctx, tx, id, Proposed, Rejected, reason)
}

// Retire ends an active baseline at once. It is ErrState when it is not active.
func Retire(ctx context.Context, tx db.Tx, id, reason string) error {
	err := move(ctx, tx, id, Active, Retired, reason)
	if errors.Is(err, db.ErrConflict) {
		return ErrState
	}
	if err != nil {
		return err
	}
	return raisePolicy(ctx, tx)
}

func move(ctx context.Context, tx db.Tx, id string, from, to State, reason string) error {
	return db.One(tx.NewUpdate().Model((*Baseline)(nil)).Set("state = ?", to).Set("reason = ?", reason).Set("decided_at = ?", tx.At()).
		Where("id = ? AND state = ?", id, from).Exec(ctx))
}

// Policy is what evidence is judged by: all baselines together. Its number rises with
// every change of those in force, and never goes back.
type Policy struct {
	bun.BaseModel `bun:"table:attestation_policy"`

	ID        int       `bun:"id,pk"`
	Number    int64     `bun:"number"`
	ChangedAt db.Micros `bun:"changed_at"` // 0: never
}

// CurrentPolicy reads the policy in force.
func CurrentPolicy(ctx context.Context, q bun.IDB) (p Policy, err error) {
	err = q.NewSelect().Model(&p).Where("id = 1").Scan(ctx)
	return p, err
}

func raisePolicy(ctx context.Context, tx db.Tx) error {
	return db.One(tx.NewUpdate().Model((*Policy)(nil)).Set("number = number + 1").Set("changed_at = ?", tx.At()).Where("id = 1").Exec(ctx))
}
