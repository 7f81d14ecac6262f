package view_test

import (
	"context"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

func TestTheStandingOfAnInstallation(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *window) {
		read := func() *view.Standing {
			w.Helper()
			s, err := view.ReadStanding(w.Context(), w.d.Read(), noon)
			if err != nil {
				w.Fatal(err)
			}
			return s
		}
		exec := func(query string, args ...any) {
			w.Helper()
			w.write(func(ctx context.Context, tx db.Tx) error {
				_, err := tx.ExecContext(ctx, query, args...)
				return err
			})
		}
		if s := read(); len(s.Accounts) != 0 || !s.WindowUntil.IsZero() || s.Waiting != 0 || s.BreakGlass || !s.StoppedAt.IsZero() || s.BornOnTrial || s.RootIssuer != nil || s.Tokens.Live != 1 || s.FirstUse != 0 {
			w.Errorf("of nothing: %+v", s)
		}
		at := func(d time.Duration) int64 { return db.At(noon.Add(d)).Int() }
		for _, a := range []struct {
			name, role, grants string
			disabled           int64
		}{{"alice", "admin", `[]`, 0}, {"ben", "approver", `["device:revoke"]`, 0}, {"gone", "admin", `[]`, 1}} {
			exec("INSERT INTO accounts (id, name, person, role, grants, password_hash, created_at, created_by, password_at, disabled_at) VALUES (?, ?, ?, ?, ?, 'x', 1, 'x', 1, ?)",
				a.name, a.name, "person-"+a.name, a.role, a.grants, a.disabled)
		}
		exec("INSERT INTO account_totp (account_id, kek_id, sealed_secret, created_at, confirmed_at) VALUES ('alice', 'k', ?, 1, 0), ('ben', 'k', ?, 1, 2)", []byte{1}, []byte{1})
		exec("INSERT INTO passkeys (id, account_id, name, credential, sign_count, created_at) VALUES ('1', 'alice', 'n', ?, 0, 1), ('2', 'alice', 'n', ?, 0, 1)", []byte{1}, []byte{1})
		exec("INSERT INTO approval_quorums (path, people, since) VALUES ('commands', 2, 1)")
		exec("INSERT INTO enroll_windows (id, opened_by, reason, opened_at, closes_at, closed_by) VALUES ('1', 'x', 'x', 1, ?, ''), ('2', 'x', 'x', 1, ?, 'x')", at(time.Hour), at(2*time.Hour))
		for i, token := range []struct{ uses, ends, revoked int64 }{
			{0, at(time.Hour), 0}, {0, 0, 0}, {1, at(3 * time.Hour), 0}, {0, at(4 * time.Hour), 1}, {0, at(-time.Hour), 0},
		} {
			exec("INSERT INTO enroll_tokens (id, hash, note, max_uses, uses, created_by, created_person, created_at, expires_at, revoked_at, device_name, owner, labels, sensitive) VALUES (?, ?, '', 1, ?, 'x', 'x', 1, ?, ?, '', '', '{}', false)",
				string(rune('a'+i)), []byte{byte(10 + i)}, token.uses, token.ends, token.revoked)
		}
		exec("INSERT INTO api_tokens (id, secret_hash, name, permissions, maker_id, epoch, created_at, expires_at) VALUES ('1', ?, 'ci', '[]', 'alice', 'e', 1, ?)", []byte{1}, at(5*time.Hour))
		for i, e := range []struct {
			state      string
			made, ends int64
		}{{"pending", at(-time.Hour), at(time.Hour)}, {"pending", at(-2 * time.Hour), at(-time.Minute)}, {"rejected", at(-3 * time.Hour), at(time.Hour)}} {
			exec("INSERT INTO enrollments (id, token_id, device_id, state, csr, csr_digest, key_code, facts, source, approval_id, created_at, expires_at) VALUES (?, 'a', 'd', ?, ?, '', '', '{}', '', '', ?, ?)",
				string(rune('a'+i)), e.state, []byte{1}, e.made, e.ends)
		}
		for _, d := range []device.Device{{DeviceID: "edge-1", FirstUse: true}, {DeviceID: "edge-2"}} {
			w.add(d, nil)
		}
		exec("UPDATE devices SET first_use = true WHERE device_id = 'edge-1'")
		exec("INSERT INTO break_glass (id, first_hash, second_hash, first_keeper, second_keeper, epoch, created_at) VALUES ('1', ?, ?, 'a', 'b', 'e', 1)", []byte{1}, []byte{2})
		exec("UPDATE issuing SET stop_id = 's', stopped_at = ?", at(-time.Hour))
		exec("INSERT INTO revocation_lists (authority_id, issuer, number, list, entries, this_update, next_update) VALUES ('root', ?, 1, ?, 0, 1, ?)", []byte{7}, []byte{1}, at(6*time.Hour))
		exec("INSERT INTO audit_entries (id, at, actor_kind, actor_id, action, object_kind, object_id, source, request_id, result, reason, details, salts, entry) VALUES ('1', 1, 'system', 'trial', 'fleet.install', 'fleet', 'f', '', '', 'ok', '', '{}', ?, ?)", []byte{1}, []byte{1})

		s := read()
		if len(s.Accounts) != 2 || s.Accounts[0].Name != "alice" || s.Accounts[0].TOTP || s.Accounts[0].Passkeys != 2 || !s.Accounts[1].TOTP || s.Accounts[1].Person != "person-ben" {
			w.Errorf("accounts: %+v", s.Accounts)
		}
		if ben := s.Accounts[1]; !ben.May(authz.DeviceRevoke) || !ben.May(authz.EnrollmentReview) || ben.May(authz.AccountManage) || !ben.SecondFactor() {
			w.Errorf("ben: %+v", ben)
		}
		if s.Quorums["commands"] != 2 || !s.WindowUntil.Equal(noon.Add(time.Hour)) || !s.BreakGlass || !s.StoppedAt.Equal(noon.Add(-time.Hour)) || !s.BornOnTrial || s.FirstUse != 1 {
			w.Errorf("%+v", s)
		}
		// One of the tokens is this world's own, which has no end.
		if s.Tokens.Live != 3 || s.Tokens.Endless != 2 || !s.Tokens.Last.Equal(noon.Add(time.Hour)) || s.APITokens.Live != 1 || !s.APITokens.Last.Equal(noon.Add(5*time.Hour)) {
			w.Errorf("tokens: %+v %+v", s.Tokens, s.APITokens)
		}
		if s.Waiting != 1 || !s.WaitsSince.Equal(noon.Add(-time.Hour)) {
			w.Errorf("waiting: %d since %v", s.Waiting, s.WaitsSince)
		}
		if len(s.Lists) != 1 || s.Lists[0].AuthorityID != "root" || !s.Lists[0].Ends.Equal(noon.Add(6*time.Hour)) || len(s.RootIssuer) != 1 {
			w.Errorf("lists: %+v", s.Lists)
		}
	})
}
