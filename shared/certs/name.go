package certs

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
)

// ErrTrustDomain says that a trust domain has not the form allowed.
var ErrTrustDomain = errors.New("trust domain must be a host name in lower case, such as fleet.example.org, and not an IP address")

// CheckTrustDomain accepts host names of at most 253 characters whose labels are
// a-z, 0-9 and inner '-'. That is narrower than SPIFFE allows (SPIFFE-ID section
// 2.1, which has '_'), since a URI name constraint is a host name (RFC 5280
// section 4.2.1.10).
func CheckTrustDomain(d string) error {
	if _, err := netip.ParseAddr(d); err == nil || !validHost(d) {
		return ErrTrustDomain
	}
	return nil
}

func validHost(d string) bool {
	if d == "" || len(d) > 253 {
		return false
	}
	for label := range strings.SplitSeq(d, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			c := label[i]
			hyphen := c == '-' && i > 0 && i < len(label)-1
			if !hyphen && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
				return false
			}
		}
	}
	return true
}

// DeviceURI is the one URI that names a device (a SPIFFE ID). Its parts must have
// passed CheckTrustDomain and protocol.CheckDeviceID.
func DeviceURI(trustDomain, deviceID string) string {
	return "spiffe://" + trustDomain + "/device/" + deviceID
}

const (
	tagUTF8String      = 0x0c
	tagPrintableString = 0x13
)

// commonName is the DER of a name with a single attribute, the common name (RFC
// 5280 section 4.1.2.4).
func commonName(tag byte, value string) []byte {
	oid := []byte{0x06, 0x03, 0x55, 0x04, 0x03} // 2.5.4.3
	return tlv(0x30, tlv(0x31, tlv(0x30, oid, tlv(tag, []byte(value)))))
}

// namesOnly says whether a DER name is the common name value and nothing else,
// in one of the two encodings in use. Comparing bytes leaves no parser to fool.
func namesOnly(raw []byte, value string) bool {
	if bytes.Equal(raw, commonName(tagUTF8String, value)) {
		return true
	}
	printable := !strings.Contains(value, "_") // the one character of a device_id that PrintableString has not
	return printable && bytes.Equal(raw, commonName(tagPrintableString, value))
}

// deviceSAN is the value of a device's subjectAltName: one URI, tag 6 (RFC 5280
// section 4.2.1.6).
func deviceSAN(uri string) []byte { return tlv(0x30, tlv(0x86, []byte(uri))) }
