package config

import (
	"log/slog"
	"net/url"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/tpm"
)

// Config is what the settings mean once they are checked.
type Config struct {
	Server        string // https://host:port, "" if not set
	StateDir      string
	LogLevel      slog.Level
	LogFormat     string   // json or text
	Proxy         *url.URL // nil: none
	MinInterval   time.Duration
	DeviceID      string
	CAFingerprint string // lower-case hex
	FleetRoot     string // lower-case hex, "" for trust on first use
	Token         string // secret
	TPM           string // auto, off, or its path
	KeyInTPM      bool   // new keys of the device are made in the TPM

	CertificateFile string // of another authority, with its chain; "" for one of the server's
	KeyFile         string // of that certificate
}

// AsPrinted says where an operator finds the digests that a device is given.
const AsPrinted = "as sentinel-server enroll-token create (or fleet) prints it" // no backquotes: the help would take them for the value's name

// DefaultStateDir is where the state is unless a setting says otherwise.
func DefaultStateDir() string { return defaultStateDir() }

// Prefix begins the name of every setting in environment and file.
const Prefix = "SENTINEL_AGENT_"

// Setting is one line of the description.
type Setting struct {
	Key     string // without Prefix
	Flag    string
	Default string // as text; "" for none
	About   string // one sentence

	read func(*Config, string) error // its text says what to write instead, and never quotes the value
}

// Env is the setting's name in the environment and in the settings file.
func (s Setting) Env() string { return Prefix + s.Key }

// Settings lists every setting there is.
func Settings() []Setting {
	return []Setting{
		{Key: "STATE_DIR", Flag: "state-dir", Default: defaultStateDir(), About: "directory of the device's key, certificate and journal", read: readStateDir},
		{Key: "LOG_LEVEL", Flag: "log-level", Default: "info", About: "least severity logged: debug, info, warn or error", read: readLogLevel},
		{Key: "LOG_FORMAT", Flag: "log-format", Default: "json", About: "form of log lines on standard error: json or text", read: readLogFormat},
		{Key: "PROXY", Flag: "proxy", About: "HTTP proxy to the server, such as http://proxy.example:3128 (HTTP_PROXY is not looked at)", read: readProxy},
		{Key: "MIN_INTERVAL", Flag: "min-interval", Default: "5s", About: "shortest time between heartbeats that the server may ask for, 1s to 1h", read: readMinInterval},
		{Key: "SERVER", Flag: "server", About: "address of the server's machine listener, such as https://sentinel.example:8443", read: readServer},
		{Key: "TPM", Flag: "tpm", Default: tpm.Auto, About: "TPM that vouches for the device: auto, off, or the path of a device or socket", read: readTPM},
		{Key: "KEY_IN", Flag: "key-in", Default: "file", About: "where new keys of the device are made: file or tpm", read: readKeyIn},
		{Key: "DEVICE_ID", Flag: "device-id", About: "name of this device; without it the host name is used if it is fit", read: readDeviceID},
		{Key: "CA_FINGERPRINT", Flag: "ca-fingerprint", About: "SHA-256 of the server's CA certificate in hex, " + AsPrinted, read: readDigest(func(c *Config) *string { return &c.CAFingerprint })},
		{Key: "FLEET_ROOT", Flag: "fleet-root", About: "SHA-256 of the first fleet root in hex; without it the server's own is trusted on first use", read: readDigest(func(c *Config) *string { return &c.FleetRoot })},
		{Key: "CERTIFICATE_FILE", Flag: "certificate-file", About: "certificate of another authority for this device, with its chain, in PEM; the server's own authority issues none then", read: readFilePath(func(c *Config) *string { return &c.CertificateFile })},
		{Key: "KEY_FILE", Flag: "key-file", About: "private key of that certificate (ECDSA P-256, PEM, mode 0600)", read: readFilePath(func(c *Config) *string { return &c.KeyFile })},
		{Key: "TOKEN", Flag: "token", About: "enrollment token; - reads it from standard input", read: readToken},
	}
}

// The groups of settings that subcommands take as flags.
var (
	Everywhere = []string{"STATE_DIR"}
	Logging    = []string{"LOG_LEVEL", "LOG_FORMAT"}
	Connecting = []string{"SERVER", "PROXY"}
	Enrolling  = []string{"DEVICE_ID", "CA_FINGERPRINT", "FLEET_ROOT", "TOKEN"}
	Running    = []string{"MIN_INTERVAL"}
	Hardware   = []string{"TPM", "KEY_IN"}
	Outside    = []string{"CERTIFICATE_FILE", "KEY_FILE"}
)
