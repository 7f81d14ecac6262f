package admin

import (
	"strconv"
	"time"
)

// NoticeKind is a sort of thing that an owner is told.
type NoticeKind string

// What an owner is told at the next sign-in.
const (
	NoticeFailedSignIns   NoticeKind = "failed-sign-ins"
	NoticeFailedCodes     NoticeKind = "failed-codes"
	NoticeFactorAdded     NoticeKind = "factor-added"
	NoticeFactorRemoved   NoticeKind = "factor-removed"
	NoticeFactorsReset    NoticeKind = "factors-reset"
	NoticeRecoveryMade    NoticeKind = "recovery-codes-made"
	NoticeRecoveryUsed    NoticeKind = "recovery-code-used"
	NoticePasskeyCloned   NoticeKind = "passkey-cloned"
	NoticeAccountChanged  NoticeKind = "account-changed"
	NoticePasswordChanged NoticeKind = "password-changed"
	NoticeBreakGlass      NoticeKind = "break-glass"
)

// Notice is one thing that happened to an account.
type Notice struct {
	At     time.Time
	Kind   NoticeKind
	Detail string
	Source string // "" when it was not the account's own doing
}

// howMany is a number with its noun, which takes an s.
func howMany(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

const (
	maxNotices  = 50
	keepNotices = 90 * 24 * time.Hour
)
