package admin

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
)

const (
	testOrigin = "http://localhost:8080"
	flagUP     = 0x01
	flagUV     = 0x04
	flagBE     = 0x08
	flagBS     = 0x10
	flagAT     = 0x40
	flagED     = 0x80
)

var url64 = base64.RawURLEncoding

// softKey is an authenticator in software, written from the specification alone
// (WebAuthn level 3, sections 6.1, 6.5 and 7).
type softKey struct {
	key    *ecdsa.PrivateKey
	id     []byte
	handle []byte
	count  uint32
}

func newSoftKey(t testing.TB) *softKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	id := make([]byte, 32)
	rand.Read(id)
	return &softKey{key: key, id: id}
}

// answer is a response before it is encoded: a fault changes one thing of it.
type answer struct {
	client map[string]any
	rpID   string
	flags  byte
	count  uint32
	credID []byte         // attested
	cose   map[int]any    // attested
	format string         // of the attestation
	stmt   map[string]any // of the attestation
	tail   []byte         // after the authenticator data
	cut    int            // of the authenticator data
	sign   func(data []byte) []byte
	handle any
	extra  map[string]any // client extension results
	after  func(r map[string]any)
	text   func(b []byte) []byte
}

func (a *answer) authData(attested bool) []byte {
	hash := sha256.Sum256([]byte(a.rpID))
	data := append(hash[:], a.flags)
	data = binary.BigEndian.AppendUint32(data, a.count)
	if attested && a.credID != nil {
		data = append(data, make([]byte, 16)...)
		data = binary.BigEndian.AppendUint16(data, uint16(len(a.credID)))
		data = append(data, a.credID...)
		key, err := webauthncbor.Marshal(a.cose)
		if err != nil {
			panic(err)
		}
		data = append(data, key...)
	}
	data = append(data, a.tail...)
	return data[:len(data)-a.cut]
}

func (a *answer) clientData() []byte {
	data, err := json.Marshal(a.client)
	if err != nil {
		panic(err)
	}
	return data
}

func (a *answer) encode(id []byte, response map[string]any) []byte {
	r := map[string]any{
		"id": url64.EncodeToString(id), "rawId": url64.EncodeToString(id), "type": "public-key", "response": response,
		"clientExtensionResults": a.extra, "authenticatorAttachment": "platform",
	}
	if a.after != nil {
		a.after(r)
	}
	data, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	if a.text != nil {
		data = a.text(data)
	}
	return data
}

func challengeIn(t testing.TB, options json.RawMessage) (challenge string, user []byte) {
	t.Helper()
	var o struct {
		PublicKey struct {
			Challenge        string `json:"challenge"`
			RPID             string `json:"rpId"`
			UserVerification string `json:"userVerification"`
			User             struct {
				ID string `json:"id"`
			} `json:"user"`
			AllowCredentials []any `json:"allowCredentials"`
		} `json:"publicKey"`
	}
	must(t, json.Unmarshal(options, &o))
	if o.PublicKey.AllowCredentials != nil {
		t.Errorf("the options tell of credentials: %s", options)
	}
	user, err := url64.DecodeString(o.PublicKey.User.ID)
	must(t, err)
	return o.PublicKey.Challenge, user
}

// create answers a registration, with a fault.
func (k *softKey) create(t testing.TB, c PasskeyChallenge, fault func(a *answer)) []byte {
	t.Helper()
	challenge, user := challengeIn(t, c.Options)
	k.handle = user
	point, err := k.key.PublicKey.ECDH()
	must(t, err)
	xy := point.Bytes()[1:]
	a := &answer{
		client: map[string]any{"type": "webauthn.create", "challenge": challenge, "origin": testOrigin, "crossOrigin": false},
		rpID:   "localhost", flags: flagUP | flagUV | flagAT, count: k.count, credID: k.id,
		cose:   map[int]any{1: 2, 3: -7, -1: 1, -2: xy[:32], -3: xy[32:]},
		format: "none", stmt: map[string]any{}, extra: map[string]any{},
	}
	if fault != nil {
		fault(a)
	}
	object, err := webauthncbor.Marshal(map[string]any{"fmt": a.format, "attStmt": a.stmt, "authData": a.authData(true)})
	must(t, err)
	return a.encode(k.id, map[string]any{
		"clientDataJSON": url64.EncodeToString(a.clientData()), "attestationObject": url64.EncodeToString(object), "transports": []string{"internal"},
	})
}

// get answers a sign-in, with a fault.
func (k *softKey) get(t testing.TB, c PasskeyChallenge, fault func(a *answer)) []byte {
	t.Helper()
	challenge, _ := challengeIn(t, c.Options)
	k.count++
	a := &answer{
		client: map[string]any{"type": "webauthn.get", "challenge": challenge, "origin": testOrigin, "crossOrigin": false},
		rpID:   "localhost", flags: flagUP | flagUV, count: k.count, handle: url64.EncodeToString(k.handle), extra: map[string]any{},
		sign: func(data []byte) []byte {
			hash := sha256.Sum256(data)
			sig, err := ecdsa.SignASN1(rand.Reader, k.key, hash[:])
			must(t, err)
			return sig
		},
	}
	if fault != nil {
		fault(a)
	}
	auth, client := a.authData(false), a.clientData()
	hash := sha256.Sum256(client)
	return a.encode(k.id, map[string]any{
		"clientDataJSON": url64.EncodeToString(client), "authenticatorData": url64.EncodeToString(auth),
		"signature": url64.EncodeToString(a.sign(append(bytes.Clone(auth), hash[:]...))), "userHandle": a.handle,
	})
}

// enroll gives an account a passkey.
func (w *world) enroll(name string) *softKey {
	w.t.Helper()
	ctx := context.Background()
	_, c := w.signIn(name)
	by := c.By(authz.Self, "192.0.2.7", "r1")
	k := newSoftKey(w.t)
	options, err := w.PasskeyRegistrationOptions(ctx, by)
	must(w.t, err)
	_, err = w.RegisterPasskey(ctx, by, options.ID, "test key", k.create(w.t, options, nil))
	must(w.t, err)
	return k
}

func (w *world) passkeyIn(k *softKey, fault func(a *answer)) (string, Caller, error) {
	w.t.Helper()
	options, err := w.PasskeySignInOptions(context.Background(), "192.0.2.7")
	must(w.t, err)
	return w.PasskeySignIn(context.Background(), signed(options, k.get(w.t, options, fault)))
}

func signed(c PasskeyChallenge, response []byte) PasskeyAttempt {
	return PasskeyAttempt{Source: "192.0.2.7", RequestID: "r1", Agent: "test", ChallengeID: c.ID, Response: response}
}

func responseOf(r map[string]any) map[string]any { return r["response"].(map[string]any) }

func signWith(t testing.TB, key *ecdsa.PrivateKey) func([]byte) []byte {
	return func(data []byte) []byte {
		hash := sha256.Sum256(data)
		sig, err := ecdsa.SignASN1(rand.Reader, key, hash[:])
		must(t, err)
		return sig
	}
}

func mustDecode(v any) []byte {
	b, err := url64.DecodeString(v.(string))
	if err != nil {
		panic(err)
	}
	return b
}
