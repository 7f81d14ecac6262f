package flow

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/uptrace/bun"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// fewer is what people agree to when a number of people is lowered.
type fewer struct {
	Type string        `json:"type"` // "quorum"
	Path approval.Path `json:"path"`
	From int           `json:"from"`
	To   int           `json:"to"`
}

// people is how many approve on a path: the number that is in force in the
// database, whatever the setting of this node.
func (f *Flow) people(ctx context.Context, q bun.IDB, path approval.Path) (int, error) {
	n, recorded, err := approval.InForce(ctx, q, path)
	if err != nil || recorded {
		return n.People, err
	}
	return f.settings.People[path], nil
}

// AdoptQuorums brings the settings of this node into the database, at its start. A
// higher number is in force at once. A lower one is not: it becomes a request, which
// as many people approve as the old number says, and two at least, since whoever
// wrote the setting is not known and may be one of them.
func (f *Flow) AdoptQuorums(ctx context.Context) error {
	settings := authz.System("settings")
	return f.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		for _, path := range approval.Paths() {
			if err := f.adopt(ctx, tx, settings, path, f.settings.People[path]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *Flow) adopt(ctx context.Context, tx db.Tx, by authz.By, path approval.Path, want int) error {
	n, recorded, err := approval.InForce(ctx, tx, path)
	if err != nil {
		return err
	}
	if recorded && want < n.People {
		action, err := json.Marshal(fewer{Type: "quorum", Path: path, From: n.People, To: want})
		if err != nil {
			return err
		}
		if err := f.withdrawOthers(ctx, tx, path, approval.Digest(action)); err != nil {
			return err
		}
		r, err := f.placeAsk(ctx, tx, by, approval.Ask{
			Kind: approval.Quorum, SubjectID: string(path), Action: action, Required: max(n.People, 2), Reason: "the setting asks for fewer people than are needed now",
		})
		if err == nil {
			f.log.WarnContext(ctx, "a setting asks for fewer people than are needed now; the old number stays until people approve it", "path", path, "needed", n.People, "asked", want, "approval", r.ID)
		}
		return err
	}
	if err := f.withdrawOthers(ctx, tx, path, ""); err != nil {
		return err
	}
	if recorded && want == n.People {
		return nil
	}
	if err := approval.SetNumber(ctx, tx, path, want, ""); err != nil {
		return err
	}
	return audit.Write(ctx, tx, by.Actor, audit.Entry{Action: audit.QuorumRaise, ObjectKind: "quorum", ObjectID: string(path),
		Details: map[string]string{"from": strconv.Itoa(n.People), "to": strconv.Itoa(want)}})
}

// withdrawOthers ends requests to lower a number which the setting does not ask for
// any more.
func (f *Flow) withdrawOthers(ctx context.Context, tx db.Tx, path approval.Path, digest string) error {
	list, err := approval.Waiting(ctx, tx, approval.Quorum, string(path), "")
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].Digest == digest {
			continue
		}
		if err := f.annul(ctx, tx, &list[i], "the setting has changed"); err != nil {
			return err
		}
	}
	return nil
}

func (f *Flow) openQuorum(_ context.Context, _ db.Tx, r *approval.Request, _ bool) (*deed, error) {
	var ask fewer
	if err := json.Unmarshal(r.Action, &ask); err != nil || string(ask.Path) != r.SubjectID {
		return nil, fmt.Errorf("approval %s: its action is not one of its kind: %w", r.ID, approval.ErrDigest)
	}
	return &deed{
		entry: audit.Entry{ObjectKind: "quorum", ObjectID: r.SubjectID, Details: map[string]string{"from": strconv.Itoa(ask.From), "to": strconv.Itoa(ask.To)}},
		done:  audit.QuorumLower, refused: audit.ApprovalRefuse,
		stale: func(ctx context.Context, tx db.Tx) (string, error) {
			n, recorded, err := approval.InForce(ctx, tx, ask.Path)
			if err != nil || recorded && n.People == ask.From {
				return "", err
			}
			return "another number is in force than when it was asked for", nil
		},
		do: func(ctx context.Context, tx db.Tx, _ verdict) error {
			return approval.SetNumber(ctx, tx, ask.Path, ask.To, r.ID)
		},
	}, nil
}
