package preflight

import (
	"slices"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
)

// signerChecks are about keys that are not files.
func signerChecks() []Check {
	return []Check{{
		ID: "keys.external-signers", Weight: Must, Title: "What signs in the place of a file is named exactly",
		Why: "A key that the server can only use cannot be copied from it.", Change: "name a source that works; see docs/signers.md",
		Settings: []string{
			"SENTINEL_SIGNER_COMMAND", "SENTINEL_SIGNER_COMMAND_PREVIOUS", "SENTINEL_SIGNER_DEVICE_CA", "SENTINEL_SIGNER_DEVICE_CA_PREVIOUS",
			"SENTINEL_SIGNER_SERVER_CA", "SENTINEL_SIGNER_SERVER_CA_PREVIOUS", "SENTINEL_SIGNER_TIMEOUT",
		},
		Rule: func(f *Facts) Verdict {
			var used []string
			for what, source := range map[string]config.KeySource{
				"commands": f.Config.SignerCommand, "the device authority": f.Config.SignerDeviceCA, "the server authority": f.Config.SignerServerCA,
			} {
				if source.Kind == config.FromProgram {
					used = append(used, what)
				}
			}
			if used == nil {
				return pass("each is in a file, or sealed in the database")
			}
			slices.Sort(used)
			return pass("of %s", strings.Join(used, ", "))
		},
	}}
}
