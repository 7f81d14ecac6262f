package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/command"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// ended waits until a command has ended and returns it.
func (s *stage) ended(ctx context.Context, id string) (c commandPage, err error) {
	err = until(ctx, func() (bool, error) {
		if err := s.clients["olivia"].do(ctx, "GET", "/api/commands/"+id, nil, &c); err != nil {
			return false, err
		}
		return slices.Contains([]string{"done", "rejected", "cancelled", "expired"}, c.State), nil
	})
	return c, err
}

// sendCommands has a device do two things and shows what it says of them.
func (s *stage) sendCommands(ctx context.Context) error {
	for _, in := range []map[string]any{
		{"kind": "ping", "parameters": map[string]any{"echo": "hello from olivia"}},
		{"kind": "collect-facts"},
		{"kind": "restart-agent"},
	} {
		begin := time.Now()
		in["targets"], in["reason"] = map[string]any{"device_ids": []string{"demo-1"}}, "shown in the demo"
		var sent sentCommand
		if err := s.clients["olivia"].do(ctx, "POST", "/api/command", in, &sent); err != nil {
			return err
		}
		c, err := s.ended(ctx, sent.ID)
		if err != nil {
			return err
		}
		if len(c.FirstTargets) != 1 || c.FirstTargets[0].State != "succeeded" || c.FirstTargets[0].AcknowledgedAt == nil {
			return fmt.Errorf("%s did not succeed: %+v", c.Kind, c.FirstTargets)
		}
		s.sayf("   olivia sent %s to demo-1, signed by the server's command key %s...", c.Kind, c.SignedBy[:8])
		said := outputText(c.FirstTargets[0].Output)
		if said != "" {
			said = ": " + plain(said[:min(len(said), 60)])
		}
		s.sayf("   demo-1 checked it against its own policy bundle, did it once, and signed its answer %.1f s later%s", time.Since(begin).Seconds(), said)
	}
	for _, a := range s.agents {
		if a.restarted() {
			s.sayf("   demo-1 ended itself for that, and was started again as a service would be")
			return nil
		}
	}
	return errors.New("the agent of demo-1 was not started again")
}

// renew has a device renew its certificate before it is due, and shows that the old
// one is worth nothing once the next one was used.
func (s *stage) renew(ctx context.Context) error {
	before, err := s.device(ctx, "demo-1")
	if err != nil {
		return err
	}
	in := map[string]any{"kind": "rotate-certificate", "targets": map[string]any{"device_ids": []string{"demo-1"}}, "reason": "shown in the demo"}
	if err := s.clients["olivia"].do(ctx, "POST", "/api/command", in, nil); err != nil {
		return err
	}
	var after devicePage
	err = until(ctx, func() (bool, error) {
		if after, err = s.device(ctx, "demo-1"); err != nil {
			return false, err
		}
		return len(after.Certificates) == 2 && after.Certificates[1].RevokedAt != nil && after.Counter > before.Counter, nil
	})
	if err != nil {
		return err
	}
	s.sayf("   demo-1 made a new key, asked for its certificate under the old and the new one, and holds serial %s now", after.Certificates[0].Serial)
	s.sayf("   with its first heartbeat under it the old one ended (%s); by itself it renews at two thirds of a certificate's life", after.Certificates[1].RevokedReason)
	return nil
}

// forgeCommand does what whoever owns the database can do: it puts a command there
// as if it had been asked for and signed. It is signed, but not by a key that the
// device's policy bundle lists.
func (s *stage) forgeCommand(ctx context.Context) error {
	fleet, err := s.server.Policy.Fleet()
	if err != nil {
		return err
	}
	signer, _, err := signing.GenerateEd25519(signing.PurposeCommand)
	if err != nil {
		return err
	}
	id := ""
	err = s.server.DB.Write(ctx, func(ctx context.Context, tx db.Tx) error {
		id = tx.NewID()
		list, err := device.ByIDs(ctx, tx, []string{"demo-1"})
		if err != nil {
			return err
		}
		targets := []signing.Target{{DeviceID: list[0].DeviceID, EnrollmentID: list[0].EnrollmentID}}
		payload, err := signing.CommandStatement{
			FleetID: fleet.Root.Root.FleetID, RootDigest: fleet.Root.Digest, PolicyVersion: fleet.Bundle.Version, PolicyDigest: fleet.BundleDigest,
			ActionID: id, Kind: "restart-agent", Targets: signing.NewTargets(targets), Requester: "olivia", NotBefore: tx.Now, NotAfter: tx.Now.Add(time.Hour),
		}.Payload()
		if err != nil {
			return err
		}
		env, err := signing.SignCommand(ctx, payload, signer)
		if err != nil {
			return err
		}
		envelope, err := env.Marshal()
		if err != nil {
			return err
		}
		c := &command.Command{ID: id, State: command.Unsigned, Kind: "restart-agent", Reason: "forged in the demo", Statement: payload, Digest: signing.Digest(payload),
			RequestedBy: "olivia", NotBefore: db.At(tx.Now), NotAfter: db.At(tx.Now.Add(time.Hour))}
		if err := command.Add(ctx, tx, c, targets); err != nil {
			return err
		}
		if err := command.Sign(ctx, tx, id, c.Digest, envelope); err != nil {
			return err
		}
		_, err = device.RaisePending(ctx, tx, []string{"demo-1"}, device.PendingCommand)
		return err
	})
	if err != nil {
		return err
	}
	s.sayf("   somebody who owns the database put a command restart-agent there, signed with a key of their own")
	c, err := s.ended(ctx, id)
	if err != nil {
		return err
	}
	if len(c.FirstTargets) != 1 || c.FirstTargets[0].Status != "refused" {
		return fmt.Errorf("the forged command was not refused: %+v", c.FirstTargets)
	}
	s.sayf("   demo-1 did not do it, and says so under its own key: %s", strings.TrimPrefix(plain(c.FirstTargets[0].Reason), "refused-"))
	return nil
}
