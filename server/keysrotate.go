package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// kindsOf reads which authorities are meant.
func kindsOf(word string) ([]certs.Kind, error) {
	switch word {
	case "device":
		return []certs.Kind{certs.KindDevice}, nil
	case "server":
		return []certs.Kind{certs.KindServer}, nil
	case "both":
		return []certs.Kind{certs.KindDevice, certs.KindServer}, nil
	case "none":
		return nil, nil
	}
	return nil, usageError{fmt.Errorf("%q is none of device, server, both and none", word)}
}

// rootsFile is the chain of fleet roots on its way to the fleet's owner.
type rootsFile struct {
	FleetRoots []json.RawMessage `json:"fleet_roots"`
}

func (p *program) requestRotation(c *cobra.Command, core *app.Core, word, out, roots string) error {
	kinds, err := kindsOf(word)
	if err != nil {
		return err
	}
	request, chain, err := core.RotationRequest(c.Context(), authz.Host("keys request"), kinds...)
	if err != nil {
		return err
	}
	if len(chain) == 0 {
		return errors.New("this fleet is not founded yet; leave --rotate out")
	}
	var file rootsFile
	for _, envelope := range chain {
		file.FleetRoots = append(file.FleetRoots, envelope)
	}
	if err := writeJSON(roots, file); err != nil {
		return err
	}
	if err := writeJSON(out, request); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "Wrote %s and %s; next, where the fleet's keys are kept: sentinel-server keys ceremony --rotate --request %s --roots %s --out rotation.json\n", out, roots, out, roots)
	return nil
}

func (p *program) holdRotation(c *cobra.Command, request ceremony.Request, dir string, keys ceremony.Keys, roots, out string, drop []string) error {
	var file rootsFile
	if err := readJSON(roots, &file); err != nil {
		return err
	}
	owner, err := ceremony.LoadOwnerWith(dir, keys)
	if err != nil {
		return fmt.Errorf("%w; name the directory of the first ceremony with --dir", err)
	}
	var chain [][]byte
	for _, envelope := range file.FleetRoots {
		chain = append(chain, envelope)
	}
	rotation, err := owner.Rotate(c.Context(), request, chain, drop, time.Now())
	if err != nil {
		return err
	}
	if err := writeJSON(out, rotation.Founding()); err != nil {
		return err
	}
	digest, err := rootDigest(rotation.FleetRoot)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, "Fleet root %d, digest %s, names %d new and leaves out %d authorities.\nBring %s to the server: sentinel-server keys install %s\n",
		len(chain)+1, digest, len(rotation.Authorities), len(drop), out, out)
	return nil
}

func (p *program) installRotation(c *cobra.Command, core *app.Core, rotation *ceremony.Rotation, force bool) error {
	version, err := core.InstallRotation(c.Context(), authz.Host("keys install"), rotation, force)
	if err != nil {
		return needed(err, "wait until they renewed (sentinel-server device list), or leave them behind with --force")
	}
	fmt.Fprintf(p.out, "Fleet root %d is installed; devices get it as they come. ", version)
	if len(rotation.Authorities) > 0 {
		fmt.Fprintln(p.out, "Then: sentinel-server keys activate device, and keys activate server.")
	} else {
		fmt.Fprintln(p.out, "Nothing else is to be done.")
	}
	return nil
}

// needed ends a refusal for the devices' sake with what to do about it.
func needed(err error, advice string) error {
	if _, ok := errors.AsType[*flow.NeededError](err); ok {
		return fmt.Errorf("%w; %s", err, advice)
	}
	return err
}

const activateAdvice = "wait until they came by and were given it, or leave them behind with --force"

func (p *program) keysActivate() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "activate device|server", Short: "Let a published authority issue from now on, and retire the one that did", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			kinds, err := kindsOf(args[0])
			if err != nil || len(kinds) != 1 {
				return usageError{errors.New("say which: device or server")}
			}
			return p.withCore(func(c *cobra.Command, core *app.Core) error {
				if err := core.Activate(c.Context(), authz.Host("keys activate"), kinds[0], force); err != nil {
					return needed(err, activateAdvice)
				}
				fmt.Fprintf(p.out, "The new %s authority issues. Running servers notice within two seconds.\n", kinds[0])
				return nil
			})(c, nil)
		},
	}
	c.Flags().BoolVar(&force, "force", false, "activate although devices do not know it yet, which then cannot connect")
	return c
}

func (p *program) keysRotate() *cobra.Command {
	var force bool
	var drop []string
	var out string
	c := &cobra.Command{
		Use: "rotate [device|server|both|none|PURPOSE]", Short: "Change the keys of a purpose; in a trial, do all steps of a change of authorities", Args: cobra.MaximumNArgs(1),
		Long: `rotate command, trust-assertion or workload-assertion goes one step on the way from the
key before to the one that the settings name now, and says what is next.

rotate device, server, both or none is for trials: it has the trial's own keys sign new issuing authorities, installs the fleet
root that names them, and activates those that can be: the server's own is left
published while devices do not know the new fleet root; then run
sentinel-server keys activate server.`,
		RunE: func(c *cobra.Command, args []string) error {
			word := "both"
			if len(args) > 0 {
				word = args[0]
			}
			if purpose, err := purposeOf(word); err == nil {
				return p.withCore(func(c *cobra.Command, core *app.Core) error { return p.rotateDocumentKey(c, core, purpose, out) })(c, nil)
			}
			kinds, err := kindsOf(word)
			if err != nil {
				return err
			}
			return p.withCore(func(c *cobra.Command, core *app.Core) error {
				return p.rotate(c, core, kinds, drop, force)
			})(c, nil)
		},
	}
	c.Flags().BoolVar(&force, "force", false, "leave devices behind that do not know the new fleet root or go by a dropped authority")
	c.Flags().StringArrayVar(&drop, "drop", nil, "fingerprint of a retired authority to name no more (see: keys show); may be given several times")
	c.Flags().StringVar(&out, "out", "", "with command: directory to write the public keys to")
	return c
}

func (p *program) rotate(c *cobra.Command, core *app.Core, kinds []certs.Kind, drop []string, force bool) error {
	by := authz.Host("keys rotate")
	version, err := core.PublishTrial(c.Context(), by, drop, force, kinds...)
	if err != nil {
		return needed(err, "wait until they renewed, or leave them behind with --force")
	}
	fmt.Fprintf(p.out, "Fleet root %d is installed; devices get it as they come.\n", version)
	for _, kind := range kinds {
		err := core.Activate(c.Context(), by, kind, force)
		if n, ok := errors.AsType[*flow.NeededError](err); ok {
			fmt.Fprintf(p.out, "The %s authority is published and does not issue yet: %v.\nLater: sentinel-server keys activate %s\n", kind, n, kind)
			continue
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(p.out, "The new %s authority issues.\n", kind)
	}
	return nil
}
