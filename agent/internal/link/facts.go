package link

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Tidy leaves out facts that the server would refuse the whole heartbeat for.
func Tidy(facts protocol.Facts) protocol.Facts {
	kept := maps.Clone(facts)
	maps.DeleteFunc(kept, func(k, v string) bool { return v == "" || protocol.Facts{k: v}.Check() != nil })
	return kept
}

// digest tells whether facts changed since they were accepted.
func digest(facts protocol.Facts) string {
	data, err := json.Marshal(facts) // keys are sorted
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
