package main

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// policyDraft is a bundle before it is signed, with the one that it was made from,
// so that whoever signs sees the difference without asking the server.
type policyDraft struct {
	Draft      string               `json:"draft"` // "policy-bundle"
	BaseDigest string               `json:"base_digest"`
	Base       json.RawMessage      `json:"base"` // envelope
	Bundle     signing.PolicyBundle `json:"bundle"`
}

const draftKind = "policy-bundle"

// policyFile is what a file of the policy commands holds: a draft, or a signed
// bundle.
type policyFile struct {
	bundle   *signing.PolicyBundle
	envelope *signing.Envelope     // nil for a draft
	base     *signing.PolicyBundle // of a draft
	signers  []string              // key ids that the base, or the bundle, says it is signed with
	digest   string                // of a draft's base, or of the signed payload
}

type policyDocument struct {
	Version     int64                `json:"version"`
	Digest      string               `json:"digest"`
	InForce     bool                 `json:"in_force"`
	InstalledAt *time.Time           `json:"installed_at"`
	Bundle      signing.PolicyBundle `json:"bundle"`
	Envelope    json.RawMessage      `json:"envelope,omitempty"`
}

func (p *program) policyCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "policy", GroupID: "operate", Short: "See and change what devices may be told to do",
		Long: `A policy bundle says which commands devices take, and from which keys. It lasts 30
days at most, and is signed with the fleet's policy key, away from the server:

  1. anywhere:              sentinel-server policy build --out next.json --allow ping
  2. where the key is:      sentinel-server policy sign next.json --key policy.key --out signed.json
  3. anywhere:              sentinel-server policy publish signed.json

Signing needs no server; it shows what changes, and asks.`,
	}
	c.AddCommand(p.policyShow(), p.policyList(), p.policyBuild(), p.policySign(), p.policyDiff(), p.policyPublish())
	return c
}

func readPolicyFile(path string) (*policyFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxCeremonyFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, maxCeremonyFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var draft policyDraft
	if err := protocol.Decode(data, &draft); err == nil && draft.Draft == draftKind {
		base, digest, err := readBundle(draft.Base)
		if err != nil {
			return nil, fmt.Errorf("%s: the bundle that it was made from: %w", path, err)
		}
		if digest != draft.BaseDigest {
			return nil, fmt.Errorf("%s: the bundle in it is not the one that it says it was made from; build it again", path)
		}
		signed, err := signing.ParseEnvelope(draft.Base)
		if err != nil {
			return nil, fmt.Errorf("%s: the bundle that it was made from: %w", path, err)
		}
		return &policyFile{bundle: &draft.Bundle, base: base, signers: signersOf(signed), digest: digest}, nil
	}
	env, err := signing.ParseEnvelope(data)
	if err != nil {
		return nil, fmt.Errorf("%s is neither a draft (policy build) nor a signed bundle (policy sign)", path)
	}
	bundle, digest, err := readBundle(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &policyFile{bundle: bundle, envelope: env, signers: signersOf(env), digest: digest}, nil
}

func signersOf(e *signing.Envelope) (ids []string) {
	for _, s := range e.Signatures {
		ids = append(ids, s.KeyID)
	}
	return ids
}

// readBundle reads a bundle without asking who signed it: the server and devices do.
func readBundle(data []byte) (*signing.PolicyBundle, string, error) {
	env, err := signing.ParseEnvelope(data)
	if err != nil {
		return nil, "", err
	}
	if env.PayloadType != signing.PurposePolicyBundle.PayloadType() {
		return nil, "", signing.ErrPurpose
	}
	var b signing.PolicyBundle
	if err := protocol.Decode(env.Payload, &b); err != nil {
		return nil, "", err
	}
	return &b, signing.Digest(env.Payload), b.Check()
}

func (p *program) policyShow() *cobra.Command {
	var version int64
	c := p.apiCommand("show [FILE]", "Show a policy bundle: of a file, or of the server", cobra.MaximumNArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		if len(args) == 1 {
			f, err := readPolicyFile(args[0])
			if err != nil {
				return err
			}
			return o.show(f.bundle, func(w io.Writer) {
				showBundle(w, f.bundle)
				if f.envelope == nil {
					row(w, "signed", "not yet: it is a draft made from "+f.digest)
					return
				}
				row(w, "digest", f.digest)
				for _, s := range f.envelope.Signatures {
					row(w, "signed", "with key "+s.KeyID+" (not verified here)")
				}
			})
		}
		doc, err := bundleOf(c, api, version)
		if err != nil {
			return notFound(err, "policy bundle", "of version "+strconv.FormatInt(version, 10), "policy list")
		}
		return o.show(doc, func(w io.Writer) {
			showBundle(w, &doc.Bundle)
			row(w, "digest", doc.Digest)
			row(w, "installed", when(doc.InstalledAt))
		})
	})
	c.Flags().Int64Var(&version, "version", 0, "version of the server's; 0 is the one in force")
	return c
}

