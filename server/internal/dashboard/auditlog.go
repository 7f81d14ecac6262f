package dashboard

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// auditData is a page of the audit log.
type auditData struct {
	Rows         []audit.Row
	Filter       audit.Filter
	Since, Until string // as the form has them
	Actions      []actionGroup
	Chosen       bool
	CSV, Lines   string // addresses of the exports
	Next, First  string
}

// actionGroup is the actions on one noun, for a menu.
type actionGroup struct {
	Noun    string
	Actions []string
}

func actionGroups() []actionGroup {
	var groups []actionGroup
	at := map[string]int{}
	for _, a := range audit.Actions() {
		noun, _, _ := strings.Cut(a, ".")
		i, ok := at[noun]
		if !ok {
			i = len(groups)
			at[noun] = i
			groups = append(groups, actionGroup{Noun: noun})
		}
		groups[i].Actions = append(groups[i].Actions, a)
	}
	return groups
}

// dayForm is how a form writes a time: what a browser's own field gives.
const dayForm = "2006-01-02T15:04"

func auditFilter(q url.Values) (audit.Filter, error) {
	f := audit.Filter{
		ActorID: strings.TrimSpace(q.Get("actor")), Action: q.Get("action"), ObjectKind: q.Get("object_kind"), ObjectID: strings.TrimSpace(q.Get("object_id")),
		Result: audit.Result(q.Get("result")), After: q.Get("after"), Limit: 50,
	}
	for _, text := range []string{f.ActorID, f.Action, f.ObjectKind, f.ObjectID, string(f.Result)} {
		if protocol.CheckText("the filter", text, 512) != nil {
			return f, inputError("a filter must be one line of printable text")
		}
	}
	var err error
	if f.Since, err = formTime(q.Get("since")); err != nil {
		return f, err
	}
	f.Until, err = formTime(q.Get("until"))
	return f, err
}

func formTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(dayForm, s)
	if err != nil {
		return t, inputError("a time is written like 2026-03-01T12:00, in UTC")
	}
	return t, nil
}

func (c *Console) audit(r *http.Request) (*page, error) {
	q := r.URL.Query()
	f, err := auditFilter(q)
	if err != nil {
		return nil, err
	}
	got, err := c.deps.AuditLog(r.Context(), f)
	if err != nil {
		return nil, err
	}
	d := auditData{Rows: got.Rows, Filter: f, Since: q.Get("since"), Until: q.Get("until"), Actions: actionGroups()}
	d.Chosen = f.ActorID+f.Action+f.ObjectKind+f.ObjectID+string(f.Result)+d.Since+d.Until != ""
	if got.Next != "" {
		d.Next = withQuery(r.URL, "after", got.Next)
	}
	if f.After != "" {
		d.First = withQuery(r.URL, "after", "")
	}
	export := *r.URL
	export.Path = "/dashboard/audit/export"
	first, err := url.Parse(withQuery(&export, "after", ""))
	if err != nil {
		return nil, err
	}
	d.CSV, d.Lines = withQuery(first, "format", "csv"), withQuery(first, "format", "jsonl")
	return c.newPage(r, "audit", "Audit log", d), nil
}

// maxExport bounds one export; what is left is asked for by a narrower time.
const maxExport = 100_000

// exportedEntry is an entry in an export.
type exportedEntry struct {
	ID         string            `json:"id"`
	At         time.Time         `json:"at"`
	ActorKind  audit.ActorKind   `json:"actor_kind"`
	Actor      string            `json:"actor"`
	Action     string            `json:"action"`
	ObjectKind string            `json:"object_kind"`
	ObjectID   string            `json:"object_id"`
	Source     string            `json:"source"`
	RequestID  string            `json:"request_id"`
	Result     audit.Result      `json:"result"`
	Reason     string            `json:"reason"`
	Details    map[string]string `json:"details"`
}

// exportAudit sends what a filter chooses, page by page, as CSV or as a JSON value
// a line.
func (c *Console) exportAudit(w http.ResponseWriter, r *http.Request) {
	f, err := auditFilter(r.URL.Query())
	if err != nil {
		c.fail(w, r, err)
		return
	}
	f.Limit, f.After = 500, ""
	lines := r.URL.Query().Get("format") == "jsonl"
	page, err := c.deps.AuditLog(r.Context(), f)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	name, media := "audit.csv", "text/csv; charset=utf-8"
	if lines {
		name, media = "audit.jsonl", "application/jsonl; charset=utf-8"
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	control := http.NewResponseController(w)
	encode, table := json.NewEncoder(w), csv.NewWriter(w)
	if !lines {
		_ = table.Write([]string{"id", "at", "actor_kind", "actor", "action", "object_kind", "object_id", "source", "request_id", "result", "reason", "details"})
	}
	for sent := 0; ; {
		_ = control.SetWriteDeadline(time.Now().Add(writeLimit)) //nolint:forbidigo // a deadline of the connection, which knows no other clock
		for i := range page.Rows {
			e := &page.Rows[i]
			if lines {
				err = encode.Encode(exportedEntry{e.ID, e.At.Time(), e.ActorKind, e.ActorID, e.Action, e.ObjectKind, e.ObjectID, e.Source, e.RequestID, e.Result, e.Reason, e.DetailMap()})
			} else {
				err = table.Write(cells(e.ID, e.At.Time().Format(time.RFC3339Nano), string(e.ActorKind), e.ActorID, e.Action, e.ObjectKind, e.ObjectID, e.Source, e.RequestID, string(e.Result), e.Reason, e.Details))
			}
			if err != nil {
				return
			}
		}
		table.Flush()
		if sent += len(page.Rows); page.Next == "" || sent >= maxExport || table.Error() != nil {
			return
		}
		f.After = page.Next
		if page, err = c.deps.AuditLog(r.Context(), f); err != nil {
			// The answer has begun: a connection that breaks is the one way to say that it
			// is not whole.
			c.logError(r.Context(), err)
			panic(http.ErrAbortHandler) //nolint:forbidigo // part of an answer is on its way
		}
	}
}

// cells makes text safe in a spreadsheet: what begins like a formula is quoted, as
// devices and strangers choose some of it.
func cells(row ...string) []string {
	for i, s := range row {
		if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
			row[i] = "'" + s
		}
	}
	return row
}
