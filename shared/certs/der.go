package certs

import (
	"encoding/asn1"
	"errors"
)

// tlv writes one DER value (X.690 section 10.1) of up to 65535 bytes. It exists
// so that what is expected is written down independently of the library that
// writes certificates.
func tlv(tag byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	var out []byte
	switch {
	case n < 0x80:
		out = []byte{tag, byte(n)}
	case n < 0x100:
		out = []byte{tag, 0x81, byte(n)}
	default:
		out = []byte{tag, 0x82, byte(n >> 8), byte(n)}
	}
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// children splits a SEQUENCE that fills der exactly into its elements.
func children(der []byte) ([]asn1.RawValue, error) {
	var outer asn1.RawValue
	rest, err := asn1.Unmarshal(der, &outer)
	if err != nil || len(rest) > 0 || outer.Class != asn1.ClassUniversal || outer.Tag != asn1.TagSequence || !outer.IsCompound {
		return nil, errors.New("not one DER sequence")
	}
	var list []asn1.RawValue
	for inner := outer.Bytes; len(inner) > 0; {
		var v asn1.RawValue
		if inner, err = asn1.Unmarshal(inner, &v); err != nil {
			return nil, errors.New("not DER")
		}
		list = append(list, v)
	}
	return list, nil
}
