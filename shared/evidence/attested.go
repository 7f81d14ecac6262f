package evidence

import (
	"crypto/sha256"
)

// What an attested structure begins with (TPM 2.0 Part 2, sections 6.2 and 6.9).
// Restricted keys never sign anything else that begins so.
const (
	generated   = 0xFF544347
	tagCertify  = 0x8017
	tagQuote    = 0x8018
	selectBytes = 3 // of a selection of PCRs 0 to 23
)

// MaxPCR is the highest PCR that is asked for: the ones above are not every TPM's.
const MaxPCR = 23

// MaxAttested is above any attested structure that is taken: under 300 bytes.
const MaxAttested = 1024

// Quote is what a TPM says of its PCRs.
type Quote struct {
	Data   []byte // the qualifying data
	PCRs   []int  // which, ascending
	Digest []byte // over their values, see PCRDigest
	Resets uint32 // how often the TPM was started anew
}

// Certification is what a TPM says of a key that it holds.
type Certification struct {
	Data []byte // the qualifying data
	Name []byte // of the key
}

// ParseQuote reads the bytes of a TPMS_ATTEST that is a quote (TPM 2.0 Part 2, section
// 10.12.8). Their signature is checked before.
func ParseQuote(attested []byte) (*Quote, error) {
	r := reader{rest: attested}
	data, resets, ok := r.attest(tagQuote)
	count, bank, size := r.u32(), r.u16(), r.u8()
	if !ok || count != 1 || bank != algSHA256 || size != selectBytes {
		return nil, ErrQuote
	}
	selected := r.take(selectBytes)
	q := &Quote{Data: data, Resets: resets, Digest: r.sized()}
	if !r.done() || len(q.Digest) != sha256.Size {
		return nil, ErrQuote
	}
	for i := range MaxPCR + 1 {
		if selected[i/8]&(1<<(i%8)) != 0 {
			q.PCRs = append(q.PCRs, i)
		}
	}
	return q, nil
}

// ParseCertification reads the bytes of a TPMS_ATTEST about a key (TPM 2.0 Part 2,
// section 10.12.3). Their signature is checked before.
func ParseCertification(attested []byte) (*Certification, error) {
	r := reader{rest: attested}
	data, _, ok := r.attest(tagCertify)
	c := &Certification{Data: data, Name: r.sized()}
	r.sized() // the qualified name says under which parents the key lies
	if !ok || !r.done() {
		return nil, ErrCertification
	}
	return c, nil
}

// attest reads what every attested structure begins with.
func (r *reader) attest(tag uint16) (data []byte, resets uint32, ok bool) {
	ok = r.u32() == generated && r.u16() == tag
	r.sized() // the qualified name of the key that signed: the signature says it better
	data = r.sized()
	r.take(8) // the clock
	resets = r.u32()
	r.u32()        // restarts
	safe := r.u8() // whether the clock may have gone back: yes or no
	r.take(8)      // the firmware's version
	return data, resets, ok && safe <= 1 && !r.bad
}
