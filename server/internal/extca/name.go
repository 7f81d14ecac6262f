package extca

import (
	"crypto/x509"
	encoding "encoding/asn1"
	"errors"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// NameKind is the kind of name that holds the device_id.
type NameKind string

// The kinds.
const (
	CommonName NameKind = "cn"
	DNSName    NameKind = "dns"
	URIName    NameKind = "uri"
)

// Placeholder stands for the device_id in a pattern.
const Placeholder = "{device_id}"

// ErrPattern says that a pattern of names is none.
var ErrPattern = errors.New("a pattern of names holds " + Placeholder + " exactly once, and fits its kind")

// The tags of names in a subjectAltName (RFC 5280 section 4.2.1.6).
const (
	tagDNS = 2
	tagURI = 6
)

var (
	oidCommonName     = encoding.ObjectIdentifier{2, 5, 4, 3}
	oidSubjectAltName = encoding.ObjectIdentifier{2, 5, 29, 17}
)

// pattern is the text around the device_id.
type pattern struct{ before, after string }

// parsePattern reads a pattern of a kind; the common name is the device_id itself.
func parsePattern(kind NameKind, text string) (pattern, error) {
	if text == "" {
		text = Placeholder
	}
	before, after, ok := strings.Cut(text, Placeholder)
	printable := !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f })
	switch {
	case !ok || strings.Contains(after, Placeholder) || !printable || len(text) > 255:
		return pattern{}, ErrPattern
	case kind == CommonName && text != Placeholder:
		return pattern{}, ErrPattern
	case kind == URIName && !strings.Contains(before, "://"): // a device_id must not become a scheme
		return pattern{}, ErrPattern
	case kind == DNSName && (strings.ToLower(text) != text || before != "" && !strings.HasSuffix(before, ".") || after != "" && !strings.HasPrefix(after, ".")):
		return pattern{}, ErrPattern
	}
	return pattern{before, after}, nil
}

// deviceID is what the placeholder stands for in a name. Bytes are compared: there is
// one spelling, without case folding, escapes and trailing dots.
func (p pattern) deviceID(name string) (string, bool) {
	if len(name) < len(p.before)+len(p.after) || !strings.HasPrefix(name, p.before) || !strings.HasSuffix(name, p.after) {
		return "", false
	}
	id := name[len(p.before) : len(name)-len(p.after)]
	return id, protocol.CheckDeviceID(id) == nil
}

// names lists the names of a kind that a certificate bears, as they stand in it.
func names(c *x509.Certificate, kind NameKind) []string {
	switch kind {
	case CommonName:
		return commonNames(c)
	case DNSName:
		return altNames(c, tagDNS)
	case URIName:
		return altNames(c, tagURI)
	}
	return nil
}

func commonNames(c *x509.Certificate) (list []string) {
	for _, a := range c.Subject.Names {
		if a.Type.Equal(oidCommonName) {
			text, _ := a.Value.(string)
			list = append(list, text) // what is no text is a name all the same: ""
		}
	}
	return list
}

// altNames reads the extension itself: x509 passes over names that it cannot read, and
// rewrites URIs.
func altNames(c *x509.Certificate, tag uint8) (list []string) {
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidSubjectAltName) {
			continue
		}
		var all, one cryptobyte.String
		in := cryptobyte.String(e.Value)
		if !in.ReadASN1(&all, asn1.SEQUENCE) || !in.Empty() {
			return nil
		}
		for !all.Empty() {
			var read asn1.Tag
			if !all.ReadAnyASN1(&one, &read) {
				return nil
			}
			switch read {
			case asn1.Tag(tag).ContextSpecific():
				list = append(list, string(one))
			case asn1.Tag(tag).ContextSpecific().Constructed(): // a string in pieces, which is BER: others may read a name in it
				return nil
			}
		}
	}
	return list
}
