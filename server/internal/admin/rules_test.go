package admin

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
)

// ADM-03
func TestANameHasOneSpelling(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"alice", "Alice", "ALICE", "aLiCe"} {
		if got, ok := normalName(s); !ok || got != "alice" {
			t.Errorf("%q becomes %q, %v", s, got, ok)
		}
	}
	for _, s := range []string{"", " alice", "alice ", "ali ce", "alice\x00", "alice\n", "аlice", "ａlice", "alıce", "alİce", "a/b", "a%b", "ali\u200bce", "alice\u0301", strings.Repeat("a", 65)} {
		if got, ok := normalName(s); ok {
			t.Errorf("%q is taken as %q", s, got)
		}
	}
}

func TestPasswordsAreHeldToLengthAndNotToComposition(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		goodPassword, "fifteen letters", "öffne die Tür bitte", "aB!#$%^&*()(*&^%!", "no digits at all here", "729401864420195",
	} {
		if err := checkPassword(good, "alice", 15); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for name, bad := range map[string]string{
		"too short":                        "fourteen chars",
		"too short in characters":          strings.Repeat("ö", 14),
		"too long":                         strings.Repeat("blue kettle ", 30),
		"not UTF-8":                        "blue kettles \xff sing",
		"a common one":                     "correcthorsebatterystaple",
		"a common one in disguise":         "Correct-Horse-Battery-Staple!",
		"digits in a row":                  "123456789012345",
		"keyboard rows":                    "qwertyuiopasdfgh",
		"a common word twice":              "PasswordPassword",
		"one character":                    "aaaaaaaaaaaaaaaa",
		"a short piece":                    "abcdabcdabcdabcd",
		"nothing but signs, over and over": "!?!?!?!?!?!?!?!?",
		"the account's name over and over": "alice.b-alice.b-alice.b",
	} {
		var invalid *InvalidError
		if err := checkPassword(bad, "alice.b", 15); !errors.As(err, &invalid) {
			t.Errorf("%s: got %v", name, err)
		} else if strings.Contains(err.Error(), bad) {
			t.Errorf("%s: the refusal repeats the password", name)
		}
	}
}

func TestASessionCountsOnlyWhileEverythingHolds(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	session := Session{SeenAt: now.Add(-59 * time.Minute), ExpiresAt: now.Add(time.Second), epoch: "e1"}
	if why := session.ended(&Account{}, "e1", now, time.Hour); why != "" {
		t.Fatalf("a good session counts as %s", why)
	}
	for want, spoil := range map[string]func(s *Session, a *Account){
		"session-revoked":  func(s *Session, _ *Account) { s.RevokedAt = now.Add(-time.Hour) },
		"session-expired":  func(s *Session, _ *Account) { s.ExpiresAt = now },
		"session-idle":     func(s *Session, _ *Account) { s.SeenAt = now.Add(-time.Hour) },
		"restored":         func(s *Session, _ *Account) { s.epoch = "e0" },
		"account-disabled": func(_ *Session, a *Account) { a.DisabledAt = now },
	} {
		s, a := session, Account{}
		spoil(&s, &a)
		if got := s.ended(&a, "e1", now, time.Hour); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestUseIsRecordedOftenEnoughForTheIdleTime(t *testing.T) {
	t.Parallel()
	for idle, want := range map[time.Duration]time.Duration{time.Hour: time.Minute, time.Minute: 6 * time.Second, 24 * time.Hour: time.Minute} {
		if got := seenEvery(idle); got != want {
			t.Errorf("idle %v: every %v, want %v", idle, got, want)
		}
	}
}

func TestChangesSayWhatTheyEnd(t *testing.T) {
	t.Parallel()
	now := time.Now()
	admin := Account{Role: authz.Admin}
	for name, c := range map[string]struct {
		change           Change
		endsSessions     bool
		losesActiveAdmin bool
	}{
		"demotion":        {Change{Role: to(authz.Viewer)}, true, true},
		"same role":       {Change{Role: to(authz.Admin)}, false, false},
		"grant":           {Change{Grants: &[]authz.Permission{authz.EnrollmentReview}}, true, false},
		"disable":         {Change{Disabled: new(true)}, true, true},
		"password":        {Change{Password: new("x")}, true, false},
		"enable, active":  {Change{Disabled: new(false)}, false, false},
		"demote, disable": {Change{Role: to(authz.Viewer), Disabled: new(true)}, true, true},
	} {
		a := admin
		ends, loses := a.apply(c.change, now)
		if ends != c.endsSessions || loses != c.losesActiveAdmin {
			t.Errorf("%s: ends sessions %v, loses admin %v", name, ends, loses)
		}
	}
	if !slices.Equal(admin.Grants, nil) {
		t.Fatal("the original changed")
	}
}
