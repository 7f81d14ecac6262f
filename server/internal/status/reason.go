package status

import "strings"

// Reason is why a certificate was revoked (RFC 5280 section 5.3.1).
type Reason int

// The reasons in use. A hold is none of them: what is revoked here stays so.
const (
	Unspecified          Reason = 0
	KeyCompromise        Reason = 1
	CACompromise         Reason = 2
	AffiliationChanged   Reason = 3
	Superseded           Reason = 4
	CessationOfOperation Reason = 5
	PrivilegeWithdrawn   Reason = 9
	AACompromise         Reason = 10
)

// words are the reasons as people write them, in lower case: by the RFC's names,
// and by the server's own words for what it ends itself.
var words = map[string]Reason{
	"unspecified":          Unspecified,
	"keycompromise":        KeyCompromise,
	"cacompromise":         CACompromise,
	"affiliationchanged":   AffiliationChanged,
	"superseded":           Superseded,
	"cessationofoperation": CessationOfOperation,
	"privilegewithdrawn":   PrivilegeWithdrawn,
	"aacompromise":         AACompromise,
	"unused":               CessationOfOperation,
	"restored":             CessationOfOperation,
}

// ReasonOf is the reason that a text begins with, alone or before a colon, such as
// "keyCompromise: laptop stolen"; any other text is Unspecified. It comes from the
// text, not from a field beside it, since the text is what a journal replays after
// a restore.
func ReasonOf(text string) Reason {
	word, _, _ := strings.Cut(text, ":")
	return words[strings.ToLower(strings.TrimSpace(word))]
}

// known reports whether a reason is one that may be said.
func (r Reason) known() bool {
	for _, w := range words {
		if w == r {
			return true
		}
	}
	return false
}