func bundleOf(c *cobra.Command, api *client, version int64) (*policyDocument, error) {
	var doc policyDocument
	return &doc, api.do(c.Context(), "GET", "/api/policy/bundles/"+strconv.FormatInt(version, 10), nil, &doc)
}

func showBundle(w io.Writer, b *signing.PolicyBundle) {
	row(w, "version", b.Version)
	row(w, "fleet", b.FleetID)
	row(w, "issued", b.IssuedAt.Format(time.RFC3339))
	row(w, "expires", b.ExpiresAt.Format(time.RFC3339))
	for _, k := range b.CommandKeys {
		row(w, "command key", k.ID)
	}
	for _, k := range b.Kinds {
		row(w, "allows", describeRule(k))
	}
}

func describeRule(k signing.KindRule) string {
	parts := []string{k.Kind}
	if k.Approvals > 0 {
		parts = append(parts, "with "+counted(int64(k.Approvals), "approval"))
	}
	for _, name := range slices.Sorted(maps.Keys(k.Limits)) {
		parts = append(parts, fmt.Sprintf("%s at most %d", name, k.Limits[name]))
	}
	return strings.Join(parts, ", ")
}

func (p *program) policyList() *cobra.Command {
	var after string
	c := p.apiCommand("list", "List the server's policy bundles, the newest first", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		var list page[policyDocument]
		path := "/api/policy/bundles"
		if after != "" {
			path += "?after=" + after
		}
		if err := api.do(c.Context(), "GET", path, nil, &list); err != nil {
			return err
		}
		defer o.more(list.Next)
		return o.show(list, func(w io.Writer) {
			row(w, "VERSION", "IN FORCE", "INSTALLED", "EXPIRES", "KINDS", "DIGEST")
			for _, d := range list.Items {
				row(w, d.Version, map[bool]string{true: "yes", false: "-"}[d.InForce], when(d.InstalledAt), d.Bundle.ExpiresAt.Format(time.RFC3339), len(d.Bundle.Kinds), d.Digest)
			}
		})
	})
	c.Flags().StringVar(&after, "after", "", "version that the page before ended with")
	return c
}

func (p *program) policyBuild() *cobra.Command {
	var out, from string
	var allow, forbid, limits, keys []string
	var life time.Duration
	c := p.apiCommand("build", "Make a draft of the next policy bundle", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		if out == "" {
			return usageError{errors.New("--out is needed: the file to write the draft to")}
		}
		if life <= 0 || life > signing.MaxBundleLife {
			return usageError{fmt.Errorf("--life must be more than nothing and at most %s", config.Compact(signing.MaxBundleLife))}
		}
		base, err := baseOf(c, api, from)
		if err != nil {
			return err
		}
		before, digest, err := readBundle(base)
		if err != nil {
			return err
		}
		next := *before
		next.Version, next.IssuedAt = before.Version+1, time.Now().UTC().Truncate(time.Second)
		next.ExpiresAt = next.IssuedAt.Add(life)
		next.Kinds = cloneRules(before.Kinds)
		if err := changeRules(&next, allow, forbid, limits); err != nil {
			return usageError{err}
		}
		if len(keys) > 0 {
			if next.CommandKeys, err = commandKeys(keys); err != nil {
				return err
			}
		}
		if err := next.Check(); err != nil {
			return fmt.Errorf("%s; change the options", strings.TrimPrefix(err.Error(), signing.ErrRule.Error()+": "))
		}
		if err := writeJSON(out, policyDraft{Draft: draftKind, BaseDigest: digest, Base: base, Bundle: next}); err != nil {
			return err
		}
		changes := diffBundles(before, &next)
		warnOfApprovals(p.err, &next)
		return o.show(map[string]any{"out": out, "version": next.Version, "base_digest": digest, "changes": changes}, func(w io.Writer) {
			showChanges(w, before, &next)
			row(w, "Written to "+out+". Next, where the policy key is: sentinel-server policy sign "+out+" --key policy.key --out signed.json")
		})
	})
	f := c.Flags()
	f.StringVar(&out, "out", "", "file to write")
	f.StringVar(&from, "from", "", "signed bundle to begin with (default: the one in force on the server)")
	f.StringArrayVar(&allow, "allow", nil, "KIND, or KIND=APPROVALS, which nobody can use in this version; may be given several times")
	f.StringArrayVar(&forbid, "forbid", nil, "KIND; may be given several times")
	f.StringArrayVar(&limits, "limit", nil, "KIND.PARAMETER=N: at most N, or N bytes of text; may be given several times")
	f.StringArrayVar(&keys, "command-key", nil, "file of a public key that may sign commands (PEM), in place of the present ones; may be given several times")
	f.DurationVar(&life, "life", signing.MaxBundleLife, "how long it lasts, at most 720h")
	return c
}

