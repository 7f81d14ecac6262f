package simtest

import (
	"context"
	"path/filepath"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keyfile"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// NextBundle is the bundle in force as change makes it, one version on, issued now
// and signed by the fleet's owner.
func (n *Node) NextBundle(ctx context.Context, change func(*signing.PolicyBundle)) ([]byte, error) {
	fleet, err := n.core.Policy.Fleet()
	if err != nil {
		return nil, err
	}
	b := *fleet.Bundle
	b.Version++
	b.IssuedAt = n.core.DB.Now()
	b.ExpiresAt = b.IssuedAt.Add(signing.MaxBundleLife)
	change(&b)
	owner, err := n.signer(signing.PurposePolicyBundle, ceremony.PolicyKeyFile)
	if err != nil {
		return nil, err
	}
	env, err := signing.SignBundle(ctx, b, owner)
	if err != nil {
		return nil, err
	}
	return env.Marshal()
}

// CommandSigner is the server's command key: who owns the server has it.
func (n *Node) CommandSigner() (signing.Signer, error) {
	return n.signer(signing.PurposeCommand, "command.key")
}

func (n *Node) signer(purpose signing.Purpose, file string) (signing.Signer, error) {
	key, err := keyfile.Load(filepath.Join(n.core.Config.DataDir, "keys", file))
	if err != nil {
		return nil, err
	}
	return signing.NewSigner(purpose, key)
}

// CommandRound signs, queues and ends commands.
func (n *Node) CommandRound(ctx context.Context) error { return n.core.Flow.CommandRound(ctx) }

// Statement is a command statement as this server would begin it: of its fleet and
// its policy, and of nothing else.
func (n *Node) Statement() (signing.CommandStatement, error) {
	fleet, err := n.core.Policy.Fleet()
	if err != nil {
		return signing.CommandStatement{}, err
	}
	return signing.CommandStatement{
		FleetID: fleet.Root.Root.FleetID, RootDigest: fleet.Root.Digest, PolicyVersion: fleet.Bundle.Version, PolicyDigest: fleet.BundleDigest,
	}, nil
}

// Bundle is the policy bundle in force, as devices are given it.
func (n *Node) Bundle() ([]byte, error) {
	fleet, err := n.core.Policy.Fleet()
	if err != nil {
		return nil, err
	}
	return fleet.BundleBytes, nil
}
