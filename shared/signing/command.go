package signing

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/merkle"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

const (
	typeCommand = "command"

	// MaxCommandLife is the longest from not_before to not_after.
	MaxCommandLife = 7 * 24 * time.Hour
	// MaxListedTargets stand in the statement itself; more are named by a hash tree,
	// so that a statement for a fleet is as short as one for a device.
	MaxListedTargets = 16
	// MaxTargets of one statement.
	MaxTargets = 1_000_000

	maxParameters = 16
	maxParameter  = 256 // bytes of text
	maxRequester  = 64
)

// CommandStatement is what devices are to do. It is signed once, whoever it is
// for, and by a command key, which proves where it comes from and no more: whether
// a device does it is decided by the policy bundle that the device holds.
type CommandStatement struct {
	Type          string               `json:"type"` // "command"
	FleetID       string               `json:"fleet_id"`
	RootDigest    string               `json:"root_digest"`    // of the fleet root in force when it was made
	PolicyVersion int64                `json:"policy_version"` // of the bundle in force when it was made
	PolicyDigest  string               `json:"policy_digest"`  // of that bundle's payload
	ActionID      string               `json:"action_id"`      // UUID: a device does it once, ever
	Kind          string               `json:"kind"`
	Parameters    map[string]Parameter `json:"parameters,omitempty"`
	Targets       Targets              `json:"targets"`
	Requester     string               `json:"requester"` // person who asked
	NotBefore     time.Time            `json:"not_before"`
	NotAfter      time.Time            `json:"not_after"` // no longer valid at this moment
}

// Parameter is a number or a text, never both: what a device takes from it has one
// type, and passes through no shell.
type Parameter struct {
	Number *int64  `json:"number,omitempty"`
	Text   *string `json:"text,omitempty"`
}

// Number makes a parameter that is a number.
func Number(n int64) Parameter { return Parameter{Number: &n} }

// Text makes a parameter that is text.
func Text(s string) Parameter { return Parameter{Text: &s} }

// Target is one device in one of its enrollments: a device that was enrolled anew
// is another target.
type Target struct {
	DeviceID     string `json:"device_id"`
	EnrollmentID string `json:"enrollment_id"`
}

// Leaf is the target's place in the hash tree. The prefix keeps it apart from
// leaves of other trees, and no device_id holds a NUL.
func (t Target) Leaf() merkle.Hash {
	return merkle.Leaf([]byte("sentinel-target-v1\x00" + t.DeviceID + "\x00" + t.EnrollmentID))
}

func (t Target) check() error {
	if err := protocol.CheckDeviceID(t.DeviceID); err != nil {
		return fmt.Errorf("%w: a target's device_id: %w", ErrRule, err)
	}
	if err := protocol.CheckID(t.EnrollmentID); err != nil {
		return fmt.Errorf("%w: a target's enrollment_id: %w", ErrRule, err)
	}
	return nil
}

// Targets are who a statement is for: a list, or the root of a hash tree over one
// with the number of its items. An empty one is refused and never means everyone.
type Targets struct {
	Devices []Target `json:"devices,omitempty"`
	Root    string   `json:"merkle_root,omitempty"` // lower-case hex, see Target.Leaf
	Count   int64    `json:"count"`                 // of devices
}

// NewTargets names the devices, in the given order, which is the order of the
// tree's leaves.
func NewTargets(list []Target) Targets {
	t := Targets{Count: int64(len(list))}
	if len(list) <= MaxListedTargets {
		t.Devices = slices.Clone(list)
		return t
	}
	root := TargetTree(list).Root()
	t.Root = hex.EncodeToString(root[:])
	return t
}

// TargetTree is the hash tree over the targets, for making proofs.
func TargetTree(list []Target) *merkle.Tree {
	leaves := make([]merkle.Hash, len(list))
	for i, t := range list {
		leaves[i] = t.Leaf()
	}
	return merkle.New(leaves)
}

// Proof shows that a target is at Index of a tree.
type Proof struct {
	Index  int64    `json:"index"`
	Hashes [][]byte `json:"hashes"`
}

// ProofOf makes the proof of the target at index. It is nil where the statement
// lists its targets.
func ProofOf(t Targets, tree *merkle.Tree, index int64) *Proof {
	if t.Root == "" {
		return nil
	}
	p := &Proof{Index: index, Hashes: [][]byte{}}
	for _, h := range tree.Proof(int(index)) {
		p.Hashes = append(p.Hashes, h[:])
	}
	return p
}

// Includes makes sure that the device is one of the targets, or is ErrTarget.
func (t Targets) Includes(device Target, p *Proof) error {
	if t.Root == "" {
		if !slices.Contains(t.Devices, device) {
			return ErrTarget
		}
		return nil
	}
	if p == nil || p.Index < 0 || len(p.Hashes) > 64 {
		return ErrTarget
	}
	root, err := hex.DecodeString(t.Root)
	if err != nil || len(root) != len(merkle.Hash{}) {
		return ErrTarget
	}
	hashes := make([]merkle.Hash, len(p.Hashes))
	for i, h := range p.Hashes {
		if len(h) != len(merkle.Hash{}) {
			return ErrTarget
		}
		hashes[i] = merkle.Hash(h)
	}
	if merkle.Verify(device.Leaf(), uint64(p.Index), uint64(t.Count), hashes, merkle.Hash(root)) != nil {
		return ErrTarget
	}
	return nil
}