// baseOf is the signed bundle that a draft begins with: of a file, or the one in force.
func baseOf(c *cobra.Command, api *client, file string) (json.RawMessage, error) {
	if file == "" {
		doc, err := bundleOf(c, api, 0)
		if err != nil {
			return nil, err
		}
		return doc.Envelope, nil
	}
	f, err := readPolicyFile(file)
	if err != nil {
		return nil, err
	}
	if f.envelope == nil {
		return nil, fmt.Errorf("%s is not signed; a draft is made from a signed bundle", file)
	}
	return f.envelope.Marshal()
}

func cloneRules(rules []signing.KindRule) []signing.KindRule {
	list := slices.Clone(rules)
	for i := range list {
		list[i].Limits = maps.Clone(list[i].Limits)
	}
	if list == nil {
		list = []signing.KindRule{}
	}
	return list
}

func changeRules(b *signing.PolicyBundle, allow, forbid, limits []string) error {
	at := func(kind string) int {
		return slices.IndexFunc(b.Kinds, func(k signing.KindRule) bool { return k.Kind == kind })
	}
	for _, kind := range forbid {
		i := at(kind)
		if i < 0 {
			return fmt.Errorf("--forbid %s: it is not allowed anyway", kind)
		}
		b.Kinds = slices.Delete(b.Kinds, i, i+1)
	}
	for _, a := range allow {
		kind, number, given := strings.Cut(a, "=")
		if _, known := signing.Kind(kind); !known {
			return fmt.Errorf("--allow %s: no such kind; there are: %s", kind, strings.Join(signing.Kinds(), ", "))
		}
		approvals := 0
		if given {
			var err error
			if approvals, err = strconv.Atoi(number); err != nil {
				return fmt.Errorf("--allow must be KIND or KIND=APPROVALS")
			}
		}
		if i := at(kind); i >= 0 {
			b.Kinds[i].Approvals = approvals
			continue
		}
		b.Kinds = append(b.Kinds, signing.KindRule{Kind: kind, Approvals: approvals})
	}
	for _, l := range limits {
		name, number, ok := strings.Cut(l, "=")
		kind, parameter, dotted := strings.Cut(name, ".")
		n, err := strconv.ParseInt(number, 10, 64)
		if !ok || !dotted || err != nil {
			return fmt.Errorf("--limit must be KIND.PARAMETER=N")
		}
		spec, _ := signing.Kind(kind)
		if _, known := spec.Parameters[parameter]; !known {
			return fmt.Errorf("--limit %s: the kind has no such parameter", name)
		}
		i := at(kind)
		if i < 0 {
			return fmt.Errorf("--limit %s: the kind is not allowed; add --allow %s", name, kind)
		}
		if b.Kinds[i].Limits == nil {
			b.Kinds[i].Limits = map[string]int64{}
		}
		b.Kinds[i].Limits[parameter] = n
	}
	return nil
}

