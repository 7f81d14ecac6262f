package evidence

import "encoding/binary"

// reader takes big-endian fields off its front. Once something is missing it stays
// bad and gives zeroes.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if r.bad || len(r.rest) < n {
		r.bad = true
		return make([]byte, min(n, 8)) // what reads a number finds as many bytes as it needs
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) u8() uint8   { return r.take(1)[0] }
func (r *reader) u16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }

// sized is a TPM2B: a length of two bytes, then as many.
func (r *reader) sized() []byte { return r.take(int(r.u16())) }

// done reports whether everything was there and nothing is left.
func (r *reader) done() bool { return !r.bad && len(r.rest) == 0 }
