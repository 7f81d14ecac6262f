package main

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/assertion"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/ceremony"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keyfile"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keysource"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// Algorithms of keys that are made here.
const (
	algorithmEdwards = "ed25519"
	algorithmP256    = "ecdsa-p256"
)

// keyPurpose is what a key is for, and how keys of it come and go.
type keyPurpose struct {
	name      string
	signs     string
	algorithm string // of a key file, by default; "" where no key file is made
	change    string // how its keys are changed
	unused    bool   // no part of this version signs with it
}

const certificateRoot = "certificate-root"

const updatesLater = "nothing is to be changed yet"

var keyPurposes = []keyPurpose{
	{name: "fleet-root", signs: "the fleet root", change: "the ceremony: keys request --rotate none, keys ceremony --rotate, keys install (it keeps the root and policy keys)"},
	{name: "policy-bundle", signs: "policy bundles", change: "the ceremony, as fleet-root"},
	{name: certificateRoot, signs: "the authorities' certificates", change: "the ceremony, as fleet-root"},
	{name: string(signing.PurposeCommand), signs: "commands", algorithm: algorithmEdwards, change: "a policy bundle that lists it: keys rotate command"},
	{name: "device-ca", signs: "certificates of devices", algorithm: algorithmP256, change: "slots: keys request --rotate device, keys ceremony --rotate, keys install, keys activate device"},
	{name: "server-ca", signs: "certificates of the server's names", algorithm: algorithmP256, change: "slots: keys request --rotate server, keys ceremony --rotate, keys install, keys activate server"},
	{name: "ocsp", signs: "OCSP answers", change: "by itself: each server process makes its own each day"},
	{name: string(signing.PurposeTrustAssertion), signs: "verdicts on devices, for other systems", algorithm: algorithmEdwards, change: "keys rotate trust-assertion", unused: true},
	{name: string(signing.PurposeWorkloadAssertion), signs: "identities of workloads", algorithm: algorithmEdwards, change: "keys rotate workload-assertion", unused: true},
	{name: string(signing.PurposeIncidentTemplate), signs: "incident policy templates", algorithm: algorithmEdwards, change: updatesLater, unused: true},
	{name: string(signing.PurposeBackupManifest), signs: "backup manifests", algorithm: algorithmEdwards, change: updatesLater, unused: true},
	{name: string(signing.PurposeEvidenceExport), signs: "evidence exports", algorithm: algorithmEdwards, change: updatesLater, unused: true},
	{name: string(signing.PurposeAuditCheckpoint), signs: "checkpoints of the audit log", algorithm: algorithmEdwards, change: updatesLater, unused: true},
	{name: "update-root", signs: "the update metadata's root", algorithm: algorithmEdwards, change: updatesLater, unused: true},
	{name: "update-targets", signs: "which updates there are", algorithm: algorithmEdwards, change: updatesLater, unused: true},
	{name: "update-snapshot", signs: "the update metadata's snapshot", algorithm: algorithmEdwards, change: updatesLater, unused: true},
	{name: "update-timestamp", signs: "the update metadata's timestamp", algorithm: algorithmEdwards, change: updatesLater, unused: true},
}

const notUsed = "No part of this version uses it yet."

func purposeOf(name string) (keyPurpose, error) {
	i := slices.IndexFunc(keyPurposes, func(p keyPurpose) bool { return p.name == name })
	if i < 0 {
		var names []string
		for _, p := range keyPurposes {
			names = append(names, p.name)
		}
		return keyPurpose{}, usageError{fmt.Errorf("%q is no purpose of a key; there are: %s", name, strings.Join(names, ", "))}
	}
	return keyPurposes[i], nil
}

