package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/enroll"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/identity"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/journal"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/link"
	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/tpm"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/lifecycle"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/version"
)

// maxWait is longer than any enrollment stays open.
const maxWait = 30 * 24 * time.Hour

func newEnroll() *cobra.Command {
	var tokenFile string
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "enroll",
		Short: "Ask the server to let this device in, and wait for the decision",
		Long: `Enroll makes a key that never leaves this device, shows its key code, and waits
until a reviewer has approved it. The token is sent only to a server that proves
to hold the CA with the given fingerprint. Stopped, it goes on where it was when
it is run again; the token is not needed then.

With --certificate-file and --key-file the device comes with a certificate of another
authority, which the server must be set up to believe. No token is needed then; a
reviewer has to let the certificate in all the same.

A token on the command line can be seen by other users of this machine while the
command runs; --token-file or standard input cannot.
` + exitCodes,
		Example: `  sentinel-agent enroll --server https://sentinel.example:8443 \
    --ca-fingerprint 3f9a... --fleet-root 81c2... --token-file /run/token`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if wait <= 0 || wait > maxWait {
				return &usageError{fmt.Errorf("--wait must be more than nothing and at most %s", maxWait), cmd.CommandPath()}
			}
			cfg, err := load(cmd)
			if err != nil {
				return err
			}
			token, err := readToken(cmd, cfg.Token, tokenFile)
			if err != nil {
				return err
			}
			return runEnroll(cmd, cfg, token, wait)
		},
	}
	addSettings(cmd, config.Everywhere, config.Connecting, config.Enrolling, config.Hardware, config.Outside)
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "file that holds the enrollment token")
	cmd.Flags().DurationVar(&wait, "wait", 72*time.Hour, "how long to wait for the decision")
	return cmd
}

func runEnroll(cmd *cobra.Command, cfg *config.Config, token string, wait time.Duration) error {
	ctx, stop := lifecycle.Signals(cmd.Context())
	defer stop()
	facts := app.Facts()
	result, err := enroll.Run(ctx, enroll.Options{
		Dir: cfg.StateDir, Server: cfg.Server, Token: token, CAFingerprint: cfg.CAFingerprint, FirstRoot: cfg.FleetRoot,
		DeviceID: deviceID(cfg, facts["hostname"]), CertificateFile: cfg.CertificateFile, KeyFile: cfg.KeyFile, Wait: wait, Proxy: cfg.Proxy,
		Place: identity.Place{InTPM: cfg.KeyInTPM, TPM: tpm.Find(cfg.TPM)}, Facts: facts, Built: version.Built(),
		Now: time.Now, Random: link.Jitter, Sleep: sleep, Out: cmd.OutOrStdout(),
	})
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	_, _ = fmt.Fprintf(out, "Enrolled as %s. The certificate is valid until %s.\n", result.DeviceID, result.NotAfter.UTC().Format("2006-01-02 15:04 UTC"))
	if result.FirstUse {
		_, _ = fmt.Fprintf(out, "The fleet root was trusted on first use. Compare its digest with the operator's:\n  %s\n", result.FirstRoot)
	}
	_, _ = fmt.Fprintln(out, "Next: "+app.Start(cfg.StateDir))
	return nil
}

// deviceID is the name asked for; without one, the host's. An enrollment under
// way keeps the name that it has.
func deviceID(cfg *config.Config, hostname string) string {
	if cfg.DeviceID != "" {
		return cfg.DeviceID
	}
	if _, err := journal.Read(cfg.StateDir); !errors.Is(err, journal.ErrNotEnrolled) {
		return ""
	}
	return enroll.NameFrom(hostname)
}

// readToken takes the token from one place: setting, file or standard input.
func readToken(cmd *cobra.Command, setting, file string) (string, error) {
	switch {
	case file != "" && cmd.Flags().Changed("token"):
		return "", &usageError{errors.New("--token and --token-file exclude each other"), cmd.CommandPath()}
	case file != "":
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("read the token: %w", err)
		}
		defer func() { _ = f.Close() }()
		return firstLine(f)
	case setting == "-":
		return firstLine(cmd.InOrStdin())
	}
	return setting, nil
}

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, protocol.MaxToken+2)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(line)
	if token == "" || len(token) > protocol.MaxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", fmt.Errorf("%w: the token: what was read is not one", enroll.ErrMissing)
	}
	return token, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
