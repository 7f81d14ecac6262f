package admin

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/audit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
)

// ADM-06: a sign-in with one fault is refused.
func TestAPasskeySignInWithOneFaultIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:"+dbtest.SQLitePath(t))
	ctx := context.Background()
	w.account("alice", authz.Operator)
	w.account("mallory", authz.Operator)
	alice, mallory := w.enroll("alice"), w.enroll("mallory")
	var stored uint32 // the counter that the server knows
	right := func() {
		t.Helper()
		defer func() { stored = alice.count }()
		token, c, err := w.passkeyIn(alice, nil)
		if err != nil || c.Account.Name != "alice" || c.Session.Method != ByPasskey || c.Session.Stage != StageFull {
			t.Fatalf("the right answer: %+v %v", c, err)
		}
		_, err = w.Authenticate(ctx, token, ViaProgram)
		must(t, err)
	}
	right()
	client := func(member string, value any) func(a *answer) { return func(a *answer) { a.client[member] = value } }
	set := func(flags byte) func(a *answer) { return func(a *answer) { a.flags = flags } }
	outer := func(f func(r map[string]any)) func(a *answer) { return func(a *answer) { a.after = f } }
	faults := map[string]func(a *answer){
		"another origin":                  client("origin", "https://evil.example"),
		"another port":                    client("origin", "http://localhost:9090"),
		"another scheme":                  client("origin", "https://localhost:8080"),
		"a name that begins alike":        client("origin", "http://localhost:8080.evil.example"),
		"a name that ends alike":          client("origin", "http://evil.localhost:8080"),
		"a user in the origin":            client("origin", "http://localhost:8080@evil.example"),
		"the origin null":                 client("origin", "null"),
		"no origin":                       func(a *answer) { delete(a.client, "origin") },
		"an empty origin":                 client("origin", ""),
		"within another site's frame":     client("crossOrigin", true),
		"another top origin":              func(a *answer) { a.client["crossOrigin"] = true; a.client["topOrigin"] = "https://evil.example" },
		"another party's id":              func(a *answer) { a.rpID = "evil.example" },
		"the parent of the party's id":    func(a *answer) { a.rpID = "host" },
		"the type of a registration":      client("type", "webauthn.create"),
		"the type in other letters":       client("type", "WEBAUTHN.GET"),
		"no type":                         func(a *answer) { delete(a.client, "type") },
		"another challenge":               client("challenge", url64.EncodeToString(bytes.Repeat([]byte{7}, 32))),
		"an empty challenge":              client("challenge", ""),
		"no challenge":                    func(a *answer) { delete(a.client, "challenge") },
		"nobody present":                  set(flagUV),
		"nobody verified":                 set(flagUP),
		"neither":                         set(0),
		"another backup eligibility":      set(flagUP | flagUV | flagBE),
		"backed up though not eligible":   set(flagUP | flagUV | flagBS),
		"attested data that is not there": set(flagUP | flagUV | flagAT),
		"extensions that are not there":   set(flagUP | flagUV | flagED),
		"a counter that stands still":     func(a *answer) { a.count = stored },
		"a counter that goes back":        func(a *answer) { a.count = 1 },
		"a counter that is dropped":       func(a *answer) { a.count = 0 },
		"bytes behind the data":           func(a *answer) { a.tail = []byte{0} },
		"data cut short":                  func(a *answer) { a.cut = 1 },
		"no data":                         func(a *answer) { a.cut = 37 },
		"another's key":                   func(a *answer) { a.sign = signWith(t, mallory.key) },
		"a signature over the data alone": func(a *answer) { sign := a.sign; a.sign = func(d []byte) []byte { return sign(d[:len(d)-32]) } },
		"no signature":                    func(a *answer) { a.sign = func([]byte) []byte { return nil } },
		"a signature cut short":           func(a *answer) { sign := a.sign; a.sign = func(d []byte) []byte { s := sign(d); return s[:len(s)-1] } },
		"a signature with more":           func(a *answer) { sign := a.sign; a.sign = func(d []byte) []byte { return append(sign(d), 0) } },
		"a bit of the signature":          func(a *answer) { sign := a.sign; a.sign = func(d []byte) []byte { s := sign(d); s[9] ^= 1; return s } },
		"client data changed after": outer(func(r map[string]any) {
			responseOf(r)["clientDataJSON"] = url64.EncodeToString(append([]byte(" "), mustDecode(responseOf(r)["clientDataJSON"])...))
		}),
		"data changed after": outer(func(r map[string]any) {
			d := mustDecode(responseOf(r)["authenticatorData"])
			d[36] += 3
			responseOf(r)["authenticatorData"] = url64.EncodeToString(d)
		}),
		"another's handle":     func(a *answer) { a.handle = url64.EncodeToString(mallory.handle) },
		"no handle":            func(a *answer) { a.handle = nil },
		"an empty handle":      func(a *answer) { a.handle = "" },
		"another's credential": outer(func(r map[string]any) { r["id"] = url64.EncodeToString(mallory.id); r["rawId"] = r["id"] }),
		"a credential that nobody has": outer(func(r map[string]any) {
			r["id"] = url64.EncodeToString([]byte("no such credential"))
			r["rawId"] = r["id"]
		}),
		"two credentials":               outer(func(r map[string]any) { r["id"] = url64.EncodeToString(mallory.id) }),
		"no credential":                 outer(func(r map[string]any) { r["id"], r["rawId"] = "", "" }),
		"another type of credential":    outer(func(r map[string]any) { r["type"] = "password" }),
		"no type of credential":         outer(func(r map[string]any) { delete(r, "type") }),
		"an extension nobody asked for": func(a *answer) { a.extra["appid"] = true },
		"no response":                   outer(func(r map[string]any) { delete(r, "response") }),
		"half a JSON text":              func(a *answer) { a.text = func(b []byte) []byte { return b[:len(b)/2] } },
		"no JSON text":                  func(a *answer) { a.text = func([]byte) []byte { return nil } },
		"an answer far too long":        func(a *answer) { a.client["filler"] = strings.Repeat("x", maxPasskeyAnswer) },
		"two JSON texts":                func(a *answer) { a.text = func(b []byte) []byte { return append(bytes.Clone(b), b...) } },
	}
	for name, fault := range faults {
		token, c, err := w.passkeyIn(alice, fault)
		if !errors.Is(err, ErrPasskey) || token != "" || c.Account.ID != "" {
			t.Errorf("%s: %v", name, err)
		}
		w.pass(10 * time.Second)
	}
	right()

	// Faults of the challenge itself.
	register := func() PasskeyChallenge {
		_, c := w.signIn("mallory")
		options, err := w.PasskeyRegistrationOptions(ctx, c.By(authz.Self, "", ""))
		must(t, err)
		return options
	}
	options := func() PasskeyChallenge {
		o, err := w.PasskeySignInOptions(ctx, "192.0.2.7")
		must(t, err)
		return o
	}
	more := map[string]func() error{
		"a challenge used before": func() error {
			o := options()
			_, _, err := w.PasskeySignIn(ctx, signed(o, alice.get(t, o, nil)))
			must(t, err)
			_, _, err = w.PasskeySignIn(ctx, signed(o, alice.get(t, o, nil)))
			return err
		},
		"a challenge used up by a wrong answer": func() error {
			o := options()
			_, _, _ = w.PasskeySignIn(ctx, signed(o, alice.get(t, o, client("origin", "https://evil.example"))))
			_, _, err := w.PasskeySignIn(ctx, signed(o, alice.get(t, o, nil)))
			return err
		},
		"a challenge grown old": func() error {
			o := options()
			w.pass(challengeLife)
			_, _, err := w.PasskeySignIn(ctx, signed(o, alice.get(t, o, nil)))
			return err
		},
		"a challenge made to register": func() error {
			o := register()
			k := *alice
			_, _, err := w.PasskeySignIn(ctx, signed(o, k.get(t, o, nil)))
			return err
		},
		"the challenge of another answer": func() error {
			a, b := options(), options()
			_, _, err := w.PasskeySignIn(ctx, signed(a, alice.get(t, b, nil)))
			return err
		},
		"no challenge id": func() error {
			_, _, err := w.PasskeySignIn(ctx, PasskeyAttempt{Response: alice.get(t, options(), nil)})
			return err
		},
		"an account that was closed": func() error {
			w.account("gone", authz.Viewer)
			k := w.enroll("gone")
			row, err := accountBy(ctx, w.d.Read(), "name", "gone")
			must(t, err)
			_, err = w.Update(ctx, authz.Host("test"), row.ID, Change{Disabled: new(true)})
			must(t, err)
			_, _, err = w.passkeyIn(k, nil)
			return err
		},
		"a passkey that was removed": func() error {
			w.account("lost", authz.Viewer)
			k := w.enroll("lost")
			_, c := w.signIn("lost")
			must(t, w.RemovePasskey(ctx, c.By(authz.Self, "", ""), url64.EncodeToString(k.id)))
			_, _, err := w.passkeyIn(k, nil)
			return err
		},
	}
	for name, act := range more {
		if err := act(); !errors.Is(err, ErrPasskey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(faults) + len(more); n < 40 {
		t.Errorf("only %d faults", n)
	}
	right()
}

// ADM-06: an enrollment with one fault is refused.
func TestAPasskeyEnrollmentWithOneFaultIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:"+dbtest.SQLitePath(t))
	ctx := context.Background()
	w.account("alice", authz.Operator)
	w.account("mallory", authz.Operator)
	taken := w.enroll("mallory")
	client := func(member string, value any) func(a *answer) { return func(a *answer) { a.client[member] = value } }
	set := func(flags byte) func(a *answer) { return func(a *answer) { a.flags = flags } }
	outer := func(f func(r map[string]any)) func(a *answer) { return func(a *answer) { a.after = f } }
	key384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	point384, err := key384.PublicKey.ECDH()
	must(t, err)
	xy := point384.Bytes()[1:]
	faults := map[string]func(a *answer){
		"another origin":                client("origin", "https://evil.example"),
		"another port":                  client("origin", "http://localhost:9090"),
		"no origin":                     func(a *answer) { delete(a.client, "origin") },
		"within another site's frame":   client("crossOrigin", true),
		"another party's id":            func(a *answer) { a.rpID = "evil.example" },
		"the type of a sign-in":         client("type", "webauthn.get"),
		"another challenge":             client("challenge", url64.EncodeToString(bytes.Repeat([]byte{7}, 32))),
		"no challenge":                  func(a *answer) { delete(a.client, "challenge") },
		"nobody present":                set(flagUV | flagAT),
		"nobody verified":               set(flagUP | flagAT),
		"no attested data":              set(flagUP | flagUV),
		"backed up though not eligible": set(flagUP | flagUV | flagAT | flagBS),
		"extensions that are not there": set(flagUP | flagUV | flagAT | flagED),
		"an algorithm not offered":      func(a *answer) { a.cose = map[int]any{1: 2, 3: -35, -1: 2, -2: xy[:48], -3: xy[48:]} },
		"a key of another curve":        func(a *answer) { a.cose = map[int]any{1: 2, 3: -7, -1: 2, -2: xy[:48], -3: xy[48:]} },
		"a point not on the curve":      func(a *answer) { a.cose[-2] = bytes.Repeat([]byte{9}, 32) },
		"no algorithm":                  func(a *answer) { delete(a.cose, 3) },
		"a short RSA key": func(a *answer) {
			a.cose = map[int]any{1: 3, 3: -257, -1: bytes.Repeat([]byte{0xc5}, 128), -2: []byte{1, 0, 1}}
		},
		"another use of an RSA key": func(a *answer) {
			a.cose = map[int]any{1: 3, 3: -37, -1: bytes.Repeat([]byte{0xc5}, 256), -2: []byte{1, 0, 1}}
		},
		"another curve of Edwards": func(a *answer) { a.cose = map[int]any{1: 1, 3: -8, -1: 7, -2: bytes.Repeat([]byte{1}, 57)} },
		"an insecure algorithm": func(a *answer) {
			a.cose = map[int]any{1: 3, 3: -65535, -1: bytes.Repeat([]byte{0xc5}, 128), -2: []byte{1, 0, 1}}
		},
		"a symmetric key":                func(a *answer) { a.cose = map[int]any{1: 4, 3: 5, -1: bytes.Repeat([]byte{1}, 32)} },
		"bytes behind the data":          func(a *answer) { a.tail = []byte{0} },
		"data cut short":                 func(a *answer) { a.cut = 3 },
		"a credential id far too long":   func(a *answer) { a.credID = bytes.Repeat([]byte{1}, 1024) },
		"no credential id":               func(a *answer) { a.credID = []byte{} },
		"a credential that another has":  func(a *answer) { a.credID = taken.id },
		"an unknown attestation":         func(a *answer) { a.format = "mine" },
		"none, with a statement":         func(a *answer) { a.stmt = map[string]any{"x": 1} },
		"an attestation without a proof": func(a *answer) { a.format = "packed"; a.stmt = map[string]any{"alg": -7, "sig": []byte{1, 2, 3}} },
		"another type of credential":     outer(func(r map[string]any) { r["type"] = "password" }),
		"another id outside":             outer(func(r map[string]any) { r["id"] = url64.EncodeToString([]byte("some other id")); r["rawId"] = r["id"] }),
		"an extension nobody asked for":  func(a *answer) { a.extra["appidExclude"] = true },
		"no response":                    outer(func(r map[string]any) { delete(r, "response") }),
		"half a JSON text":               func(a *answer) { a.text = func(b []byte) []byte { return b[:len(b)/2] } },
		"an answer far too long":         func(a *answer) { a.client["filler"] = strings.Repeat("x", maxPasskeyAnswer) },
	}
	signIn := func() authz.By {
		_, c := w.signIn("alice")
		return c.By(authz.Self, "", "")
	}
	begin := func(by authz.By) PasskeyChallenge {
		options, err := w.PasskeyRegistrationOptions(ctx, by)
		must(t, err)
		return options
	}
	for name, fault := range faults {
		by := signIn()
		options := begin(by)
		if _, err := w.RegisterPasskey(ctx, by, options.ID, "key", newSoftKey(t).create(t, options, fault)); !errors.Is(err, ErrPasskey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, act := range map[string]func(by authz.By) error{
		"a challenge used before": func(by authz.By) error {
			options := begin(by)
			_, err := w.RegisterPasskey(ctx, by, options.ID, "key", newSoftKey(t).create(t, options, client("origin", "x")))
			if !errors.Is(err, ErrPasskey) {
				return err
			}
			_, err = w.RegisterPasskey(ctx, by, options.ID, "key", newSoftKey(t).create(t, options, nil))
			return err
		},
		"the challenge of another session": func(by authz.By) error {
			options := begin(signIn())
			_, err := w.RegisterPasskey(ctx, by, options.ID, "key", newSoftKey(t).create(t, options, nil))
			return err
		},
		"the challenge of another account": func(by authz.By) error {
			_, c := w.signIn("mallory")
			options := begin(c.By(authz.Self, "", ""))
			_, err := w.RegisterPasskey(ctx, by, options.ID, "key", newSoftKey(t).create(t, options, nil))
			return err
		},
		"a challenge made to sign in": func(by authz.By) error {
			options, err := w.PasskeySignInOptions(ctx, "192.0.2.7")
			must(t, err)
			_, err = w.RegisterPasskey(ctx, by, options.ID, "key", newSoftKey(t).create(t, options, nil))
			return err
		},
		"a challenge grown old": func(by authz.By) error {
			options := begin(by)
			w.pass(challengeLife)
			_, err := w.RegisterPasskey(ctx, by, options.ID, "key", newSoftKey(t).create(t, options, nil))
			return err
		},
	} {
		if err := act(signIn()); !errors.Is(err, ErrPasskey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	by := signIn()
	if f, err := w.Factors(ctx, by); err != nil || len(f.Passkeys) != 0 {
		t.Fatalf("%+v %v", f, err)
	}
	options := begin(by)
	k := newSoftKey(t)
	if _, err := w.RegisterPasskey(ctx, by, options.ID, "key", k.create(t, options, nil)); err != nil {
		t.Fatalf("the right answer: %v", err)
	}
	// ADM-14
	old := by
	w.pass(freshFor + time.Second)
	for name, err := range map[string]error{
		"begin":  func() error { _, err := w.PasskeyRegistrationOptions(ctx, old); return err }(),
		"enroll": func() error { _, err := w.RegisterPasskey(ctx, old, options.ID, "x", nil); return err }(),
		"remove": w.RemovePasskey(ctx, old, url64.EncodeToString(k.id)),
	} {
		if !errors.Is(err, ErrFreshSignIn) {
			t.Errorf("%s with an old sign-in: %v", name, err)
		}
	}
	_, m := w.signIn("mallory")
	if err := w.RemovePasskey(ctx, m.By(authz.Self, "", ""), url64.EncodeToString(k.id)); !errors.Is(err, ErrNoFactor) {
		t.Errorf("another's passkey is removed: %v", err)
	}
}

func TestACopyOfAPasskeyIsNoticed(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		w.account("alice", authz.Operator)
		k := w.enroll("alice")
		copied := *k
		for range 3 {
			w.pass(time.Second)
			_, _, err := w.passkeyIn(k, nil)
			must(t, err)
		}
		w.pass(time.Second)
		if _, _, err := w.passkeyIn(&copied, nil); !errors.Is(err, ErrPasskey) {
			t.Errorf("the copy: %v", err)
		}
		if e := w.entries(audit.PasskeyCloned); len(e) != 1 || e[0].ObjectID != "alice" || e[0].Result != audit.Refused {
			t.Errorf("audit: %+v", e)
		}
		w.pass(time.Second)
		_, c, err := w.passkeyIn(k, nil)
		must(t, err)
		if len(c.Notices) == 0 || c.Notices[0].Kind != NoticePasskeyCloned {
			t.Errorf("the owner is told %+v", c.Notices)
		}
	})
}

// ADM-06: a password alone stops working.
func TestAnAccountThatMustUseItsPasskey(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		ctx := context.Background()
		a := w.account("alice", authz.Operator)
		_, err := w.Update(ctx, authz.Host("test"), a.ID, Change{MustPasskey: new(true)})
		must(t, err)
		k := w.enroll("alice") // with the password: there is none yet
		if _, _, err := w.SignIn(ctx, attempt("alice", goodPassword)); !errors.Is(err, ErrSignIn) || err.Error() != ErrSignIn.Error() {
			t.Errorf("with the password alone: %v", err)
		}
		_, c, err := w.passkeyIn(k, nil)
		must(t, err)
		by := c.By(authz.Self, "", "")
		if f, err := w.Factors(ctx, by); err != nil || !f.MustPasskey || len(f.Passkeys) != 1 {
			t.Errorf("%+v %v", f, err)
		}
		if err := w.RemovePasskey(ctx, by, url64.EncodeToString(k.id)); !errors.Is(err, ErrLastPasskey) {
			t.Errorf("the last passkey goes: %v", err)
		}
		must(t, w.d.Write(ctx, func(ctx context.Context, tx db.Tx) error {
			return ResetFactors(ctx, tx, authz.Host("test"), a.ID, "lost")
		}))
		w.signIn("alice")
		w.account("root", authz.Admin)
		w.settings.PasskeyRoles = []authz.Role{authz.Admin}
		w.enroll("root")
		if _, _, err := w.SignIn(ctx, attempt("root", goodPassword)); !errors.Is(err, ErrSignIn) {
			t.Errorf("an account whose role must: %v", err)
		}
	})
}

