package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// approvalRow is an act that waits for people.
type approvalRow struct {
	ID         string          `json:"id"`
	Kind       string          `json:"kind"`
	Title      string          `json:"title"`
	SubjectID  string          `json:"subject_id"`
	DeviceID   string          `json:"device_id,omitempty"`
	Requester  string          `json:"requester"`
	Reason     string          `json:"reason,omitempty"`
	State      string          `json:"state"`
	CreatedAt  *time.Time      `json:"created_at"`
	ExpiresAt  *time.Time      `json:"expires_at"`
	DueAt      *time.Time      `json:"due_at,omitempty"`
	ClosedAt   *time.Time      `json:"closed_at,omitempty"`
	Permission string          `json:"permission"`
	Needs      int             `json:"needs"`
	Have       []string        `json:"have"`
	Votes      []approvalVote  `json:"votes"`
	Digest     string          `json:"digest"`
	Action     []byte          `json:"action"`
	Fields     []approvalField `json:"fields"`
	MayVote    bool            `json:"may_vote"`
	MayReject  bool            `json:"may_reject"`
	WhyNot     string          `json:"why_not,omitempty"`
}

type approvalVote struct {
	Person   string     `json:"person"`
	Approve  bool       `json:"approve"`
	Reason   string     `json:"reason"`
	At       *time.Time `json:"at"`
	StruckAt *time.Time `json:"struck_at,omitempty"`
}

type approvalField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (p *program) approvalCommand() *cobra.Command {
	c := &cobra.Command{Use: "approval", GroupID: "operate", Short: "See what waits for people, and decide on it"}
	c.AddCommand(p.approvalList(), p.approvalShow(),
		p.approvalDecide("approve", "Agree to exactly what is shown"), p.approvalDecide("reject", "Refuse it, or cancel what was approved and did not take effect yet"))
	return c
}

func (p *program) approvalList() *cobra.Command {
	var state, subject, after string
	var mine bool
	c := p.apiCommand("list", "List what waits for people", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		q := url.Values{}
		switch state {
		case "waiting":
			q.Set("waiting", "true")
		case "all":
		default:
			q.Set("state", state)
		}
		if mine {
			q.Set("mine", "true")
		}
		if subject != "" {
			q.Set("subject", subject)
		}
		if after != "" {
			q.Set("after", after)
		}
		var list page[approvalRow]
		if err := api.do(c.Context(), "GET", "/api/approvals?"+q.Encode(), nil, &list); err != nil {
			return err
		}
		defer o.more(list.Next)
		return o.show(list, func(w io.Writer) {
			row(w, "WHAT", "ABOUT", "ASKED BY", "ASKED", "UNTIL", "APPROVED BY", "STATE", "YOURS", "APPROVAL")
			for _, r := range list.Items {
				yours := "no"
				if r.MayVote {
					yours = "yes"
				}
				row(w, r.Title, first(r.DeviceID, r.field("account"), r.SubjectID), r.Requester, when(r.CreatedAt), when(r.ExpiresAt), r.counted(), r.standing(), yours, r.ID)
			}
		})
	})
	c.Flags().StringVar(&state, "state", "waiting", "waiting, open, approved, executed, rejected, expired, void or all")
	c.Flags().BoolVar(&mine, "mine", false, "only what waits for your own vote")
	c.Flags().StringVar(&subject, "subject", "", "only what is about this device_id or id")
	c.Flags().StringVar(&after, "after", "", "the marker that the page before ended with")
	return c
}

// counted is how many approvals there are of those that are needed, and whose.
func (r *approvalRow) counted() string {
	text := fmt.Sprintf("%d of %d", len(r.Have), r.Needs)
	if len(r.Have) > 0 {
		text += ": " + strings.Join(r.Have, ", ")
	}
	return text
}

func (r *approvalRow) field(name string) string {
	for _, f := range r.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// standing is the state, with the time when what was approved takes effect.
func (r *approvalRow) standing() string {
	if r.State == "approved" && r.DueAt != nil {
		return "approved, takes effect " + r.takesEffect()
	}
	return r.State
}

func (r *approvalRow) takesEffect() string {
	if r.DueAt == nil {
		return "after its delay"
	}
	return "at " + when(r.DueAt)
}

func (p *program) approvalShow() *cobra.Command {
	return p.apiCommand("show APPROVAL", "Show exactly what is asked for, and who decided", cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		var r approvalRow
		if err := api.do(c.Context(), "GET", "/api/approvals/"+url.PathEscape(args[0]), nil, &r); err != nil {
			return notFound(err, "approval", args[0], "approval list --state all")
		}
		return o.show(r, func(w io.Writer) { r.tell(w) })
	})
}

