package journal

import (
	"crypto/rand"
	"fmt"
	"time"
)

// NewID makes a UUIDv7 (RFC 9562 section 5.7): the enrollment's id and the boot
// id. A wrong clock does no harm, 74 bits are random.
func NewID(now time.Time) string {
	var b [16]byte
	rand.Read(b[:]) // ends the process rather than fail
	ms := uint64(now.UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}
