package enroll

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestATokensTermsAreHeldToTheirLimits(t *testing.T) {
	t.Parallel()
	labels := func(n int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m["k"+string(rune('a'+i/26))+string(rune('a'+i%26))] = "v"
		}
		return m
	}
	for name, c := range map[string]struct {
		change func(n *NewToken)
		good   bool
	}{
		"the least":                    {func(n *NewToken) { n.Uses, n.Life = 1, time.Minute }, true},
		"the most":                     {func(n *NewToken) { n.Uses, n.Life, n.Labels = MaxTokenUses, MaxTokenLife, labels(MaxLabels) }, true},
		"a name for one device":        {func(n *NewToken) { n.DeviceName = "Edge one" }, true},
		"no use":                       {func(n *NewToken) { n.Uses = 0 }, false},
		"fewer than none":              {func(n *NewToken) { n.Uses = -1 }, false},
		"a use too many":               {func(n *NewToken) { n.Uses = MaxTokenUses + 1 }, false},
		"no life":                      {func(n *NewToken) { n.Life = 0 }, false},
		"a life below a minute":        {func(n *NewToken) { n.Life = time.Minute - 1 }, false},
		"a life over a year":           {func(n *NewToken) { n.Life = MaxTokenLife + 1 }, false},
		"one name for two devices":     {func(n *NewToken) { n.DeviceName, n.Uses = "Edge one", 2 }, false},
		"a note that forges a line":    {func(n *NewToken) { n.Note = "ok\nadmin approved" }, false},
		"a note that is long":          {func(n *NewToken) { n.Note = strings.Repeat("x", 201) }, false},
		"a name that steers terminals": {func(n *NewToken) { n.DeviceName = "a\x1b[2J" }, false},
		"an owner that is not UTF-8":   {func(n *NewToken) { n.Owner = "\xff" }, false},
		"a label too many":             {func(n *NewToken) { n.Labels = labels(MaxLabels + 1) }, false},
		"a label without a key":        {func(n *NewToken) { n.Labels = map[string]string{"": "v"} }, false},
		"a label in upper case":        {func(n *NewToken) { n.Labels = map[string]string{"Site": "v"} }, false},
		"a label of two lines":         {func(n *NewToken) { n.Labels = map[string]string{"site": "a\nb"} }, false},
		"a label that is long":         {func(n *NewToken) { n.Labels = map[string]string{"site": strings.Repeat("x", 201)} }, false},
	} {
		n := NewToken{Uses: 1, Life: time.Hour}
		c.change(&n)
		err := n.Check()
		if (err == nil) != c.good || err != nil && !errors.Is(err, ErrTokenTerms) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestATokenStandsWhereItsFirstFaultSays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		token    Token
		want     error
		standing string
	}{
		"fresh":                   {Token{MaxUses: 2, ExpiresAt: db.At(noon) + 1}, nil, "usable"},
		"one use left":            {Token{MaxUses: 2, Uses: 1, ExpiresAt: db.At(noon) + 1}, nil, "usable"},
		"used up":                 {Token{MaxUses: 2, Uses: 2, ExpiresAt: db.At(noon) + 1}, ErrTokenUsedUp, "used-up"},
		"at its end":              {Token{MaxUses: 2, ExpiresAt: db.At(noon)}, ErrTokenExpired, "expired"},
		"revoked":                 {Token{MaxUses: 2, ExpiresAt: db.At(noon) + 1, RevokedAt: 1}, ErrTokenRevoked, "revoked"},
		"revoked, over, used up":  {Token{MaxUses: 2, Uses: 2, ExpiresAt: db.At(noon), RevokedAt: 1}, ErrTokenRevoked, "revoked"},
		"without an end, forever": {Token{MaxUses: 2}, ErrTokenExpired, "expired"},
	} {
		if err := c.token.Usable(noon); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if got := c.token.Standing(noon); got != c.standing {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// ENR-09
func TestASecretIsLongRandomAndStoredAsAHash(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		s := newSecret()
		if !strings.HasPrefix(s, "sxe_") || len(s) != 4+43 || seen[s] {
			t.Fatalf("%q", s)
		}
		seen[s] = true
		if h := hash(s); len(h) != 32 || strings.Contains(string(h), s[4:12]) {
			t.Fatalf("%q is stored as %q", s, h)
		}
	}
	if string(hash("sxe_a\n")) != string(hash(" sxe_a")) || string(hash("sxe_a")) == string(hash("sxe_b")) {
		t.Error("spaces around a pasted secret count, or the secret does not")
	}
}

func TestAReviewIsNeededUnlessAWindowIsOpenAndForSensitiveAlways(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ required, open, sensitive, want bool }{
		{false, false, false, false},
		{false, true, false, false},
		{true, false, false, true},
		{true, true, false, false},
		{false, false, true, true},
		{false, true, true, true},
		{true, false, true, true},
		{true, true, true, true},
	} {
		if got := NeedsReview(c.required, c.open, c.sensitive); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestWhatWaitsOrIsApprovedEndsWithItsTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state protocol.EnrollState
		after time.Duration
		want  protocol.EnrollState
	}{
		{protocol.EnrollPending, -time.Microsecond, protocol.EnrollPending},
		{protocol.EnrollPending, 0, protocol.EnrollExpired},
		{protocol.EnrollApproved, -time.Microsecond, protocol.EnrollApproved},
		{protocol.EnrollApproved, 0, protocol.EnrollExpired},
		{protocol.EnrollIssued, time.Hour, protocol.EnrollIssued},
		{protocol.EnrollRejected, time.Hour, protocol.EnrollRejected},
	} {
		e := &Enrollment{State: c.state, ExpiresAt: db.At(noon)}
		if got := e.Live(noon.Add(c.after)); got != c.want {
			t.Errorf("%s, %v after its end: %s", c.state, c.after, got)
		}
	}
}

// ENR-06, APR-06: whatever a reviewer is shown is in the bytes, and the bytes
// are one for each content.
func TestEveryFieldOfAnActionIsInItsBytes(t *testing.T) {
	t.Parallel()
	base := Action{EnrollmentID: "e", DeviceID: "d", CSRDigest: "c", KeyCode: "k", Name: "n", Owner: "o", Labels: map[string]string{"a": "1", "b": "2"}}
	first, err := base.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"type":"enrollment","enrollment_id":"e","device_id":"d","csr_digest":"c","key_code":"k","name":"n","owner":"o","labels":{"a":"1","b":"2"}}`
	if string(first) != want {
		t.Errorf("got  %s\nwant %s", first, want)
	}
	for name, change := range map[string]func(a *Action){
		"enrollment":    func(a *Action) { a.EnrollmentID = "x" },
		"device":        func(a *Action) { a.DeviceID = "x" },
		"request":       func(a *Action) { a.CSRDigest = "x" },
		"key code":      func(a *Action) { a.KeyCode = "x" },
		"name":          func(a *Action) { a.Name = "x" },
		"owner":         func(a *Action) { a.Owner = "x" },
		"sensitive":     func(a *Action) { a.Sensitive = true },
		"a label":       func(a *Action) { a.Labels = map[string]string{"a": "1", "b": "x"} },
		"a label gone":  func(a *Action) { a.Labels = map[string]string{"a": "1"} },
		"labels joined": func(a *Action) { a.Labels = map[string]string{"a": `1","b":"2`} },
	} {
		a := base
		change(&a)
		if got, err := a.Bytes(); err != nil || string(got) == string(first) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	forged := base
	forged.Type = "something else"
	if got, err := forged.Bytes(); err != nil || string(got) != want {
		t.Errorf("the type is the caller's: %s, %v", got, err)
	}
}
