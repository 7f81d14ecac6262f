package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/policy"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

const maxCeremonyFile = 256 << 10

func (p *program) keysCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "keys", GroupID: "host", Short: "Found the fleet, and make, list, change and end keys",
		Long: `The fleet's own keys (root, policy, certificate root) decide what devices believe.
In a trial the server makes them itself. Elsewhere they are made on another machine:

  1. on the server:        sentinel-server keys request --out request.json
  2. on the other machine: sentinel-server keys ceremony --request request.json --dir KEYS --out founding.json
  3. on the server:        sentinel-server keys install founding.json

Only public parts travel. Keep the directory KEYS offline.

Issuing authorities are changed the same way, and then activated:

  1. keys request --rotate both --out request.json --roots roots.json
  2. keys ceremony --rotate --request request.json --roots roots.json --dir KEYS --out rotation.json
  3. keys install rotation.json
  4. keys activate device, and keys activate server once every device knows the new fleet root

A trial does it with one command: keys rotate.

Keys of other purposes are in files or behind programs that sign, as the settings say
(SENTINEL_SIGNER_...): generate makes a file, check tries what is configured, list shows
where each key stands, rotate PURPOSE and retire PURPOSE change and end them.`,
	}
	c.AddCommand(p.keysRequest(), p.keysCeremony(), p.keysInstall(), p.keysActivate(), p.keysRotate(), p.keysShow(), p.keysReseal())
	c.AddCommand(p.keysGenerate(), p.keysList(), p.keysCheck(), p.keysRetire())
	return c
}

func (p *program) keysRequest() *cobra.Command {
	var out, rotate, roots string
	c := &cobra.Command{
		Use: "request", Short: "Write what the fleet's owner must sign for this server",
		RunE: p.withCore(func(c *cobra.Command, core *app.Core) error {
			if rotate != "" {
				return p.requestRotation(c, core, rotate, out, roots)
			}
			request, err := core.CeremonyRequest(c.Context(), authz.Host("keys request"))
			if err != nil {
				return err
			}
			if len(request.Authorities) == 0 {
				return errors.New("this server's authorities are signed already; nothing is to be done")
			}
			if err := writeJSON(out, request); err != nil {
				return err
			}
			fmt.Fprintf(p.out, "Wrote %s; next, where the fleet's keys are kept: sentinel-server keys ceremony --request %s\n", out, out)
			return nil
		}),
	}
	c.Flags().StringVar(&out, "out", "request.json", "file to write")
	c.Flags().StringVar(&rotate, "rotate", "", "make issuing keys that are to follow: device, server, both, or none to change the fleet root only")
	c.Flags().StringVar(&roots, "roots", "roots.json", "with --rotate: file to write with the fleet roots so far")
	return c
}

func (p *program) keysCeremony() *cobra.Command {
	var in, dir, out, roots string
	var rotate bool
	var drop []string
	var elsewhere ownersKeys
	c := &cobra.Command{
		Use: "ceremony", Short: "Make the fleet's keys and sign the server's request; needs no server and no network",
		RunE: func(c *cobra.Command, _ []string) error {
			var request ceremony.Request
			if err := readJSON(in, &request); err != nil {
				return err
			}
			if _, err := os.Lstat(out); err == nil {
				return fmt.Errorf("%s stands there already; choose another --out", out)
			}
			keys, err := elsewhere.open(c)
			if err != nil {
				return err
			}
			if rotate {
				return p.holdRotation(c, request, dir, keys, roots, out, drop)
			}
			if len(drop) > 0 {
				return usageError{errors.New("--drop goes with --rotate")}
			}
			owner, err := ceremony.NewOwnerWith(dir, keys)
			if err != nil {
				return err
			}
			founding, err := owner.Hold(c.Context(), request, time.Now())
			if err != nil {
				return err
			}
			if err := writeJSON(out, founding); err != nil {
				return err
			}
			digest, err := rootDigest(founding.FleetRoot)
			if err != nil {
				return err
			}
			fmt.Fprintf(p.out, "Fleet root digest: %s\nGive it to devices out of band (sentinel-agent enroll --fleet-root), and keep %s offline.\nNext, on the server: sentinel-server keys install %s\n", digest, dir, out)
			return nil
		},
	}
	c.Flags().StringVar(&in, "request", "request.json", "file made by: keys request")
	c.Flags().StringVar(&dir, "dir", "fleet-keys", "directory for the new keys; with --rotate, of the keys that are there")
	c.Flags().StringVar(&out, "out", "founding.json", "file to write")
	elsewhere.flags(c)
	c.Flags().BoolVar(&rotate, "rotate", false, "sign the next fleet root with the keys that are there")
	c.Flags().StringVar(&roots, "roots", "roots.json", "with --rotate: file made by: keys request --rotate")
	c.Flags().StringArrayVar(&drop, "drop", nil, "with --rotate: fingerprint of a retired authority to name no more (see: keys show); may be given several times")
	return c
}

