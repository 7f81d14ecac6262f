package proxy

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The headers of the proxy's word.
const (
	HeaderVerify  = "X-SSL-Client-Verify"  // SUCCESS, NONE, or why not, as NGINX's $ssl_client_verify
	HeaderEscaped = "X-SSL-Client-Cert"    // PEM, escaped as NGINX's $ssl_client_escaped_cert
	HeaderCert    = "Client-Cert"          // RFC 9440 section 2.2
	HeaderChain   = "Client-Cert-Chain"    // RFC 9440 section 2.3: never used, since issuers are known
	HeaderAddress = "X-Sentinel-Client"    // the client's address
	HeaderSecret  = "X-Sentinel-Proxy-Key" // what the proxy proves itself by on an address
	HeaderLists   = "X-Sentinel-Lists-End" // when the first of its revocation lists ends, in seconds since 1970; it may be missing
)

// Headers are the names of all of them: whoever clears them for the proxy clears these.
var Headers = []string{HeaderVerify, HeaderEscaped, HeaderCert, HeaderChain, HeaderAddress, HeaderSecret, HeaderLists}

// What the proxy says of its own verification.
const (
	verified = "SUCCESS"
	noneSeen = "NONE"
	// Verified but for the dates, as OpenSSL says it.
	ended    = "FAILED:certificate has expired"
	notBegun = "FAILED:certificate is not yet valid"
)

// maxCertificate is the longest certificate that is read, in octets: those of other
// authorities say more than ours. Who judges them has the limits of each.
const maxCertificate = 8 << 10

// maxValue bounds one header's value: a certificate of that length, escaped at its worst.
const maxValue = 3 * 2 * maxCertificate

// maxEnd is the last second that a list may end at: that of the year 9999, as in
// certificates (RFC 5280 section 4.1.2.5).
const maxEnd = 253402300799

// ErrWord says that the proxy's word is not in order: what it says is missing, said
// twice, or cannot be read.
var ErrWord = errors.New("what the proxy says of the client cannot be read")

// word is what a proxy says of a request.
type word struct {
	certificate *x509.Certificate // nil: the client showed none
	address     netip.Addr
	lists       time.Time // zero: it does not say
}

// Speaks reports whether a request carries any of the headers.
func Speaks(h http.Header) bool {
	for _, name := range Headers {
		if _, ok := h[http.CanonicalHeaderKey(name)]; ok {
			return true
		}
	}
	return false
}

// read takes the proxy's word about a device from a request's headers and removes it.
func read(h http.Header, now time.Time) (word, error) {
	said, err := take(h)
	if err != nil {
		return word{}, err
	}
	w, err := common(said)
	if err != nil {
		return word{}, err
	}
	verdict, escaped, rfc := said[HeaderVerify], said[HeaderEscaped], said[HeaderCert]
	switch {
	case escaped != "" && rfc != "":
		return word{}, fmt.Errorf("%w: the certificate is there in two forms", ErrWord)
	case verdict == noneSeen && escaped == "" && rfc == "":
		return w, nil
	case verdict != verified && verdict != ended && verdict != notBegun:
		return word{}, fmt.Errorf("%w: it did not verify the certificate", ErrWord)
	case escaped != "":
		w.certificate, err = parseEscaped(escaped)
	case rfc != "":
		w.certificate, err = parseSequence(rfc)
	default:
		return word{}, fmt.Errorf("%w: it verified a certificate that is not there", ErrWord)
	}
	switch {
	case err != nil:
		return word{}, err
	case verdict == ended && !now.After(w.certificate.NotAfter), verdict == notBegun && !now.Before(w.certificate.NotBefore):
		return word{}, fmt.Errorf("%w: it did not verify a certificate that is in date here; its clock and this one differ", ErrWord)
	}
	return w, nil
}

// readPeople is read for a listener on which nobody shows a certificate.
func readPeople(h http.Header) (word, error) {
	said, err := take(h)
	if err != nil {
		return word{}, err
	}
	for _, name := range []string{HeaderVerify, HeaderEscaped, HeaderCert, HeaderChain} {
		if _, ok := said[name]; ok {
			return word{}, fmt.Errorf("%w: %s is not for people", ErrWord, name)
		}
	}
	return common(said)
}

// take removes the headers, and returns the one value of each that is there.
func take(h http.Header) (map[string]string, error) {
	said := map[string]string{}
	var wrong error
	for _, name := range Headers {
		values := h.Values(name)
		switch {
		case len(values) > 1:
			wrong = fmt.Errorf("%w: %s is there twice", ErrWord, name)
		case len(values) == 1 && len(values[0]) > maxValue:
			wrong = fmt.Errorf("%w: %s is too long", ErrWord, name)
		case len(values) == 1:
			said[name] = values[0]
		}
		h.Del(name)
	}
	return said, wrong
}

// common reads what is said of everybody.
func common(said map[string]string) (w word, err error) {
	if w.address, err = netip.ParseAddr(said[HeaderAddress]); err != nil {
		return word{}, fmt.Errorf("%w: %s is no address", ErrWord, HeaderAddress)
	}
	w.address = w.address.Unmap().WithZone("")
	if text, ok := said[HeaderLists]; ok {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n <= 0 || n > maxEnd {
			return word{}, fmt.Errorf("%w: %s is no time", ErrWord, HeaderLists)
		}
		w.lists = time.Unix(n, 0)
	}
	return w, nil
}

// parseEscaped reads exactly one certificate in PEM, escaped for a URL.
func parseEscaped(value string) (*x509.Certificate, error) {
	text, err := url.PathUnescape(value) // a plus is a plus in PEM
	if err != nil {
		return nil, fmt.Errorf("%w: the certificate is not escaped", ErrWord)
	}
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0:
		return nil, fmt.Errorf("%w: the certificate is no PEM", ErrWord)
	case len(bytes.TrimSpace(rest)) > 0 || !strings.HasPrefix(text, "-----BEGIN CERTIFICATE-----"):
		return nil, fmt.Errorf("%w: there is more than a certificate", ErrWord)
	}
	return parse(block.Bytes)
}

// parseSequence reads a byte sequence of RFC 9651 section 3.3.5, as RFC 9440 sends it.
func parseSequence(value string) (*x509.Certificate, error) {
	body, ok := strings.CutPrefix(strings.Trim(value, " "), ":")
	if ok {
		body, ok = strings.CutSuffix(body, ":")
	}
	der, err := base64.StdEncoding.Strict().DecodeString(body)
	if !ok || err != nil || strings.ContainsAny(body, "\r\n") {
		return nil, fmt.Errorf("%w: the certificate is no byte sequence", ErrWord)
	}
	return parse(der)
}

func parse(der []byte) (*x509.Certificate, error) {
	if len(der) > maxCertificate {
		return nil, fmt.Errorf("%w: the certificate is too long", ErrWord)
	}
	c, err := x509.ParseCertificate(der) // refuses what is behind it
	if err != nil {
		return nil, fmt.Errorf("%w: the certificate cannot be read", ErrWord)
	}
	return c, nil
}
