package config

import (
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/tpm"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

func readStateDir(c *Config, v string) error {
	if !filepath.IsAbs(v) {
		return errors.New("write an absolute path")
	}
	c.StateDir = filepath.Clean(v)
	return nil
}

func readLogLevel(c *Config, v string) error {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, ok := levels[v]
	if !ok {
		return errors.New("write debug, info, warn or error")
	}
	c.LogLevel = level
	return nil
}

func readLogFormat(c *Config, v string) error {
	if v != "json" && v != "text" {
		return errors.New("write json or text")
	}
	c.LogFormat = v
	return nil
}

func readTPM(c *Config, v string) error {
	c.TPM = v
	return tpm.CheckSetting(v)
}

func readKeyIn(c *Config, v string) error {
	if v != "file" && v != "tpm" {
		return errors.New("write file or tpm")
	}
	c.KeyInTPM = v == "tpm"
	return nil
}

func readMinInterval(c *Config, v string) error {
	d, err := time.ParseDuration(v)
	if err != nil || d < time.Second || d > time.Hour {
		return errors.New("write a duration from 1s to 1h, such as 30s")
	}
	c.MinInterval = d
	return nil
}

func readProxy(c *Config, v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" || !bare(u) {
		return errors.New("write http://host:port")
	}
	c.Proxy = u
	return nil
}

// readServer takes an address and nothing more: what follows it would be
// dropped in silence.
func readServer(c *Config, v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "https" || u.User != nil || !bare(u) || !validHost(u.Hostname()) {
		return errors.New("write https://host:port with nothing behind it")
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return errors.New("write https://host:port with a port from 1 to 65535")
	}
	c.Server = "https://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
	return nil
}

func bare(u *url.URL) bool {
	return (u.Path == "" || u.Path == "/") && u.RawQuery == "" && u.Fragment == "" && u.Opaque == ""
}

func validHost(h string) bool {
	return h != "" && !strings.ContainsFunc(h, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`/\?#@%`, r)
	})
}

func readDeviceID(c *Config, v string) error {
	if err := protocol.CheckDeviceID(v); err != nil {
		return errors.New("write 1 to 64 characters of a-z, 0-9, '.', '_' and '-', beginning and ending with a letter or digit")
	}
	c.DeviceID = v
	return nil
}

// readDigest takes the colons and capitals that other tools print.
func readDigest(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		v = strings.ToLower(strings.ReplaceAll(v, ":", ""))
		if b, err := hex.DecodeString(v); err != nil || len(b) != 32 {
			return errors.New("write the 64 hexadecimal characters of a SHA-256")
		}
		*field(c) = v
		return nil
	}
}

func readFilePath(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		if !filepath.IsAbs(v) {
			return errors.New("write the absolute path of a file")
		}
		*field(c) = filepath.Clean(v)
		return nil
	}
}

func readToken(c *Config, v string) error {
	if len(v) > protocol.MaxToken || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return errors.New("write the token as it was shown, with no blanks")
	}
	c.Token = v
	return nil
}
