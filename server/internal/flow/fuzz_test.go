package flow

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// A result is believed only under one of the keys; the command that an unbelieved
// one claims to speak of is an id or nothing.
func FuzzReadResult(f *testing.F) {
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	for _, key := range []*ecdsa.PrivateKey{own, other} {
		env, err := signing.SignResult(context.Background(), signing.CommandResult{
			DeviceID: "edge-1", EnrollmentID: "00000000-0000-4000-8000-000000000001", ActionID: "00000000-0000-4000-8000-000000000002",
			StatementDigest: signing.Digest(nil), Status: signing.Succeeded, At: time.Unix(1, 0)}, key)
		if err != nil {
			f.Fatal(err)
		}
		data, err := env.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"payloadType":"application/vnd.sentinel.command-result+json","payload":"eyJhY3Rpb25faWQiOiJ4In0=","signatures":[{"keyid":"a","sig":"AA=="}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, claimed := readResult(json.RawMessage(data), []crypto.PublicKey{&own.PublicKey})
		if r == nil {
			if claimed != "" && protocol.CheckID(claimed) != nil {
				t.Fatalf("an unbelieved result names %q", claimed)
			}
			return
		}
		env, err := signing.ParseEnvelope(data)
		if err != nil {
			t.Fatal(err)
		}
		again, err := signing.VerifyResult(env, &own.PublicKey)
		if err != nil || again.ActionID != r.ActionID || claimed != r.ActionID {
			t.Fatalf("%v %+v", err, again)
		}
	})
}
