package admin

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
)

func TestHashesAreArgon2idAsRecommended(t *testing.T) {
	t.Parallel()
	h := newHasher(passwordCost)
	hash, err := h.hash(context.Background(), goodPassword)
	must(t, err)
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=65536,t=3,p=4$") {
		t.Fatalf("got %s", hash)
	}
	for password, want := range map[string]bool{goodPassword: true, goodPassword + " ": false, "": false} {
		if ok, err := h.matches(context.Background(), hash, password); err != nil || ok != want {
			t.Errorf("%q: %v, %v", password, ok, err)
		}
	}
}

func TestHashesOfOthersAreReadToTheLetter(t *testing.T) {
	t.Parallel()
	good := newHasher(passwordCost).dummy
	if _, _, _, err := parseHash(good); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"another function":   strings.Replace(good, "argon2id", "argon2i", 1),
		"another version":    strings.Replace(good, "v=19", "v=16", 1),
		"too much memory":    strings.Replace(good, "m=65536", "m=4194304", 1),
		"too many passes":    strings.Replace(good, "t=3", "t=1000", 1),
		"no threads":         strings.Replace(good, "p=4", "p=0", 1),
		"no memory":          strings.Replace(good, "m=65536", "m=0", 1),
		"a number padded":    strings.Replace(good, "t=3", "t=03", 1),
		"a tag cut short":    good[:len(good)-4],
		"something after it": good + "$",
		"nothing":            "",
	} {
		if _, _, _, err := parseHash(bad); !errors.Is(err, errHashForm) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestOnlyAFewHashesRunAtOnce(t *testing.T) {
	t.Parallel()
	h := newHasher(passwordCost)
	var mu sync.Mutex
	running, most := 0, 0
	arrived := make(chan struct{}, 10)
	release := make(chan struct{})
	h.key = func(_, _ []byte, _, _ uint32, _ uint8, size uint32) []byte {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		arrived <- struct{}{}
		<-release
		mu.Lock()
		running--
		mu.Unlock()
		return make([]byte, size)
	}
	var done sync.WaitGroup
	for range 10 {
		done.Go(func() { _, _ = h.hash(context.Background(), "x") })
	}
	for range maxHashing {
		<-arrived
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := h.hash(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("whoever hangs up in line: %v", err)
	}
	close(release)
	done.Wait()
	if most != maxHashing {
		t.Fatalf("%d ran at once, want %d", most, maxHashing)
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add(newHasher(passwordCost).dummy)
	f.Add("$argon2id$v=19$m=65536,t=3,p=4$$")
	f.Add("$$$$$")
	f.Fuzz(func(t *testing.T, s string) {
		c, salt, tag, err := parseHash(s)
		if err == nil && (encodeHash(c, salt, tag) != s || c.memory > 256<<10) {
			t.Fatalf("%q was read as something else", s)
		}
	})
}
