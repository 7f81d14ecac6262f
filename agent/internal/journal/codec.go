package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

const (
	// format is the one that is written. 1 had no slots, renewals, commands or
	// earlier bundles, 2 no times of commands; what they say means the same.
	format  = 3
	oldest  = 1
	maxSize = 64 << 10 // a full journal has about 8 KiB
)

// onDisk is the file. The sum is no defence against whoever may write here; it
// tells a flipped bit or an edited counter from what the agent wrote.
type onDisk struct {
	Format int             `json:"format"`
	Sum    string          `json:"sum"` // SHA-256 of State as it stands here, lower-case hex
	State  json.RawMessage `json:"state"`
}

func encode(s *State) ([]byte, error) { return encodeAs(s, format) }

func encodeAs(s *State, format int) ([]byte, error) {
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("write the journal: %w", err)
	}
	state, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write the journal: %w", err)
	}
	data, err := json.Marshal(onDisk{Format: format, Sum: sum(state), State: state})
	if err != nil {
		return nil, fmt.Errorf("write the journal: %w", err)
	}
	return append(data, '\n'), nil
}

// decode reads what encode wrote, and nothing else.
func decode(data []byte) (*State, error) {
	if len(data) > maxSize {
		return nil, fmt.Errorf("%w: too long", ErrDamaged)
	}
	// The format first: a newer one may have members that are not known here.
	var probe struct {
		Format int `json:"format"`
	}
	if err := protocol.DecodeTolerant(data, &probe); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if probe.Format > format {
		return nil, fmt.Errorf("%w (format %d, this one knows %d)", ErrNewer, probe.Format, format)
	}
	var file onDisk
	if err := protocol.Decode(data, &file); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if file.Format < oldest || file.Sum != sum(file.State) {
		return nil, fmt.Errorf("%w: it is not as the agent wrote it", ErrDamaged)
	}
	var s State
	if err := protocol.Decode(file.State, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	// A file that says the same in other words was written by someone else.
	if again, err := encodeAs(&s, file.Format); err != nil || !bytes.Equal(again, data) {
		return nil, fmt.Errorf("%w: it is not as the agent wrote it", ErrDamaged)
	}
	return &s, nil
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