func (t Targets) check() error {
	if t.Count < 1 || t.Count > MaxTargets {
		return fmt.Errorf("%w: targets must be 1 to %d devices", ErrRule, MaxTargets)
	}
	if t.Root != "" {
		if len(t.Devices) != 0 || t.Count <= MaxListedTargets {
			return fmt.Errorf("%w: targets are listed or a tree, and a tree has more than %d", ErrRule, MaxListedTargets)
		}
		return checkDigest("merkle_root", t.Root)
	}
	if int64(len(t.Devices)) != t.Count || len(t.Devices) > MaxListedTargets {
		return fmt.Errorf("%w: count is not the number of targets", ErrRule)
	}
	seen := map[string]bool{}
	for _, d := range t.Devices {
		if err := d.check(); err != nil {
			return err
		}
		if seen[d.DeviceID] {
			return fmt.Errorf("%w: a target stands twice", ErrRule)
		}
		seen[d.DeviceID] = true
	}
	return nil
}

// Check holds the statement to its rules (ErrRule), whatever the time, whoever
// signed it, and whether or not a bundle allows it.
func (c *CommandStatement) Check() error {
	if c.Type != typeCommand {
		return fmt.Errorf("%w: type is not %s", ErrRule, typeCommand)
	}
	for name, id := range map[string]string{"fleet_id": c.FleetID, "action_id": c.ActionID} {
		if err := protocol.CheckID(id); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrRule, name, err)
		}
	}
	if err := checkDigest("root_digest", c.RootDigest); err != nil {
		return err
	}
	if err := checkDigest("policy_digest", c.PolicyDigest); err != nil {
		return err
	}
	if err := checkVersion(c.PolicyVersion); err != nil {
		return err
	}
	if !validName(c.Kind) {
		return fmt.Errorf("%w: kind is not lower-case words joined by '-'", ErrRule)
	}
	if err := checkParameters(c.Parameters); err != nil {
		return err
	}
	if err := c.Targets.check(); err != nil {
		return err
	}
	if c.Requester == "" {
		return fmt.Errorf("%w: requester is missing", ErrRule)
	}
	if err := protocol.CheckText("requester", c.Requester, maxRequester); err != nil {
		return fmt.Errorf("%w: %w", ErrRule, err)
	}
	if err := checkTime("not_before", c.NotBefore); err != nil {
		return err
	}
	if err := checkTime("not_after", c.NotAfter); err != nil {
		return err
	}
	if life := c.NotAfter.Sub(c.NotBefore); life <= 0 || life > MaxCommandLife {
		return fmt.Errorf("%w: a command lasts more than nothing and at most %s", ErrRule, MaxCommandLife)
	}
	return nil
}

func checkParameters(parameters map[string]Parameter) error {
	if len(parameters) > maxParameters {
		return fmt.Errorf("%w: more than %d parameters", ErrRule, maxParameters)
	}
	for name, p := range parameters {
		if !validName(name) || (p.Number == nil) == (p.Text == nil) {
			return fmt.Errorf("%w: a parameter's name has not the form, or it is not one number or one text", ErrRule)
		}
		if p.Number != nil && (*p.Number > protocol.MaxCounter || *p.Number < -protocol.MaxCounter) {
			return fmt.Errorf("%w: the parameter %s is out of range", ErrRule, name)
		}
		if p.Text != nil {
			if err := protocol.CheckText("the parameter "+name, *p.Text, maxParameter); err != nil {
				return fmt.Errorf("%w: %w", ErrRule, err)
			}
		}
	}
	return nil
}

// Payload fills in the type, brings the times into form, checks the statement and
// returns the one form in which it is signed.
func (c CommandStatement) Payload() ([]byte, error) {
	c.Type, c.NotBefore, c.NotAfter = typeCommand, stamp(c.NotBefore), stamp(c.NotAfter)
	if err := c.Check(); err != nil {
		return nil, err
	}
	return write(PurposeCommand, c, &CommandStatement{})
}

// ReadCommand reads a payload that Payload made. It says nothing of who signed it.
func ReadCommand(payload []byte) (*CommandStatement, error) {
	var c CommandStatement
	if err := decode(payload, &c); err != nil {
		return nil, err
	}
	return &c, c.Check()
}

// SignCommand signs a payload that ReadCommand takes.
func SignCommand(ctx context.Context, payload []byte, signer Signer) (*Envelope, error) {
	if _, err := ReadCommand(payload); err != nil {
		return nil, err
	}
	return Seal(ctx, PurposeCommand, payload, signer)
}

// VerifyCommand makes sure that one of the bundle's command keys signed the
// statement, and reads it from the bytes that were verified. Everything else that a
// device must ask before it acts is the device's to ask.
func VerifyCommand(env *Envelope, bundle *PolicyBundle) (*CommandStatement, error) {
	payload, _, err := env.Verify(PurposeCommand, bundle.CommandKeys, 1)
	if err != nil {
		return nil, err
	}
	return ReadCommand(payload)
}
