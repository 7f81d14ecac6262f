package audit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

// ActorKind says what sort of caller acts.
type ActorKind string

// The kinds of actors.
const (
	Person    ActorKind = "person"    // a signed-in account; ID is the account's name
	Machine   ActorKind = "machine"   // an API token; ID is its name
	Device    ActorKind = "device"    // ID is the device_id
	System    ActorKind = "system"    // the server itself; ID is the part
	Host      ActorKind = "host"      // whoever runs a command on the server's host
	Anonymous ActorKind = "anonymous" // nobody known
)

// Actor is who acts, from where, in which request.
type Actor struct {
	Kind      ActorKind
	ID        string
	Source    string // network address of the caller, "" for the server itself
	RequestID string
}

// Result is how an act ended.
type Result string

// The results.
const (
	Done    Result = "done"
	Refused Result = "refused"
)

// Entry is what happened. Result left empty means Done.
type Entry struct {
	Action     string // noun.verb, from the list in actions.go
	ObjectKind string
	ObjectID   string
	Result     Result
	Reason     string            // for an act the person's words, for a refusal its code
	Details    map[string]string // never a secret
}

// Limits of one entry. Longer text is cut, so that an act never fails for its
// length.
const (
	maxField   = 512
	maxDetails = 4 << 10
	saltSize   = 16
)

// ErrUnknownAction says that an action is not in the list. It keeps the
// vocabulary small and the filters useful.
var ErrUnknownAction = errors.New("audit: the action is not in the list")

// Write adds an entry to the transaction. Its error must end the transaction.
func Write(ctx context.Context, tx db.Tx, who Actor, e Entry) error {
	return WriteAll(ctx, tx, []Act{{who, e}})
}

// Act is an entry with who acts.
type Act struct {
	Actor
	Entry
}

// WriteAll is Write of several entries with one statement.
func WriteAll(ctx context.Context, tx db.Tx, list []Act) error {
	rows := make([]*Row, len(list))
	for i, a := range list {
		var err error
		if rows[i], err = newRow(tx, a.Actor, a.Entry); err != nil {
			return err
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return insert(ctx, tx, rows)
}

func newRow(tx db.Tx, who Actor, e Entry) (*Row, error) {
	if !known[e.Action] {
		return nil, fmt.Errorf("%w: %s", ErrUnknownAction, e.Action)
	}
	if e.Result == "" {
		e.Result = Done
	}
	details, err := json.Marshal(cutDetails(e.Details)) // a map's keys come out in order
	if err != nil {
		return nil, err
	}
	row := &Row{
		ID: tx.NewID(), At: tx.At(),
		ActorKind: who.Kind, ActorID: cut(who.ID), Action: e.Action,
		ObjectKind: cut(e.ObjectKind), ObjectID: cut(e.ObjectID),
		Source: cut(who.Source), RequestID: cut(who.RequestID),
		Result: e.Result, Reason: cut(e.Reason), Details: string(details),
		Salts: make([]byte, saltSize*len(fieldNames)),
	}
	rand.Read(row.Salts)
	row.Entry = row.canonical()
	return row, nil
}

// fieldNames are the committed fields in the order of the canonical bytes and
// of the salts. Never reordered: old entries are proven by it.
var fieldNames = [...]string{"actor_kind", "actor_id", "action", "object_kind", "object_id", "source", "request_id", "result", "reason", "details"}

func (r *Row) fields() [len(fieldNames)]string {
	return [...]string{string(r.ActorKind), r.ActorID, r.Action, r.ObjectKind, r.ObjectID, r.Source, r.RequestID, string(r.Result), r.Reason, r.Details}
}

// canonical are the bytes that stand for the entry in a log: a line for the
// format, one for the id, one for the time, and one commitment a field,
// SHA-256(salt || length of name || name || value).
func (r *Row) canonical() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "sentinel-secure-x audit entry v1\nid %s\nat %d\n", r.ID, int64(r.At))
	for i, value := range r.fields() {
		fmt.Fprintf(&b, "%s %s\n", fieldNames[i], commitment(r.Salts[i*saltSize:(i+1)*saltSize], fieldNames[i], value))
	}
	return []byte(b.String())
}

func commitment(salt []byte, name, value string) string {
	h := sha256.New()
	h.Write(salt)
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(name))))
	h.Write([]byte(name))
	h.Write([]byte(value))
	return hex.EncodeToString(h.Sum(nil))
}

// Proven reports whether the readable fields are those that the canonical bytes
// commit to.
func (r *Row) Proven() bool {
	return len(r.Salts) == saltSize*len(fieldNames) && string(r.canonical()) == string(r.Entry)
}

func cut(s string) string { return cutAt(s, maxField) }

// cutAt also makes the text storable: PostgreSQL takes neither NUL nor broken UTF-8.
func cutAt(s string, limit int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= limit {
		return s
	}
	s = s[:limit]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

func cutDetails(details map[string]string) map[string]string {
	out := make(map[string]string, len(details))
	left := maxDetails
	for k, v := range details {
		v = cutAt(v, maxField)
		if left -= len(k) + len(v); left < 0 {
			out["cut"] = "true"
			break
		}
		out[cutAt(k, 64)] = v
	}
	return out
}
