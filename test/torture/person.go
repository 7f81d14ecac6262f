package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/test/torture/record"
)

// password is that of every account.
const password = "a long password for tests"

// person is signed in to the admin API of all nodes.
type person struct {
	s         *site
	name      string
	token     string
	transport *http.Transport
}

func (s *site) signIn(name string) (*person, error) {
	p := &person{s: s, name: name, transport: &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: 10 * time.Second}}
	var out struct {
		Token string `json:"token"`
	}
	if result, text := p.do(0, http.MethodPost, "/api/admin/login", map[string]string{"name": name, "password": password}, &out); result != record.OK {
		return nil, fmt.Errorf("%s signs in: %s %s", name, result, text)
	}
	p.token = out.Token
	return p, nil
}

// do makes one call to a node; see answer.
func (p *person) do(node int, method, path string, in, out any) (result, text string) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return record.Unknown, err.Error()
		}
		body = bytes.NewReader(data)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.s.nodes[node].peopleURL()+path, body)
	if err != nil {
		return record.Unknown, err.Error()
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if p.token != "" {
		req.Header.Set("Authorization", "Bearer "+p.token)
	}
	result, text, _ = answer(p.transport, req, out)
	return result, text
}

// newToken makes a token that is known by its note, and returns its secret.
func (p *person) newToken(node int, note string, uses int, sensitive bool) (secret, result string) {
	op := record.Op{Kind: record.Token, Token: note, Uses: uses, Node: node, Begin: p.s.since()}
	var out struct {
		Secret string `json:"secret"`
	}
	op.Result, op.Text = p.do(node, http.MethodPost, "/api/enroll-tokens", map[string]any{"note": note, "uses": uses, "life_seconds": 86400, "sensitive": sensitive}, &out)
	p.s.note(op)
	return out.Secret, op.Result
}

// commandLife is longer than a run: an agent forgets what it did some time after
// the end of its statement, and the checks ask its journal.
const commandLife = 6 * 60 * 60

// rotate is the kind of command that renews the certificate.
const rotate = "rotate-certificate"

// command has an agent do something harmless.
func (p *person) command(node int, kind, deviceID string) {
	op := record.Op{Kind: record.Command, Device: deviceID, Node: node, Reason: newID(), Begin: p.s.since()}
	var out struct {
		ID string `json:"id"`
	}
	op.Result, op.Text = p.do(node, http.MethodPost, "/api/command", map[string]any{
		"kind": kind, "targets": map[string]any{"device_ids": []string{deviceID}}, "life_seconds": commandLife, "reason": op.Reason,
	}, &out)
	op.Command = out.ID
	p.s.note(op)
}

// act does something to a device, for a reason that no other act has.
func (p *person) act(node int, kind, deviceID string) string {
	path := map[string]string{record.Suspend: "suspend", record.Resume: "resume", record.Resync: "resync", record.Revoke: "certificate/revoke"}[kind]
	op := record.Op{Kind: kind, Device: deviceID, Node: node, Reason: newID(), Begin: p.s.since()}
	var asked struct {
		ID string `json:"approval_id"`
	}
	op.Result, op.Text = p.do(node, http.MethodPost, "/api/devices/"+deviceID+"/"+path, map[string]string{"reason": op.Reason}, &asked)
	if op.Result == record.OK && asked.ID != "" {
		op.Result, op.Text = p.s.reviewer.agree(node, asked.ID, op.Reason)
	}
	p.s.note(op)
	return op.Result
}

// agree approves what another asked for, as it is shown. What was asked and not
// agreed to has done nothing.
func (p *person) agree(node int, id, reason string) (result, text string) {
	var shown struct {
		Digest string `json:"digest"`
	}
	if result, text = p.do(node, http.MethodGet, "/api/approvals/"+id, nil, &shown); result != record.OK {
		return result, text
	}
	return p.do(node, http.MethodPost, "/api/approvals/"+id+"/review", map[string]string{"decision": "approve", "digest": shown.Digest, "reason": reason}, nil)
}

// letIn approves an enrollment.
func (p *person) letIn(node int, enrollment string) (result string) {
	var asked struct {
		Digest string `json:"digest"`
	}
	if result, _ = p.do(node, http.MethodGet, "/api/enrollments/"+enrollment, nil, &asked); result == record.OK {
		result, _ = p.do(node, http.MethodPost, "/api/enrollments/"+enrollment+"/review", map[string]string{"decision": "approve", "digest": asked.Digest, "reason": "torture"}, nil)
	}
	return result
}

// wished is a renewal that waits for a person.
type wished struct {
	Device  string `json:"device_id"`
	Request string `json:"request_id"`
	Digest  string `json:"digest"`
}

// waiting lists the renewals that wait.
func (p *person) waiting(node int) []wished {
	var list struct {
		Items []wished `json:"items"`
	}
	p.do(node, http.MethodGet, "/api/identity-requests", nil, &list)
	return list.Items
}

// decide approves or rejects a renewal, for a reason that no other decision has.
func (p *person) decide(node int, kind string, w wished) {
	op := record.Op{Kind: kind, Device: w.Device, Request: w.Request, Node: node, Reason: newID(), Begin: p.s.since()}
	op.Result, op.Text = p.do(node, http.MethodPost, "/api/devices/"+w.Device+"/identity-review", map[string]string{"decision": kind, "digest": w.Digest, "reason": op.Reason}, nil)
	p.s.note(op)
}