func (p *program) keysInstall() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "install FILE", Short: "Install what the ceremony made", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var founding ceremony.Founding
			if err := readJSON(args[0], &founding); err != nil {
				return err
			}
			return p.withCore(func(c *cobra.Command, core *app.Core) error {
				if rotation, ok := founding.Rotation(); ok {
					return p.installRotation(c, core, rotation, force)
				}
				if _, err := core.Policy.Fleet(); err == nil {
					return policy.ErrFounded
				}
				asked, err := core.CeremonyRequest(c.Context(), authz.Host("keys install"))
				if err != nil {
					return err
				}
				if err := flow.InstallFounding(c.Context(), core.DB, core.PKI, core.Policy, authz.Host("keys install"), asked, &founding); err != nil {
					return err
				}
				fmt.Fprintln(p.out, "Installed. Restart the servers of this database.")
				return nil
			})(c, nil)
		},
	}
	c.Flags().BoolVar(&force, "force", false, "drop an authority although devices go by its certificates")
	return c
}

func (p *program) keysShow() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "show", Short: "Show the fleet root's digest and what it says",
		RunE: p.withCore(func(c *cobra.Command, core *app.Core) error {
			fleet, err := core.Policy.Fleet()
			if err != nil {
				return err
			}
			authorities, err := core.PKI.Authorities(c.Context())
			if err != nil {
				return err
			}
			if output == "json" {
				return json.NewEncoder(p.out).Encode(map[string]any{
					"authorities": authorities, "first_root_digest": fleet.FirstDigest, "root": fleet.Root.Root, "root_digest": fleet.Root.Digest, "bundle": fleet.Bundle})
			}
			fmt.Fprintf(p.out, "fleet            %s\nfirst root       %s\nroot version     %d\nbundle version   %d, until %s\ntrust domain     %s\n",
				fleet.Root.Root.FleetID, fleet.FirstDigest, fleet.Root.Root.Version, fleet.Bundle.Version,
				fleet.Bundle.ExpiresAt.Format(time.RFC3339), fleet.Root.Root.TrustDomain)
			for _, a := range authorities {
				fmt.Fprintf(p.out, "authority        %s %s until %s, fingerprint %s\n", a.Kind, a.State, a.NotAfter.Format(time.DateOnly), first(a.Fingerprint, "-"))
			}
			return nil
		}),
	}
	outputFlag(c, &output)
	return c
}

func rootDigest(envelope []byte) (string, error) {
	env, err := signing.ParseEnvelope(envelope)
	if err != nil {
		return "", err
	}
	return signing.Digest(env.Payload), nil
}

func readJSON(path string, into any) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > maxCeremonyFile {
		return fmt.Errorf("%s: larger than %d bytes", path, maxCeremonyFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := protocol.Decode(data, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return files.Replace(path, append(data, '\n'), 0o644)
}
