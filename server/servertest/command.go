package servertest

import (
	"context"
	"path/filepath"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keyfile"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// CommandState is a command as the API shows it.
type CommandState struct {
	ID           string         `json:"id"`
	State        string         `json:"state"`
	Ending       string         `json:"ending"`
	Digest       string         `json:"digest"`
	WaitsFor     string         `json:"waits_for"`
	Counts       map[string]int `json:"counts"`
	FirstTargets []struct {
		DeviceID   string            `json:"device_id"`
		State      string            `json:"state"`
		Reason     string            `json:"reason"`
		Deliveries int               `json:"deliveries"`
		Status     string            `json:"status"`
		Output     map[string]string `json:"output"`
	} `json:"first_targets"`
}

// SendCommand asks for a command for devices and returns its id.
func (p *Person) SendCommand(kind string, parameters map[string]any, devices ...string) string {
	p.s.t.Helper()
	return p.ask(map[string]any{"kind": kind, "parameters": parameters, "targets": map[string]any{"device_ids": devices}, "reason": "test"})
}

// SendCommandTo asks for a command for the devices with a label (key=value).
func (p *Person) SendCommandTo(label, kind string) string {
	p.s.t.Helper()
	return p.ask(map[string]any{"kind": kind, "targets": map[string]any{"label": label}, "reason": "test"})
}

func (p *Person) ask(in map[string]any) string {
	p.s.t.Helper()
	var out struct {
		ID string `json:"id"`
	}
	p.Must("POST", "/api/command", in, &out)
	return out.ID
}

// Command reads a command.
func (p *Person) Command(id string) CommandState {
	p.s.t.Helper()
	var c CommandState
	p.Must("GET", "/api/commands/"+id, nil, &c)
	return c
}

// AwaitCommand does rounds of the server's work on commands until the command is in
// the state, at most so many.
func (p *Person) AwaitCommand(id, state string) CommandState {
	p.s.t.Helper()
	var c CommandState
	for range 200 {
		p.s.CommandRound()
		if c = p.Command(id); c.State == state {
			return c
		}
		time.Sleep(5 * time.Millisecond)
	}
	p.s.t.Fatalf("command %s is %s, and should be %s: %+v", id, c.State, state, c)
	return c
}

// CommandRound signs, queues and ends commands now.
func (s *Server) CommandRound() {
	s.t.Helper()
	if err := s.app.Flow.CommandRound(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// PolicySigner is the policy key of a trial's own fleet.
func (s *Server) PolicySigner() signing.Signer {
	s.t.Helper()
	return s.signer(signing.PurposePolicyBundle, ceremony.PolicyKeyFile)
}

// CommandSigner is the key that the server signs commands with.
func (s *Server) CommandSigner() signing.Signer {
	s.t.Helper()
	return s.signer(signing.PurposeCommand, "command.key")
}

func (s *Server) signer(purpose signing.Purpose, file string) signing.Signer {
	s.t.Helper()
	key, err := keyfile.Load(filepath.Join(s.Dir, "keys", file))
	if err != nil {
		s.t.Fatal(err)
	}
	signer, err := signing.NewSigner(purpose, key)
	if err != nil {
		s.t.Fatal(err)
	}
	return signer
}

// NextBundle is the bundle in force with the next version, issued now, as change
// makes it, signed with the trial's policy key.
func (s *Server) NextBundle(change func(*signing.PolicyBundle)) []byte {
	s.t.Helper()
	fleet, err := s.app.Policy.Fleet()
	if err != nil {
		s.t.Fatal(err)
	}
	b := *fleet.Bundle
	b.Version++
	b.IssuedAt = s.app.DB.Now()
	b.ExpiresAt = b.IssuedAt.Add(signing.MaxBundleLife)
	if change != nil {
		change(&b)
	}
	env, err := signing.SignBundle(context.Background(), b, s.PolicySigner())
	if err != nil {
		s.t.Fatal(err)
	}
	data, err := env.Marshal()
	if err != nil {
		s.t.Fatal(err)
	}
	return data
}