func (p *program) keysGenerate() *cobra.Command {
	var out, algorithm string
	c := &cobra.Command{
		Use: "generate PURPOSE", Short: "Make a key file for a purpose; needs no server", Args: cobra.ExactArgs(1),
		Long: `generate writes a new private key (PKCS#8 in PEM, mode 0600) and, beside it with .pub
at its end, the public key. Nothing uses it before a setting or a ceremony names it. A
key has one purpose: make one file for each.`,
		RunE: func(_ *cobra.Command, args []string) error {
			purpose, err := purposeOf(args[0])
			if err != nil {
				return err
			}
			if purpose.algorithm == "" {
				return fmt.Errorf("keys for %s are not made as files here; they change by %s", purpose.name, purpose.change)
			}
			if out == "" {
				return usageError{errors.New("--out is needed: the file to write")}
			}
			if algorithm == "" {
				algorithm = purpose.algorithm
			}
			return p.generateKey(purpose, algorithm, out)
		},
	}
	c.Flags().StringVar(&out, "out", "", "file to write; it must not exist")
	c.Flags().StringVar(&algorithm, "algorithm", "", "ed25519 or ecdsa-p256 (default: what the purpose usually has)")
	return c
}

func (p *program) generateKey(purpose keyPurpose, algorithm, out string) error {
	create := map[string]func(string) (crypto.Signer, error){algorithmEdwards: keyfile.NewEd25519, algorithmP256: keyfile.NewP256}[algorithm]
	switch {
	case create == nil:
		return usageError{fmt.Errorf("--algorithm must be %s or %s", algorithmEdwards, algorithmP256)}
	case purpose.algorithm == algorithmP256 && algorithm != algorithmP256:
		return usageError{fmt.Errorf("an authority's key is %s", algorithmP256)}
	}
	key, err := create(out)
	if err != nil {
		return err
	}
	text, err := publicPEM(key.Public())
	if err != nil {
		return err
	}
	if err := files.Replace(out+".pub", text, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "Wrote %s, which signs %s, and its public key %s.pub.\n", out, purpose.signs, out)
	if record, err := signing.NewKey(signing.Purpose(purpose.name), key.Public()); err == nil {
		fmt.Fprintf(p.out, "Key id: %s\n", record.ID)
	}
	if purpose.unused {
		fmt.Fprintln(p.out, notUsed)
	}
	if purpose.change != updatesLater {
		fmt.Fprintf(p.out, "It comes into use by %s. See docs/signers.md.\n", purpose.change)
	}
	return nil
}

func publicPEM(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

func (p *program) keysList() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "list", Short: "List the keys of every purpose, where they are and where they stand",
		RunE: p.withCore(func(c *cobra.Command, core *app.Core) error {
			list, err := core.ListKeys(c.Context())
			if err != nil {
				return err
			}
			for _, purpose := range keyPurposes {
				if !slices.ContainsFunc(list, func(l app.Listed) bool { return l.Purpose == purpose.name }) {
					l := app.Listed{Purpose: purpose.name, Note: "no key"}
					switch {
					case purpose.unused:
						l.Note = notUsed
					case purpose.name == certificateRoot:
						l.Note = "where the ceremony left it; the server needs and knows its certificate only"
					}
					list = append(list, l)
				}
			}
			if output == "json" {
				return json.NewEncoder(p.out).Encode(list)
			}
			w := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
			row(w, "PURPOSE", "KEY", "STATE", "UNTIL", "WHERE", "NOTE")
			for _, l := range list {
				until := "-"
				if !l.Until.IsZero() {
					until = l.Until.UTC().Format(time.RFC3339)
				}
				row(w, l.Purpose, first(l.Key, "-"), first(l.State, "-"), until, first(l.Source, "-"), l.Note)
			}
			return w.Flush()
		}),
	}
	outputFlag(c, &output)
	return c
}

func (p *program) keysCheck() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "check [PURPOSE]", Short: "Have every configured key source sign a text that means nothing, and verify it", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			only := ""
			if len(args) > 0 {
				purpose, err := purposeOf(args[0])
				if err != nil {
					return err
				}
				only = purpose.name
			}
			return p.withCore(func(c *cobra.Command, core *app.Core) error {
				return p.checkKeys(core.CheckKeys(c.Context(), only), output)
			})(c, nil)
		},
	}
	outputFlag(c, &output)
	return c
}

