package servertest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

// load is people and monitoring that never stop asking, wherever they are sent.
type load struct {
	target, session, metrics atomic.Value // string

	mu     sync.Mutex
	more   *sync.Cond
	served int
	failed []string
}

func (l *load) one(path, token string) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, l.target.Load().(string)+path, http.NoBody)
	status := 0
	if err == nil {
		req.Header.Set("Authorization", "Bearer "+token)
		var resp *http.Response
		if resp, err = http.DefaultClient.Do(req); err == nil {
			status = resp.StatusCode
			_ = resp.Body.Close()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.served++
	if err != nil || status != http.StatusOK {
		l.failed = append(l.failed, fmt.Sprintf("%s: %d %v", path, status, err))
	}
	l.more.Broadcast()
}

// run asks until ctx ends.
func (l *load) run(ctx context.Context, all *sync.WaitGroup) {
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				l.one("/api/admin/me", l.session.Load().(string))
				l.one("/metrics", l.metrics.Load().(string))
			}
		})
	}
}

// wait lets n more requests be answered.
func (l *load) wait(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for until := l.served + n; l.served < until; {
		l.more.Wait()
	}
}

// A4: every secret changes while people and monitoring go on, and no request fails.
func TestSecretsAreChangedUnderLoad(t *testing.T) {
	t.Parallel()
	url := dbtest.PostgresURL(t)
	secret := func(age, of string) string { return strings.Repeat("x7Kq", 8) + "-" + age + "-" + of + "-9ZtB2wLmPf" }
	node := func(present, before string) *Server {
		settings := map[string]string{
			"SENTINEL_SECRET_KEY": secret(present, "seal"), "SENTINEL_JWT_SECRET": secret(present, "jwt"), "SENTINEL_METRICS_TOKEN": secret(present, "metrics"),
		}
		if before != "" {
			settings["SENTINEL_SECRET_KEY_PREVIOUS"], settings["SENTINEL_JWT_SECRET_PREVIOUS"] = secret(before, "seal"), secret(before, "jwt")
			settings["SENTINEL_METRICS_TOKEN_PREVIOUS"] = secret(before, "metrics")
		}
		return Start(t, Options{Database: url, Settings: settings})
	}

	first := node("old", "")
	root := first.Person("root", "admin")
	var setup struct {
		Secret string `json:"secret"`
	}
	root.Must("POST", "/api/admin/totp/start", nil, &setup)
	code := func(at time.Time) map[string]string {
		text, err := totp.GenerateCode(setup.Secret, at)
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{"code": text}
	}
	root.Must("POST", "/api/admin/totp/confirm", code(time.Now().Add(-30*time.Second)), nil)

	l := &load{}
	l.more = sync.NewCond(&l.mu)
	l.target.Store(first.PeopleURL)
	l.session.Store(root.Token)
	l.metrics.Store(secret("old", "metrics"))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all sync.WaitGroup
	l.run(ctx, &all)
	l.wait(50)

	move := func(from, to *Server) {
		l.target.Store(to.PeopleURL)
		l.wait(50) // those under way, and some more
		from.Stop()
	}
	knows := node("old", "new") // every node can read what the new key will seal
	move(first, knows)
	uses := node("new", "old")
	l.wait(50)
	move(knows, uses)

	n, err := uses.app.Reseal(t.Context(), authz.Host("test"))
	if err != nil || n < 3 {
		t.Fatalf("%d things were sealed anew: %v", n, err)
	}
	if n, err := uses.app.Reseal(t.Context(), authz.Host("test")); err != nil || n != 0 {
		t.Fatalf("again: %d, %v", n, err)
	}
	l.wait(50)
	// People sign in again and monitoring is told, before the old ones are dropped.
	var half, full struct {
		Token string `json:"token"`
	}
	again := &Person{s: uses}
	again.Must("POST", "/api/admin/login", map[string]string{"name": "root", "password": Password}, &half)
	again.Token = half.Token
	again.Must("POST", "/api/admin/login/second-step", code(time.Now()), &full)
	l.session.Store(full.Token)
	l.metrics.Store(secret("new", "metrics"))
	l.wait(50)

	last := node("new", "")
	move(uses, last)
	l.wait(50)
	stop()
	all.Wait()
	if l.failed != nil {
		t.Errorf("%d of %d requests failed: %v", len(l.failed), l.served, l.failed[:min(5, len(l.failed))])
	}
	t.Logf("%d requests", l.served)

	// What was dropped opens nothing any more, and what it sealed opens without it.
	if status, _, err := (&Person{s: last, Token: root.Token}).Do("GET", "/api/admin/me", nil, nil); err != nil || status != http.StatusUnauthorized {
		t.Errorf("a token of the dropped secret: %d %v", status, err)
	}
	if status, _, err := (&Person{s: last, Token: secret("old", "metrics")}).Do("GET", "/metrics", nil, nil); err != nil || status != http.StatusUnauthorized {
		t.Errorf("the dropped monitoring token: %d %v", status, err)
	}
	again = &Person{s: last}
	again.Must("POST", "/api/admin/login", map[string]string{"name": "root", "password": Password}, &half)
	again.Token = half.Token
	again.Must("POST", "/api/admin/login/second-step", code(time.Now().Add(30*time.Second)), nil)
	if last.CAFingerprint == "" || last.CAFingerprint != first.CAFingerprint {
		t.Errorf("the issuing keys: %q, %q", first.CAFingerprint, last.CAFingerprint)
	}
}
