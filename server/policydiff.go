package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

func (p *program) policyDiff() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "diff A B", Short: "Show what changes from one bundle or draft to another; needs no server", Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			a, err := readPolicyFile(args[0])
			if err != nil {
				return err
			}
			b, err := readPolicyFile(args[1])
			if err != nil {
				return err
			}
			o := &operate{program: p, output: output}
			return o.show(map[string]any{"changes": diffBundles(a.bundle, b.bundle)}, func(w io.Writer) { showChanges(w, a.bundle, b.bundle) })
		},
	}
	outputFlag(c, &output)
	return c
}

func showChanges(w io.Writer, before, after *signing.PolicyBundle) {
	lines := diffBundles(before, after)
	if len(lines) == 0 {
		fmt.Fprintf(w, "From version %d to %d there is no difference.\n", before.Version, after.Version)
		return
	}
	fmt.Fprintf(w, "From version %d to %d:\n", before.Version, after.Version)
	for _, line := range lines {
		fmt.Fprintln(w, "  "+plain(line))
	}
}

// diffBundles says in lines what one bundle changes of another. What widens what
// devices do is marked with "+", what narrows it with "-", the rest with "~".
func diffBundles(before, after *signing.PolicyBundle) []string {
	lines := []string{}
	if !before.ExpiresAt.Equal(after.ExpiresAt) {
		lines = append(lines, fmt.Sprintf("~ expires %s (before: %s)", after.ExpiresAt.Format(time.RFC3339), before.ExpiresAt.Format(time.RFC3339)))
	}
	if before.FleetID != after.FleetID {
		lines = append(lines, "~ ANOTHER FLEET: "+after.FleetID)
	}
	if before.RootDigest != after.RootDigest {
		lines = append(lines, "~ made under the fleet root "+after.RootDigest)
	}
	has := func(b *signing.PolicyBundle, k signing.Key) bool {
		return slices.ContainsFunc(b.CommandKeys, func(o signing.Key) bool { return bytes.Equal(o.Public, k.Public) })
	}
	for _, k := range after.CommandKeys {
		if !has(before, k) {
			lines = append(lines, "+ command key "+k.ID)
		}
	}
	for _, k := range before.CommandKeys {
		if !has(after, k) {
			lines = append(lines, "- command key "+k.ID)
		}
	}
	for _, k := range after.Kinds {
		if old, ok := before.Rule(k.Kind); ok {
			lines = append(lines, diffRules(old, k)...)
		} else {
			lines = append(lines, "+ allows "+describeRule(k))
		}
	}
	for _, k := range before.Kinds {
		if _, ok := after.Rule(k.Kind); !ok {
			lines = append(lines, "- allows "+describeRule(k))
		}
	}
	return lines
}

// diffRules says what one rule changes of another of the same kind: a line for the
// approvals, and one for each limit.
func diffRules(before, after signing.KindRule) (lines []string) {
	say := func(wider bool, what, was string) {
		mark := "-"
		if wider {
			mark = "+"
		}
		lines = append(lines, fmt.Sprintf("%s allows %s %s (before: %s)", mark, after.Kind, what, was))
	}
	if a, b := before.Approvals, after.Approvals; a != b {
		say(b < a, withApprovals(b), withApprovals(a))
	}
	all := maps.Clone(before.Limits)
	if all == nil {
		all = map[string]int64{}
	}
	maps.Copy(all, after.Limits)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		was, had := before.Limits[name]
		is, has := after.Limits[name]
		switch {
		case !has:
			say(true, "with any "+name, fmt.Sprintf("%s at most %d", name, was))
		case !had:
			say(false, fmt.Sprintf("with %s at most %d", name, is), "any "+name)
		case was != is:
			say(is > was, fmt.Sprintf("with %s at most %d", name, is), fmt.Sprintf("at most %d", was))
		}
	}
	return lines
}

func withApprovals(n int) string {
	if n == 0 {
		return "without approvals"
	}
	return "with " + counted(int64(n), "approval")
}
