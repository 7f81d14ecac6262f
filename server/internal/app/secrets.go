package app

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
)

// The files of a trial, below the data directory.
const (
	secretsDir = "secrets"
	keysDir    = "keys"
	commandKey = "command.key"
)

// trialSecrets fills in the secrets that a trial did not configure, from files of
// its data directory, made at the first start for their owner only. Other
// profiles never come here without secrets: config refuses them.
func trialSecrets(c *config.Config) error {
	if c.Profile != config.Trial {
		return nil
	}
	dir := filepath.Join(c.DataDir, secretsDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, secret := range map[string]*config.Secret{
		"secret-key": &c.SecretKey, "jwt-secret": &c.JWTSecret, "metrics-token": &c.MetricsToken,
	} {
		if *secret != "" {
			continue
		}
		value, err := keptSecret(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("the trial's own secrets: %w", err)
		}
		*secret = config.Secret(value)
	}
	return nil
}

func keptSecret(path string) (string, error) {
	data, err := files.ReadPrivate(path, 4<<10)
	if err == nil {
		return strings.TrimSpace(string(data)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var b [48]byte
	rand.Read(b[:])
	value := base64.RawURLEncoding.EncodeToString(b[:])
	return value, files.Replace(path, []byte(value+"\n"), 0o600)
}
