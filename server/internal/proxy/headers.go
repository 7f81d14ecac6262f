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
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// The headers of the proxy's word.
const (
	HeaderVerify  = "X-SSL-Client-Verify"  // SUCCESS, NONE, or why not
	HeaderEscaped = "X-SSL-Client-Cert"    // PEM, escaped as NGINX's $ssl_client_escaped_cert
	HeaderCert    = "Client-Cert"          // RFC 9440 section 2.2
	HeaderChain   = "Client-Cert-Chain"    // RFC 9440 section 2.3: never used, since issuers are known
	HeaderAddress = "X-Sentinel-Client"    // the device's address
	HeaderSecret  = "X-Sentinel-Proxy-Key" // what the proxy proves itself by on an address
)

var headers = []string{HeaderVerify, HeaderEscaped, HeaderCert, HeaderChain, HeaderAddress, HeaderSecret}

// maxValue bounds one header's value: a certificate of the greatest length that is
// read at all, escaped at its worst.
const maxValue = 3 * 2 * certs.MaxCertificate

// ErrWord says that the proxy's word is not in order: what it says is missing, said
// twice, or cannot be read.
var ErrWord = errors.New("what the proxy says of the client cannot be read")

// word is what a proxy says of a request.
type word struct {
	certificate *x509.Certificate // nil: the device showed none
	address     netip.Addr
}

// Speaks reports whether a request carries any of the headers.
func Speaks(h http.Header) bool {
	for _, name := range headers {
		if _, ok := h[http.CanonicalHeaderKey(name)]; ok {
			return true
		}
	}
	return false
}

// read takes the proxy's word from a request's headers and removes it.
func read(h http.Header) (word, error) {
	var w word
	defer func() {
		for _, name := range headers {
			h.Del(name)
		}
	}()
	said := map[string]string{}
	for _, name := range headers {
		values := h.Values(name)
		if len(values) > 1 {
			return w, fmt.Errorf("%w: %s is there twice", ErrWord, name)
		}
		if len(values) == 1 {
			if len(values[0]) > maxValue {
				return w, fmt.Errorf("%w: %s is too long", ErrWord, name)
			}
			said[name] = values[0]
		}
	}
	var err error
	if w.address, err = netip.ParseAddr(said[HeaderAddress]); err != nil {
		return w, fmt.Errorf("%w: %s is no address", ErrWord, HeaderAddress)
	}
	w.address = w.address.Unmap().WithZone("")
	escaped, rfc := said[HeaderEscaped], said[HeaderCert]
	switch verify := said[HeaderVerify]; {
	case escaped != "" && rfc != "":
		return w, fmt.Errorf("%w: the certificate is there in two forms", ErrWord)
	case verify == "NONE" && escaped == "" && rfc == "":
		return w, nil
	case verify != "SUCCESS":
		return w, fmt.Errorf("%w: it did not verify the certificate", ErrWord)
	case escaped != "":
		w.certificate, err = parseEscaped(escaped)
	case rfc != "":
		w.certificate, err = parseSequence(rfc)
	default:
		return w, fmt.Errorf("%w: it verified a certificate that is not there", ErrWord)
	}
	return w, err
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
	if len(der) > certs.MaxCertificate {
		return nil, fmt.Errorf("%w: the certificate is too long", ErrWord)
	}
	c, err := x509.ParseCertificate(der) // refuses what is behind it
	if err != nil {
		return nil, fmt.Errorf("%w: the certificate cannot be read", ErrWord)
	}
	return c, nil
}
