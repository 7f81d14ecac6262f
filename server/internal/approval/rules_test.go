package approval

import (
	"errors"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// APR-01, APR-02, APR-04, APR-06
func TestAVoteCountsOnlyWhileEverythingHolds(t *testing.T) {
	t.Parallel()
	action := []byte(`{"type":"enrollment","device_id":"edge-1"}`)
	end := db.At(noon.Add(time.Hour))
	for name, c := range map[string]struct {
		change func(r *Request, v *Vote)
		before []string
		now    time.Time
		want   error
	}{
		"all is right":                       {now: noon},
		"others voted before":                {before: []string{"bob", "carol"}, now: noon},
		"a microsecond before the end":       {now: noon.Add(time.Hour - time.Microsecond)},
		"at the end":                         {now: noon.Add(time.Hour), want: ErrExpired},
		"a microsecond after the end":        {now: noon.Add(time.Hour + time.Microsecond), want: ErrExpired},
		"it is written down as expired":      {func(r *Request, _ *Vote) { r.State = Expired }, nil, noon, ErrExpired},
		"it is approved":                     {func(r *Request, _ *Vote) { r.State = Approved }, nil, noon, ErrClosed},
		"it is executed":                     {func(r *Request, _ *Vote) { r.State = Executed }, nil, noon, ErrClosed},
		"it is rejected":                     {func(r *Request, _ *Vote) { r.State = Rejected }, nil, noon, ErrClosed},
		"it is void":                         {func(r *Request, _ *Vote) { r.State = Void }, nil, noon, ErrClosed},
		"a state that nobody knows":          {func(r *Request, _ *Vote) { r.State = "ready" }, nil, noon, ErrClosed},
		"it is rejected, and its time over":  {func(r *Request, _ *Vote) { r.State = Rejected }, nil, noon.Add(2 * time.Hour), ErrClosed},
		"another digest":                     {func(_ *Request, v *Vote) { v.Digest = Digest([]byte("x")) }, nil, noon, ErrDigest},
		"no digest":                          {func(_ *Request, v *Vote) { v.Digest = "" }, nil, noon, ErrDigest},
		"the digest in upper case":           {func(_ *Request, v *Vote) { v.Digest = "A" + v.Digest[1:] }, nil, noon, ErrDigest},
		"an action that was changed":         {func(r *Request, _ *Vote) { r.Action = []byte("{}") }, nil, noon, ErrDigest},
		"action and digest changed together": {func(r *Request, _ *Vote) { r.Action = []byte("{}"); r.Digest = Digest(r.Action) }, nil, noon, ErrDigest},
		"no reason":                          {func(_ *Request, v *Vote) { v.Reason = "" }, nil, noon, ErrNoReason},
		"a rejection without a reason":       {func(_ *Request, v *Vote) { v.Reason, v.Approve = "", false }, nil, noon, ErrNoReason},
		"whoever asked":                      {func(r *Request, _ *Vote) { r.Requester = "alice" }, nil, noon, ErrOwn},
		"whoever asked, to reject":           {func(r *Request, v *Vote) { r.Requester, v.Approve = "alice", false }, nil, noon, ErrOwn},
		"whoever is excluded":                {func(r *Request, _ *Vote) { r.Excluded = "alice" }, nil, noon, ErrOwn},
		"whoever is excluded, by account 2":  {func(r *Request, v *Vote) { r.Excluded, v.AccountID = "alice", "a2" }, nil, noon, ErrOwn},
		"whoever is excluded, to reject":     {func(r *Request, v *Vote) { r.Excluded, v.Approve = "alice", false }, nil, noon, nil},
		"another person is excluded":         {func(r *Request, _ *Vote) { r.Excluded = "bob" }, nil, noon, nil},
		"nobody":                             {func(_ *Request, v *Vote) { v.Person = "" }, nil, noon, ErrOwn},
		"the same person again":              {nil, []string{"bob", "alice"}, noon, ErrVoted},
		"the same person by another account": {func(_ *Request, v *Vote) { v.AccountID = "a2" }, []string{"alice"}, noon, ErrVoted},
	} {
		r := &Request{Action: action, Digest: Digest(action), Requester: "device:edge-1", State: Open, ExpiresAt: end, Required: 1}
		v := Vote{Person: "alice", AccountID: "a1", Approve: true, Digest: Digest(action), Reason: "known"}
		if c.change != nil {
			c.change(r, &v)
		}
		if err := judge(r, c.before, v, c.now); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestOneRejectionEndsItAndEnoughApprovalsPass(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		required, approvals int
		approve             bool
		want                State
	}{
		{1, 1, true, Approved},
		{2, 1, true, Open},
		{2, 2, true, Approved},
		{3, 2, true, Open},
		{3, 4, true, Approved},
		{1, 0, false, Rejected},
		{2, 1, false, Rejected},
		{2, 2, false, Rejected},
	} {
		if got := outcome(&Request{Required: c.required, State: Open}, Vote{Approve: c.approve}, c.approvals); got != c.want {
			t.Errorf("%d of %d, approve %v: %s, want %s", c.approvals, c.required, c.approve, got, c.want)
		}
	}
}

func TestTheDigestIsLowerCaseHexOfSHA256(t *testing.T) {
	t.Parallel()
	// The vector of FIPS 180-2, appendix B.1.
	if got := Digest([]byte("abc")); got != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Fatal(got)
	}
}