// ADM-13: whatever happens to passwords and codes, a passkey opens.
func TestNoLockoutShutsOutAPasskey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:"+dbtest.SQLitePath(t))
	ctx := context.Background()
	w.account("alice", authz.Operator)
	k := w.enroll("alice")
	begin := w.clock()
	for i := 0; w.clock().Sub(begin) < time.Hour; i++ {
		at := attempt("alice", "wrong")
		at.Source = []string{"192.0.2.7", fmt.Sprintf("198.51.100.%d", i%250)}[i%2]
		_, _, err := w.SignIn(ctx, at)
		if !errors.Is(err, ErrThrottled) && !errors.Is(err, ErrSignIn) {
			t.Fatal(err)
		}
		w.pass(7 * time.Second)
	}
	for i := range 2 * sourceBurst {
		_, _, err := w.SignIn(ctx, attempt(fmt.Sprintf("name-%d", i), "wrong"))
		if i >= sourceBurst && !errors.Is(err, ErrThrottled) {
			t.Fatalf("the address is not throttled: %v", err)
		}
	}
	if _, _, err := w.SignIn(ctx, attempt("alice", goodPassword)); !errors.Is(err, ErrThrottled) {
		t.Fatalf("the password is not throttled: %v", err)
	}
	if _, _, err := w.passkeyIn(k, nil); err != nil {
		t.Errorf("the passkey: %v", err)
	}
}

