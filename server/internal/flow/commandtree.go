package flow

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/merkle"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// errUndeliverable says that a stored command cannot be put into any answer.
var errUndeliverable = errors.New("the stored statement cannot be delivered")

// delivery is a command as one device is given it. The stored bytes go out as they
// are: what they are worth is the device's to judge. Only what would break the
// answer itself is held back.
func (f *Flow) delivery(ctx context.Context, q bun.IDB, w command.Waiting) (protocol.CommandDelivery, error) {
	d := protocol.CommandDelivery{ActionID: w.CommandID, Statement: w.Envelope}
	if d.Check() != nil {
		return d, errUndeliverable
	}
	env, err := signing.ParseEnvelope(w.Envelope)
	if err != nil {
		return d, errUndeliverable
	}
	s, err := signing.ReadCommand(env.Payload)
	if err != nil || s.Targets.Root == "" {
		return d, nil //nolint:nilerr // not a statement: the device says so, and under its own key
	}
	tree, err := f.trees.get(ctx, q, w.CommandID, sha256.Sum256(w.Envelope), s.Targets)
	if err != nil {
		return d, err
	}
	if w.Position >= s.Targets.Count {
		return d, errUndeliverable
	}
	if d.Proof, err = json.Marshal(signing.ProofOf(s.Targets, tree, w.Position)); err != nil {
		return d, err
	}
	if d.Check() != nil {
		return d, errUndeliverable
	}
	return d, nil
}

// maxLeaves bounds what the trees kept in memory hold together, at some 64 bytes a
// leaf; the one in use is always kept.
const maxLeaves = 1 << 18

// trees keeps the hash trees of commands that are being delivered: one tree gives
// the proofs of all its devices.
type trees struct {
	mu    sync.Mutex
	byID  map[string]*keptTree
	order []string // the least recently made first
}

type keptTree struct {
	made   sync.Mutex // held while it is made, so that it is made once
	from   [sha256.Size]byte
	tree   *merkle.Tree
	leaves int
}

// get is the tree of a command's statement, made of its targets in order. Where it
// has not the root that the statement names it is errUndeliverable.
func (t *trees) get(ctx context.Context, q bun.IDB, id string, from [sha256.Size]byte, targets signing.Targets) (*merkle.Tree, error) {
	k := t.slot(id)
	k.made.Lock()
	defer k.made.Unlock()
	if k.tree != nil && k.from == from {
		return k.tree, nil
	}
	list, err := command.TreeOf(ctx, q, id)
	if err != nil {
		return nil, err
	}
	tree := signing.TargetTree(list)
	if root := tree.Root(); fmt.Sprintf("%x", root) != targets.Root || int64(len(list)) != targets.Count {
		return nil, errUndeliverable
	}
	k.tree, k.from = tree, from
	t.keep(id, k, len(list))
	return tree, nil
}

func (t *trees) slot(id string) *keptTree {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID == nil {
		t.byID = map[string]*keptTree{}
	}
	k, ok := t.byID[id]
	if !ok {
		k = &keptTree{}
		t.byID[id] = k
		t.order = append(t.order, id)
	}
	return k
}

// keep counts a tree that was made, and lets go of the oldest ones beyond the limit.
func (t *trees) keep(id string, k *keptTree, leaves int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k.leaves = leaves
	total := 0
	for _, kept := range t.byID {
		total += kept.leaves
	}
	for i := 0; i < len(t.order) && (total > maxLeaves || len(t.order) > commandsAtOnce); {
		oldest := t.order[i]
		if oldest == id {
			i++
			continue
		}
		total -= t.byID[oldest].leaves
		delete(t.byID, oldest)
		t.order = append(t.order[:i], t.order[i+1:]...)
	}
}
