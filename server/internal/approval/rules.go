package approval

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"slices"
	"time"
)

// State is where a request stands; see the package's documentation.
type State string

// The states.
const (
	Open     State = "open"
	Approved State = "approved"
	Executed State = "executed"
	Rejected State = "rejected"
	Expired  State = "expired"
	Void     State = "void"
)

// Refusals of a vote.
var (
	ErrUnknown  = errors.New("there is no such request")
	ErrClosed   = errors.New("the request is decided already")
	ErrExpired  = errors.New("the request's time is over")
	ErrDigest   = errors.New("what was shown is not what is asked for")
	ErrOwn      = errors.New("nobody decides on what they asked for")
	ErrVoted    = errors.New("this person has voted already")
	ErrNoReason = errors.New("a decision needs a reason")
	ErrNotVoter = errors.New("this account may not decide on this request")
	ErrVoid     = errors.New("what the request rested on has changed, so it is void: ask again")
	ErrFresh    = errors.New("approving needs a fresh sign-in: sign in again, then repeat it")
	ErrFew      = errors.New("too few of those who approved may still do so")
)

// Digest is what votes are bound to: lower-case hex of SHA-256.
func Digest(action []byte) string {
	sum := sha256.Sum256(action)
	return hex.EncodeToString(sum[:])
}

// Vote is one person's decision.
type Vote struct {
	Person    string
	AccountID string
	Approve   bool
	Digest    string // of the action that the person was shown
	Reason    string
}

// judge says whether a vote may be cast, given the request and the persons who
// voted before.
func judge(r *Request, before []string, v Vote, now time.Time) error {
	switch {
	case r.State == Expired || r.State == Open && r.InTime(now) != nil:
		return ErrExpired
	case r.State != Open:
		return ErrClosed
	case subtle.ConstantTimeCompare([]byte(v.Digest), []byte(r.Digest)) != 1 || Digest(r.Action) != r.Digest:
		return ErrDigest
	case v.Reason == "":
		return ErrNoReason
	case v.Person == "" || v.Person == r.Requester:
		return ErrOwn
	case v.Approve && v.Person == r.Excluded: // rejecting protects, and is anyone's
		return ErrOwn
	}
	if slices.Contains(before, v.Person) {
		return ErrVoted
	}
	return nil
}

// notVoter is why somebody who may not vote on the request may not: no right would help
// with one's own.
func (r *Request) notVoter(person string, approve bool) error {
	if person != "" && (person == r.Requester || approve && person == r.Excluded) {
		return ErrOwn
	}
	return ErrNotVoter
}

// InTime is ErrExpired from the request's end on.
func (r *Request) InTime(now time.Time) error {
	if !now.Before(r.ExpiresAt.Time()) {
		return ErrExpired
	}
	return nil
}

// tally is whose approvals count, each person once, and which votes do not stand
// any more: their account was disabled, lost the right, or is another person's now.
func tally(r *Request, cast []voteRow, persons map[string]string) (standing, struck []string) {
	for i := range cast {
		v := &cast[i]
		switch {
		case !v.Approve || v.StruckAt != 0:
		case persons[v.AccountID] != v.Person:
			struck = append(struck, v.Person)
		case v.Person != r.Requester && v.Person != r.Excluded && !slices.Contains(standing, v.Person):
			standing = append(standing, v.Person)
		}
	}
	return standing, struck
}

// outcome is the state after a vote, with the number of approvals including it.
func outcome(r *Request, v Vote, approvals int) State {
	switch {
	case !v.Approve:
		return Rejected
	case approvals >= r.Required:
		return Approved
	}
	return Open
}