func (r *approvalRow) tell(w io.Writer) {
	row(w, r.Title)
	row(w, "approval", r.ID)
	row(w, "state", r.State)
	row(w, "asked", when(r.CreatedAt)+" by "+r.Requester+": "+first(r.Reason, "-"))
	row(w, "until", when(r.ExpiresAt))
	if r.DueAt != nil {
		row(w, "takes effect", when(r.DueAt))
	}
	row(w, "approved by", r.counted())
	row(w, "takes", r.Permission)
	for _, v := range r.Votes {
		what := "rejected"
		if v.Approve {
			what = "approved"
		}
		if v.StruckAt != nil {
			what += ", which does not count since " + when(v.StruckAt)
		}
		row(w, "vote", v.Person+" "+what+" at "+when(v.At)+": "+v.Reason)
	}
	fmt.Fprintln(w)
	for _, f := range r.Fields {
		row(w, f.Name, f.Value)
	}
	row(w, "digest", r.Digest)
	if r.MayVote {
		row(w, "to do: sentinel-server approval approve "+r.ID+" --reason WHY, or reject it")
	} else if r.State == "open" {
		row(w, "not yours to approve: "+r.WhyNot)
	}
}

// approvalDecide approves or rejects. What the person is shown is read from the
// bytes whose digest is sent, so that a server cannot show one thing and have
// another approved. Where the act is about a key, approving asks for the code that
// the device prints.
func (p *program) approvalDecide(decision, short string) *cobra.Command {
	var reason, code string
	var yes bool
	c := p.apiCommand(decision+" APPROVAL", short, cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		if reason == "" {
			return usageError{errors.New("--reason is needed: it is kept in the audit log")}
		}
		path := "/api/approvals/" + url.PathEscape(args[0])
		var r approvalRow
		if err := api.do(c.Context(), "GET", path, nil, &r); err != nil {
			return notFound(err, "approval", args[0], "approval list")
		}
		sum := sha256.Sum256(r.Action)
		if digest := hex.EncodeToString(sum[:]); digest != r.Digest {
			return errors.New("the server shows other bytes than those it asks to be approved; decide nothing, and tell whoever runs it")
		}
		if decision == "approve" && !r.MayVote && r.WhyNot != "" { // the server would say so, after all the questions
			return fmt.Errorf("it is not yours to approve: %s; see: sentinel-server approval show %s", r.WhyNot, r.ID)
		}
		if decision == "approve" {
			if err := r.checkCode(code); err != nil {
				return err
			}
			w := p.err
			row(w, r.Title+", asked for by "+r.Requester+": "+first(r.Reason, "-"))
			for _, f := range r.Fields {
				row(w, "  "+f.Name+": "+f.Value)
			}
			if !yes && !p.confirm("Approve it?") {
				return errors.New("nothing was decided; answer yes, or say --yes")
			}
		}
		var out struct {
			State string `json:"state"`
		}
		in := map[string]string{"decision": decision, "digest": r.Digest, "reason": reason}
		if err := api.do(c.Context(), "POST", path+"/review", in, &out); err != nil {
			return fmt.Errorf("%w; see: sentinel-server approval show %s", err, plain(args[0]))
		}
		if out.State == "approved" {
			_ = api.do(c.Context(), "GET", path, nil, &r) // for the time; the decision stands
		}
		return o.show(out, func(w io.Writer) { row(w, decided(out.State, &r)) })
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	if decision == "approve" {
		c.Flags().StringVar(&code, "key-code", "", "where it is about a key: its code as the device prints it")
		c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	}
	return c
}

// checkCode compares the code that a person read off the device with the one in the
// very bytes that are approved.
func (r *approvalRow) checkCode(code string) error {
	var action struct {
		KeyCode string `json:"key_code"`
	}
	_ = json.Unmarshal(r.Action, &action) // what is no such action has no code
	if action.KeyCode == "" {
		return nil
	}
	if code == "" {
		return usageError{errors.New("--key-code is needed: the code that the device prints (sentinel-agent status)")}
	}
	if !sameCode(code, action.KeyCode) {
		return errors.New("the key code of this request is another one: it is not the device in front of you; find out what it is before you agree")
	}
	return nil
}

// decided says what a vote came to, and what is next.
func decided(state string, r *approvalRow) string {
	switch state {
	case "open":
		return fmt.Sprintf("Your approval is recorded; %d of %d. It waits for others: sentinel-server approval show %s", len(r.Have)+1, r.Needs, r.ID)
	case "approved":
		return "It is approved and takes effect " + r.takesEffect() + "; until then whoever may vote can cancel it: sentinel-server approval reject " + r.ID
	case "executed":
		if r.Kind == "command" {
			return commandApproved(r.SubjectID)
		}
		return "It is approved and done."
	}
	return "It is " + state + "."
}
