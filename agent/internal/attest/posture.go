package attest

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"sync"
)

// Posture are the facts about the machine's protection and this program, as the agent
// sees them once, when it starts. A fact that cannot be had is left out.
var Posture = sync.OnceValue(func() map[string]string {
	facts := map[string]string{}
	addPosture(facts)
	if digest := ownDigest(); digest != "" {
		facts["agent_sha256"] = digest
	}
	return facts
})

// ownDigest is the SHA-256 of this program's file.
func ownDigest() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}