// commandKeys reads public keys in PEM, as: openssl pkey -in command.key -pubout.
func commandKeys(paths []string) (keys []signing.Key, err error) {
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		block, rest := pem.Decode(data)
		if block == nil || block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) != 0 {
			return nil, fmt.Errorf("%s: not one public key in PEM", path)
		}
		pub, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: not a public key that can be read", path)
		}
		key, err := signing.NewKey(signing.PurposeCommand, pub)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (p *program) policySign() *cobra.Command {
	var keyPath, out, base string
	var yes bool
	c := &cobra.Command{
		Use: "sign FILE", Short: "Sign a draft with the policy key, or add a signature; needs no server", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if keyPath == "" || out == "" {
				return usageError{errors.New("--key and --out are needed: the policy key's file, and the file to write")}
			}
			f, err := readPolicyFile(args[0])
			if err != nil {
				return err
			}
			if base != "" {
				b, err := readPolicyFile(base)
				if err != nil {
					return err
				}
				f.base, f.signers = b.bundle, b.signers
			}
			if err := f.bundle.Check(); err != nil {
				return fmt.Errorf("%s: %w; build it again", args[0], err)
			}
			signer, err := policySigner(c, keyPath)
			if err != nil {
				return err
			}
			if f.base != nil {
				showChanges(p.err, f.base, f.bundle)
			} else {
				fmt.Fprintln(p.err, "All that it says (with --base FILE: only what changes):")
				showBundle(p.err, f.bundle)
			}
			warnOfApprovals(p.err, f.bundle)
			f.warnOfKey(p.err, signer.Key().ID)
			if !yes && !p.confirm("Sign it with key "+signer.Key().ID+"?") {
				return errors.New("nothing was signed; answer yes, or say --yes")
			}
			if f.envelope, err = signBundle(c, f, signer); err != nil {
				return err
			}
			data, err := f.envelope.Marshal()
			if err != nil {
				return err
			}
			if err := writeJSON(out, json.RawMessage(data)); err != nil {
				return err
			}
			fmt.Fprintf(p.out, "Signed, with %s now; digest %s\nNext: sentinel-server policy publish %s\n", counted(int64(len(f.envelope.Signatures)), "signature"), signing.Digest(f.envelope.Payload), out)
			return nil
		},
	}
	c.Flags().StringVar(&keyPath, "key", "", "file of the policy key (policy.key of the ceremony), or exec:PROGRAM for a program that signs")
	c.Flags().StringVar(&out, "out", "", "file to write")
	c.Flags().StringVar(&base, "base", "", "signed bundle to show the difference to; a draft has its own")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func policySigner(c *cobra.Command, path string) (signing.Signer, error) {
	key, err := ownersKey(c, signing.PurposePolicyBundle, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; --key is the file policy.key that the ceremony wrote, or in a trial keys/policy.key of the server's data directory", err)
	}
	if err != nil {
		return nil, err
	}
	return signing.NewSigner(signing.PurposePolicyBundle, key)
}

// warnOfKey tells of a key that did not sign the bundle before. It may be right: the
// fleet root, which is not here, decides.
func (f *policyFile) warnOfKey(w io.Writer, id string) {
	if f.base != nil && !slices.Contains(f.signers, id) {
		fmt.Fprintf(w, "Warning: the bundle before is signed with %s, not with this key (%s): unless the fleet root names it, too, the server and devices refuse the bundle.\n",
			plain(strings.Join(f.signers, ", ")), id)
	}
}

// signBundle signs a draft, or adds a signature over the very bytes that others
// signed.
func signBundle(c *cobra.Command, f *policyFile, signer signing.Signer) (*signing.Envelope, error) {
	if f.envelope == nil {
		return signing.SignBundle(c.Context(), *f.bundle, signer)
	}
	if slices.ContainsFunc(f.envelope.Signatures, func(s signing.Signature) bool { return s.KeyID == signer.Key().ID }) {
		return nil, errors.New("this key signed it already; use another of the policy keys")
	}
	sig, err := signer.Sign(c.Context(), signing.PAE(f.envelope.PayloadType, f.envelope.Payload))
	if err != nil {
		return nil, err
	}
	next := *f.envelope
	next.Signatures = append(slices.Clone(next.Signatures), signing.Signature{KeyID: signer.Key().ID, Sig: sig})
	return &next, nil
}

// warnOfApprovals names the kinds that nobody could use under the bundle: approvals
// that devices verify are not collected in this version.
func warnOfApprovals(w io.Writer, b *signing.PolicyBundle) {
	for _, k := range b.Kinds {
		if k.Approvals > 0 {
			fmt.Fprintf(w, "Warning: %s asks for %s that devices verify, which this version cannot collect: nobody can use it under this bundle.\n",
				plain(k.Kind), counted(int64(k.Approvals), "approval"))
		}
	}
}

func (p *program) policyPublish() *cobra.Command {
	return p.apiCommand("publish FILE", "Install a signed policy bundle on the server", cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		f, err := readPolicyFile(args[0])
		if err != nil {
			return err
		}
		if f.envelope == nil {
			return fmt.Errorf("%s is a draft; sign it first: sentinel-server policy sign %s --key policy.key --out signed.json", args[0], args[0])
		}
		data, err := f.envelope.Marshal()
		if err != nil {
			return err
		}
		var doc policyDocument
		if err := api.do(c.Context(), "POST", "/api/policy/bundles", json.RawMessage(data), &doc); err != nil {
			return err
		}
		return o.show(doc, func(w io.Writer) {
			row(w, fmt.Sprintf("Version %d is in force until %s; devices get it with their next heartbeat.", doc.Version, doc.Bundle.ExpiresAt.Format(time.RFC3339)))
		})
	})
}
