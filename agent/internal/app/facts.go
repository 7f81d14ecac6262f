package app

import (
	"maps"
	"os"
	"runtime"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/attest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Facts are what this device says of itself. A fact that cannot be had is left
// out.
func Facts() protocol.Facts {
	facts := protocol.Facts{"os": runtime.GOOS, "arch": runtime.GOARCH}
	if name, err := os.Hostname(); err == nil {
		facts["hostname"] = name
	}
	addSystem(facts)
	maps.Copy(facts, attest.Posture())
	return facts
}
