package admin

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
)

// The code generator is that of RFC 6238 with what every authenticator app
// understands: SHA-1, six digits, half a minute.
const (
	totpPeriod    = 30
	totpSecret    = 20 // bytes; RFC 4226 section 4, R6
	defaultIssuer = "Sentinel Secure X"
)

var totpOptions = hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1}

var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

// TOTPSetup is what an authenticator app is given, once.
type TOTPSetup struct {
	Secret string // base32
	URI    string // otpauth, for a QR code
}

func newTOTPSecret() []byte {
	secret := make([]byte, totpSecret)
	rand.Read(secret)
	return secret
}

// issuer is how people's authenticators show this server.
func (s *Service) issuer() string {
	if s.settings.FleetName != "" {
		return s.settings.FleetName
	}
	return defaultIssuer
}

func setupOf(secret []byte, issuer, account string) TOTPSetup {
	text := base32Text.EncodeToString(secret)
	q := url.Values{"secret": {text}, "issuer": {issuer}, "algorithm": {"SHA1"}, "digits": {"6"}, "period": {"30"}}
	label := url.PathEscape(issuer) + ":" + url.PathEscape(account)
	return TOTPSetup{Secret: text, URI: "otpauth://totp/" + label + "?" + strings.ReplaceAll(q.Encode(), "+", "%20")}
}

// totpDigits is the one spelling of a code: people type and paste spaces.
func totpDigits(code string) (string, bool) {
	if len(code) > 32 {
		return "", false
	}
	code = strings.Join(strings.Fields(code), "")
	if len(code) != totpOptions.Digits.Length() {
		return "", false
	}
	for _, c := range []byte(code) {
		if c < '0' || c > '9' {
			return "", false
		}
	}
	return code, true
}

// totpStep is the step that a code belongs to: the present one, or the one before
// or after it (RFC 6238 section 5.2). Every candidate is computed, so that the time
// that it takes does not say which it was.
func totpStep(secret []byte, digits string, now time.Time) (int64, error) {
	present := now.Unix() / totpPeriod
	found := int64(0)
	for step := present - 1; step <= present+1; step++ {
		want, err := hotp.GenerateCodeCustom(base32Text.EncodeToString(secret), uint64(step), totpOptions)
		if err != nil {
			return 0, errors.Join(ErrCode, err)
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(digits)) == 1 {
			found = step
		}
	}
	if found == 0 {
		return 0, ErrCode
	}
	return found, nil
}
