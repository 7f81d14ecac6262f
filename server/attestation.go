package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// attestationPage is what a device proved by its TPM.
type attestationPage struct {
	Verdict string `json:"verdict"`
	Reasons []struct {
		Code string `json:"code"`
		Text string `json:"text"`
	} `json:"reasons"`
	Baseline      string `json:"baseline,omitempty"`
	HardwareBound bool   `json:"hardware_bound"`
	Registers     []struct {
		Number int    `json:"number"`
		Value  string `json:"value"`
	} `json:"registers"`
	TPM        string     `json:"tpm,omitempty"`
	Maker      string     `json:"maker,omitempty"`
	Since      *time.Time `json:"tpm_since,omitempty"`
	ProvenAt   *time.Time `json:"proven_at"`
	ValidUntil *time.Time `json:"valid_until"`
	Stale      bool       `json:"stale"`
}

type baselineRow struct {
	ID             string              `json:"id"`
	Name           string              `json:"name"`
	Version        int64               `json:"version"`
	State          string              `json:"state"`
	Label          string              `json:"label,omitempty"`
	Values         map[string][]string `json:"values"`
	HardwareBound  bool                `json:"hardware_bound"`
	NotBefore      *time.Time          `json:"not_before"`
	NotAfter       *time.Time          `json:"not_after"`
	OverlapSeconds int64               `json:"overlap_seconds"`
	CauseKind      string              `json:"cause_kind"`
	CauseRef       string              `json:"cause_ref"`
	CauseText      string              `json:"cause_text,omitempty"`
	ProposedBy     string              `json:"proposed_by"`
	ApprovalID     string              `json:"approval_id"`
	Reason         string              `json:"reason,omitempty"`
	CreatedAt      *time.Time          `json:"created_at"`
	DecidedAt      *time.Time          `json:"decided_at,omitempty"`
}

type baselineAsked struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Version    int64      `json:"version"`
	ApprovalID string     `json:"approval_id"`
	Digest     string     `json:"digest"`
	ExpiresAt  *time.Time `json:"expires_at"`
}

func (p *program) attestationCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "attestation", GroupID: "operate", Short: "See what devices prove by their TPMs, and keep what it is compared with",
		Long: `A baseline says which values the registers (PCRs) of a TPM may have. One person
proposes it, from what a device proved or from values of the maker, and another one, who
may review it, agrees: sentinel-server approval list, approval show, approval approve.
It ends at a time, and a later version takes its place.

retire is one person's act and holds at once.`,
	}
	c.AddCommand(p.attestationShow(), p.baselineList(), p.baselinePropose(), p.baselineRetire(), p.forgetTPM())
	return c
}

func (p *program) attestationShow() *cobra.Command {
	return p.apiCommand("show DEVICE", "Show what a device proved by its TPM", cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		var a attestationPage
		if err := api.do(c.Context(), "GET", "/api/attestation/devices/"+url.PathEscape(args[0]), nil, &a); err != nil {
			return noEvidence(err, args[0])
		}
		return o.show(a, func(w io.Writer) {
			row(w, args[0]+": "+a.Verdict)
			for _, r := range a.Reasons {
				row(w, "  - "+r.Text)
			}
			row(w, "baseline", first(a.Baseline, "-"))
			row(w, "certificate's key", map[bool]string{true: "in the TPM", false: "not proven to be in the TPM"}[a.HardwareBound])
			row(w, "proven", when(a.ProvenAt)+", counts until "+when(a.ValidUntil))
			row(w, "TPM", first(a.TPM, "-"))
			row(w, "maker", first(a.Maker, "-"))
			row(w)
			row(w, "REGISTER", "VALUE (SHA-256)")
			for _, r := range a.Registers {
				row(w, r.Number, r.Value)
			}
		})
	})
}

func (p *program) baselineList() *cobra.Command {
	limit := 0
	c := p.apiCommand("baselines", "List the newest baselines", nil, func(c *cobra.Command, o *operate, api *client, _ []string) error {
		path := "/api/attestation/baselines"
		if limit > 0 {
			path += "?limit=" + strconv.Itoa(limit)
		}
		var list page[baselineRow]
		if err := api.do(c.Context(), "GET", path, nil, &list); err != nil {
			return err
		}
		return o.show(list, func(w io.Writer) {
			row(w, "BASELINE", "VERSION", "STATE", "DEVICES", "UNTIL", "CAUSE", "ID")
			for _, b := range list.Items {
				row(w, b.Name, b.Version, b.State, first(b.Label, "all"), when(b.NotAfter), b.CauseKind+" "+b.CauseRef, b.ID)
			}
		})
	})
	c.Flags().IntVar(&limit, "limit", 0, "baselines, at most 500 (default 50)")
	return c
}

// proposal is a baseline on its way to the API.
type proposal struct {
	Name           string              `json:"name"`
	Label          string              `json:"label,omitempty"`
	Values         map[string][]string `json:"values"`
	HardwareBound  bool                `json:"hardware_bound,omitempty"`
	NotBefore      *time.Time          `json:"not_before,omitempty"`
	NotAfter       time.Time           `json:"not_after"`
	OverlapSeconds int64               `json:"overlap_seconds,omitempty"`
	CauseKind      string              `json:"cause_kind"`
	CauseRef       string              `json:"cause_ref"`
	CauseText      string              `json:"cause_text,omitempty"`
}