func (p *program) checkKeys(list []app.Checked, output string) error {
	failed := 0
	for _, k := range list {
		if k.Error != "" {
			failed++
		}
	}
	if output == "json" {
		if err := json.NewEncoder(p.out).Encode(list); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
		row(w, "PURPOSE", "SOURCE", "RESULT", "TIME", "PUBLIC KEY (SHA-256)")
		for _, k := range list {
			row(w, k.Purpose, k.Source, first(k.Error, "signs"), fmt.Sprintf("%d ms", k.Millis), first(k.Key, "-"))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%d of %d key sources do not sign; see docs/signers.md", failed, len(list))
	case len(list) == 0:
		fmt.Fprintln(p.err, "No key source is configured for it.")
	}
	return nil
}

// rotateDocumentKey is keys rotate for purposes whose keys are not the ceremony's.
func (p *program) rotateDocumentKey(c *cobra.Command, core *app.Core, purpose keyPurpose, out string) error {
	if purpose.name == string(signing.PurposeCommand) {
		return p.rotateCommandKey(c, core, out)
	}
	if !slices.Contains(assertion.Purposes(), signing.Purpose(purpose.name)) {
		return fmt.Errorf("keys for %s are not changed here; they change by %s", purpose.name, purpose.change)
	}
	setting := "SENTINEL_SIGNER_" + strings.ToUpper(strings.ReplaceAll(purpose.name, "-", "_"))
	k, err := core.PublishKey(c.Context(), authz.Host("keys rotate"), signing.Purpose(purpose.name))
	switch {
	case errors.Is(err, assertion.ErrKnown), errors.Is(err, keysource.ErrNoKey):
		return fmt.Errorf("%w; make the next key (keys generate %s), name it in %s and the one before in %s_PREVIOUS, and run this again with these settings", err, purpose.name, setting, setting)
	case err != nil:
		return err
	}
	if k.State == assertion.Signs {
		fmt.Fprintf(p.out, "Key %s is published, and signs: it is the first.\n", k.ID)
	} else {
		fmt.Fprintf(p.out, "Key %s is published, and signs from %s on. Start every server with these settings before then.\n", k.ID, k.Until.UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(p.out, "Others find it at %s/.well-known/%s/jwks.json.\n%s\n", core.Config.PeopleURL, purpose.name, notUsed)
	return nil
}

// rotateCommandKey says what is next on the way to another command key: devices take
// it from a policy bundle, and only the policy key's holder signs one.
func (p *program) rotateCommandKey(c *cobra.Command, core *app.Core, out string) error {
	fleet, err := core.Policy.Fleet()
	if err != nil {
		return err
	}
	pub, err := core.CommandKeys().Newest(c.Context())
	if err != nil {
		return fmt.Errorf("%w; name the next key in SENTINEL_SIGNER_COMMAND and the present one in SENTINEL_SIGNER_COMMAND_PREVIOUS", err)
	}
	key, err := signing.NewKey(signing.PurposeCommand, pub)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(fleet.Bundle.CommandKeys, func(k signing.Key) bool { return k.ID == key.ID }) {
		if len(fleet.Bundle.CommandKeys) == 1 {
			return errors.New("the policy bundle in force lists this very key and no other: nothing is to be done. To change it, make the next one (keys generate command), name it in SENTINEL_SIGNER_COMMAND and the present one in SENTINEL_SIGNER_COMMAND_PREVIOUS, and run this again with these settings")
		}
		fmt.Fprintf(p.out, "The new key %s signs. When the last command of the one before has ended (%s at most), publish a bundle that lists the new one only:\n  sentinel-server policy build --command-key %s --out next.json\n", key.ID, signing.MaxCommandLife, first(out, "NEW.pub"))
		return nil
	}
	if out == "" {
		return usageError{errors.New("--out is needed: the directory to write the public keys to")}
	}
	keys := append([]signing.Key{key}, fleet.Bundle.CommandKeys...)
	var flags []string
	for _, k := range keys {
		path := out + "/command-" + k.ID[:8] + ".pub"
		text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.Public})
		if err := writePublic(out, "command-"+k.ID[:8]+".pub", text); err != nil {
			return err
		}
		flags = append(flags, "--command-key "+path)
	}
	fmt.Fprintf(p.out, "The policy bundle in force does not list the new key %s, so the one before signs. Publish a bundle that lists both:\n  sentinel-server policy build %s --out next.json\nThen policy sign and policy publish, and run this again.\n", key.ID, strings.Join(flags, " "))
	return nil
}

func (p *program) keysRetire() *cobra.Command {
	var reason string
	var force bool
	c := &cobra.Command{
		Use: "retire PURPOSE KEY", Short: "End that a published key verifies anything", Args: cobra.ExactArgs(2),
		Long: `retire takes a key of trust-assertion or workload-assertion out of what others fetch. A
key that signs, or whose assertions may still be valid, is kept unless --force is given:
use it for a key that was stolen. Keys of other purposes end by their own ways, which it
names.`,
		RunE: func(c *cobra.Command, args []string) error {
			purpose, err := purposeOf(args[0])
			if err != nil {
				return err
			}
			ends := map[string]string{
				"command":   "a policy bundle that does not list it: sentinel-server policy build --command-key",
				"device-ca": "a fleet root that does not name it: sentinel-server keys ceremony --rotate --drop FINGERPRINT; nothing more is issued with: sentinel-server ca stop-issuing",
				"server-ca": "a fleet root that does not name it: sentinel-server keys ceremony --rotate --drop FINGERPRINT",
			}
			if !slices.Contains(assertion.Purposes(), signing.Purpose(purpose.name)) {
				return fmt.Errorf("a key for %s is not ended here; it ends by %s", purpose.name, first(ends[purpose.name], purpose.change))
			}
			if reason == "" {
				return errNoReason
			}
			return p.withCore(func(c *cobra.Command, core *app.Core) error {
				err := core.Assertions.Retire(c.Context(), authz.Host("keys retire"), signing.Purpose(purpose.name), args[1], reason, force)
				if errors.Is(err, assertion.ErrInUse) {
					return fmt.Errorf("%w; wait until keys list says %s, or end them with --force", err, assertion.Over)
				}
				if err == nil {
					fmt.Fprintf(p.out, "Key %s verifies nothing any more. Others who kept the set drop it within %s. Destroy the private key where it is.\n", args[1], assertion.MaxAge)
				}
				return err
			})(c, nil)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	c.Flags().BoolVar(&force, "force", false, "also while assertions of it are valid")
	return c
}

// ownersKeys are the owner's keys that a command line names.
type ownersKeys struct{ root, policy, certificates string }

func (o *ownersKeys) flags(c *cobra.Command) {
	const doc = " key, where it is not a file of --dir: exec:PROGRAM for a program that signs, or file:PATH"
	c.Flags().StringVar(&o.root, "root-key", "", "the fleet root's"+doc)
	c.Flags().StringVar(&o.policy, "policy-key", "", "the policy bundles'"+doc)
	c.Flags().StringVar(&o.certificates, "certificate-key", "", "the certificate root's"+doc)
}

func (o *ownersKeys) open(c *cobra.Command) (keys ceremony.Keys, err error) {
	for _, k := range []struct {
		into    *crypto.Signer
		purpose signing.Purpose
		text    string
	}{
		{&keys.Root, signing.PurposeFleetRoot, o.root}, {&keys.Policy, signing.PurposePolicyBundle, o.policy}, {&keys.Certificates, certificateRoot, o.certificates},
	} {
		if k.text == "" {
			continue
		}
		if *k.into, err = ownersKey(c, k.purpose, k.text); err != nil {
			return keys, fmt.Errorf("the key for %s: %w", k.purpose, err)
		}
	}
	return keys, nil
}

// ownerTimeout is how long a signer of the fleet's owner may take: a person may have to
// touch something.
const ownerTimeout = time.Minute

// ownersKey is a private key that a command line names: a file, or a source as in the
// settings.
func ownersKey(c *cobra.Command, purpose signing.Purpose, text string) (crypto.Signer, error) {
	if !strings.HasPrefix(text, "file:") && !strings.HasPrefix(text, "exec:") {
		return keyfile.Load(text)
	}
	source, err := config.ParseKeySource(text)
	if err != nil {
		return nil, usageError{err}
	}
	keys := keysource.New(ownerTimeout, time.Now)
	pub, err := keys.Public(c.Context(), string(purpose), source)
	if err != nil {
		return nil, err
	}
	return keys.Signer(string(purpose), source, pub)
}
