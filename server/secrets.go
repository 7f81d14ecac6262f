package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
)

// secretSettings are those that an installation outside the trial profile needs.
var secretSettings = []struct{ key, file string }{
	{"SENTINEL_SECRET_KEY", "secret-key"}, {"SENTINEL_JWT_SECRET", "jwt-secret"}, {"SENTINEL_METRICS_TOKEN", "metrics-token"},
}

// configSecrets makes secrets as strong as config validate demands.
func (p *program) configSecrets() *cobra.Command {
	var dir string
	c := &cobra.Command{Use: "secrets", Short: "Make the secrets that an installation needs", Args: cobra.NoArgs}
	c.Long = `secrets makes a value for each secret that staging and production need. With --dir it
writes each to a file of its own, mode 0600, and prints the settings that name them; a
file that is there is kept. Without --dir it prints the values themselves.`
	c.RunE = func(*cobra.Command, []string) error {
		if dir != "" {
			var err error
			if dir, err = filepath.Abs(dir); err != nil {
				return err
			}
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
		}
		for _, s := range secretSettings {
			if dir == "" {
				fmt.Fprintf(p.out, "%s=%s\n", s.key, newSecretValue())
				continue
			}
			path := filepath.Join(dir, s.file)
			if err := writeNew(path, newSecretValue()+"\n"); err != nil && !errors.Is(err, os.ErrExist) {
				return err
			}
			fmt.Fprintf(p.out, "%s_FILE=%s\n", s.key, path)
		}
		return nil
	}
	c.Flags().StringVar(&dir, "dir", "", "directory to write them to, each in a file of its own")
	return c
}

func newSecretValue() string {
	var b [48]byte
	rand.Read(b[:])
	return base64.StdEncoding.EncodeToString(b[:])
}

func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func (p *program) keysReseal() *cobra.Command {
	c := &cobra.Command{Use: "reseal", Short: "Seal stored keys anew under SENTINEL_SECRET_KEY, so that the one before can be dropped", Args: cobra.NoArgs}
	c.Long = `reseal is the last step but one of changing SENTINEL_SECRET_KEY: run it when every
node knows the new key, then remove SENTINEL_SECRET_KEY_PREVIOUS everywhere. Servers
may run meanwhile. On SQLite the server does it at its start.`
	c.RunE = p.withCore(func(c *cobra.Command, core *app.Core) error {
		n, err := core.Reseal(c.Context(), authz.Host("keys reseal"))
		if err == nil {
			fmt.Fprintf(p.out, "%d sealed anew; nothing stands under another key now.\n", n)
		}
		return err
	})
	return c
}