func (p *program) baselinePropose() *cobra.Command {
	in := proposal{Values: map[string][]string{}}
	var from, registers, begins, until string
	var values []string
	var overlap time.Duration
	c := p.apiCommand("propose NAME", "Ask that a baseline comes into force; others decide", cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		in.Name = args[0]
		begin, err := timeFlag("--from", begins)
		if err != nil {
			return err
		}
		end, err := timeFlag("--until", until)
		if err != nil {
			return err
		}
		if end.IsZero() {
			return usageError{errors.New("--until is needed: a baseline ends, such as --until 2027-06-01")}
		}
		if !begin.IsZero() {
			in.NotBefore = &begin
		}
		in.NotAfter, in.OverlapSeconds = end, int64(overlap/time.Second)
		for _, v := range values {
			register, value, ok := strings.Cut(v, "=")
			if !ok {
				return usageError{errors.New("--value is written as register=hex, such as 7=" + strings.Repeat("0", 64))}
			}
			in.Values[register] = append(in.Values[register], strings.ToLower(value))
		}
		if from != "" {
			if err := takeValues(c, api, from, registers, in.Values); err != nil {
				return err
			}
		}
		var asked baselineAsked
		if err := api.do(c.Context(), "POST", "/api/attestation/baselines", in, &asked); err != nil {
			return err
		}
		return o.show(asked, func(w io.Writer) {
			row(w, fmt.Sprintf("%s version %d is proposed, until %s. Another person decides: sentinel-server approval show %s", asked.Name, asked.Version, when(asked.ExpiresAt), asked.ApprovalID))
		})
	})
	c.Flags().StringVar(&from, "device", "", "take the values that this device proved last")
	c.Flags().StringVar(&registers, "registers", "", "registers to take from it, such as 0,2,4,7 (default all that it proved)")
	c.Flags().StringArrayVar(&values, "value", nil, "a value that is good, as register=hex; may be given several times")
	c.Flags().StringVar(&in.Label, "label", "", "for devices with this label, key=value (default all devices)")
	c.Flags().BoolVar(&in.HardwareBound, "hardware-bound", false, "the TPM must hold the key of the device's certificate")
	c.Flags().StringVar(&begins, "from", "", "when it begins, a date or RFC 3339 (default now)")
	c.Flags().StringVar(&until, "until", "", "when it ends, a date or RFC 3339")
	c.Flags().DurationVar(&overlap, "overlap", 0, "how long earlier versions go on, such as 72h")
	c.Flags().StringVar(&in.CauseKind, "cause", "first-look", "first-look, system-update, firmware-update, configuration, hardware or incident")
	c.Flags().StringVar(&in.CauseRef, "ref", "", "what caused it: a change, a release, an incident")
	c.Flags().StringVar(&in.CauseText, "text", "", "more about it, one line")
	return c
}

// noEvidence says what to look at when a device proved nothing yet.
func noEvidence(err error, device string) error {
	if p, ok := errors.AsType[*protocol.Problem](err); ok && p.Code == protocol.CodeNotFound {
		return fmt.Errorf("there is no evidence of %s; see the agent's log and SENTINEL_AGENT_TPM on the device, SENTINEL_ATTESTATION_MAKERS_DIR on the server, and: sentinel-server device list", plain(device))
	}
	return err
}

// takeValues adds the values that a device proved to those of a baseline.
func takeValues(c *cobra.Command, api *client, device, registers string, into map[string][]string) error {
	var a attestationPage
	if err := api.do(c.Context(), "GET", "/api/attestation/devices/"+url.PathEscape(device), nil, &a); err != nil {
		return noEvidence(err, device)
	}
	wanted := map[string]bool{}
	for r := range strings.SplitSeq(registers, ",") {
		if r = strings.TrimSpace(r); r != "" {
			wanted[r] = false
		}
	}
	all := len(wanted) == 0
	for _, r := range a.Registers {
		number := strconv.Itoa(r.Number)
		if _, named := wanted[number]; !named && !all {
			continue
		}
		wanted[number] = true
		if !slices.Contains(into[number], r.Value) {
			into[number] = append(into[number], r.Value)
		}
	}
	for number, found := range wanted {
		if !found {
			return fmt.Errorf("%s did not prove register %s; see: sentinel-server attestation show %s", device, plain(number), device)
		}
	}
	if len(a.Registers) == 0 {
		return fmt.Errorf("the last evidence of %s is not genuine and proves nothing; see: sentinel-server attestation show %s", device, device)
	}
	return nil
}

// timeFlag reads a date, or a time in RFC 3339; nothing is the zero time.
func timeFlag(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError{errors.New(flag + " is written as 2027-06-01 or 2027-06-01T12:00:00Z")}
}

func (p *program) baselineRetire() *cobra.Command {
	var reason string
	c := p.apiCommand("retire ID", "End a baseline at once", cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		if reason == "" {
			return errNoReason
		}
		if err := api.do(c.Context(), "POST", "/api/attestation/baselines/"+url.PathEscape(args[0])+"/retire", map[string]string{"reason": reason}, nil); err != nil {
			return notFound(err, "baseline", args[0], "attestation baselines")
		}
		return o.show(map[string]bool{"retired": true}, func(w io.Writer) { row(w, "Retired. Devices are judged without it within a minute.") })
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	return c
}

func (p *program) forgetTPM() *cobra.Command {
	var reason string
	c := p.apiCommand("forget-tpm DEVICE", "Ask that a device may have another TPM, after a repair; others decide", cobra.ExactArgs(1), func(c *cobra.Command, o *operate, api *client, args []string) error {
		if reason == "" {
			return errNoReason
		}
		var out waits
		if err := api.do(c.Context(), "POST", "/api/attestation/devices/"+url.PathEscape(args[0])+"/forget-tpm", map[string]string{"reason": reason}, &out); err != nil {
			return notFound(err, "device with a TPM", args[0], "device list")
		}
		return o.show(out, func(w io.Writer) {
			row(w, "Asked for. Another person decides: sentinel-server approval show "+out.ApprovalID)
		})
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	return c
}