func TestPasskeysNeedAName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite:"+dbtest.SQLitePath(t))
	for _, url := range []string{"http://127.0.0.1:8080", "https://[::1]", "", "://"} {
		w.settings.PeopleURL = func() string { return url }
		if _, err := w.PasskeySignInOptions(context.Background(), "192.0.2.7"); !errors.Is(err, ErrNoPasskeys) {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// Whatever a stranger sends is read without harm and opens nothing.
func FuzzPasskeyAnswer(f *testing.F) {
	s := &Service{settings: Settings{PeopleURL: func() string { return testOrigin }}}
	rp, err := s.relyingParty()
	must(f, err)
	h := &holder{row: &accountRow{ID: "00000000-0000-7000-8000-000000000000", Name: "alice"}}
	registering, toRegister, err := rp.BeginRegistration(h, webauthn.WithCredentialParameters(algorithms))
	must(f, err)
	signing, toSignIn, err := rp.BeginDiscoverableLogin()
	must(f, err)
	k := newSoftKey(f)
	for _, options := range []any{registering, signing} {
		text, err := json.Marshal(options)
		must(f, err)
		f.Add(k.create(f, PasskeyChallenge{Options: text}, func(a *answer) { a.client["origin"] = "https://evil.example" }))
		f.Add(k.get(f, PasskeyChallenge{Options: text}, func(a *answer) { a.flags = flagUP }))
	}
	f.Fuzz(func(t *testing.T, response []byte) {
		if _, err := created(rp, h, toRegister, response); err == nil {
			t.Fatalf("enrolled %q", response)
		}
		parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
		if err != nil {
			return
		}
		if _, err := rp.ValidateDiscoverableLogin(func(_, _ []byte) (webauthn.User, error) { return h, nil }, *toSignIn, parsed); err == nil {
			t.Fatalf("signed in %q", response)
		}
	})
}
