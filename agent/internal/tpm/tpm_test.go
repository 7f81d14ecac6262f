package tpm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/evidence"
	"github.com/sentinel-secure-x/sentinel-secure-x/test/swtpm"
)

func TestAKeyInTheTPMSignsAndIsNothingWithoutIt(t *testing.T) {
	t.Parallel()
	chip, other := &TPM{Path: swtpm.Start(t).Path}, &TPM{Path: swtpm.Start(t).Path}
	key, err := chip.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	data, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseKey(data)
	if err != nil || !again.On(chip) || again.On(other) || again.On(nil) {
		t.Fatalf("%+v, %v", again, err)
	}
	sum := sha256.Sum256([]byte("said"))
	for range 12 { // nothing is left in the TPM: there is room for three keys
		signature, err := again.Sign(rand.Reader, sum[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if !ecdsa.VerifyASN1(key.Public().(*ecdsa.PublicKey), sum[:], signature) {
			t.Fatal("a signature that does not verify")
		}
	}
	for name, c := range map[string]struct {
		digest []byte
		hash   crypto.Hash
	}{"another hash": {make([]byte, 48), crypto.SHA384}, "a short digest": {sum[:31], crypto.SHA256}} {
		if _, err := again.Sign(rand.Reader, c.digest, c.hash); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	stolen := *again
	stolen.tpm = other
	if _, err := stolen.Sign(rand.Reader, sum[:], crypto.SHA256); !errors.Is(err, ErrRefused) {
		t.Errorf("in another TPM: %v", err)
	}
}

func TestTheClaimIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	maker := swtpm.NewMaker(t, "Maker")
	soft := swtpm.Start(t)
	chip := &TPM{Path: soft.Path}
	if _, _, err := chip.Claim(); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("without a certificate: %v", err)
	}
	soft.By(maker)
	wantCertificate, wantKey := soft.Claim()
	for range 3 {
		certificate, key, err := chip.Claim()
		if err != nil || !bytes.Equal(certificate, wantCertificate) || !bytes.Equal(key, wantKey) {
			t.Fatalf("%x %x %v", certificate, key, err)
		}
		if _, err := evidence.ParseAttestationKey(key); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := (&TPM{Path: soft.Path + ".gone"}).Claim(); !errors.Is(err, ErrNone) {
		t.Errorf("without a TPM: %v", err)
	}
}

func TestEvidenceIsWhatTheChallengeAsksFor(t *testing.T) {
	t.Parallel()
	soft := swtpm.Start(t).By(swtpm.NewMaker(t, "Maker"))
	chip := &TPM{Path: soft.Path}
	soft.Extend(7, "a boot")
	key, err := chip.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	nonce, secret := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	all := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23}
	e, err := chip.Evidence(soft.Challenge(nonce, secret, all...), About{DeviceID: "edge-1", PublicKey: []byte("key"), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	ak, err := evidence.ParseAttestationKey(soft.AttestationKey())
	if err != nil {
		t.Fatal(err)
	}
	own, err := evidence.ParseDeviceKey(e.CertifiedKey)
	if err != nil || !own.Public.Equal(key.Public()) {
		t.Fatal(own, err)
	}
	if !bytes.Equal(e.Activation, secret) || !bytes.Equal(e.Nonce, nonce) || len(e.PCRs) != len(all) {
		t.Errorf("%+v", e)
	}
	if err := errors.Join(ak.Verify(e.Quote, e.QuoteSign), ak.Verify(e.Certification, e.CertificationSign)); err != nil {
		t.Fatal(err)
	}
	quote, err := evidence.ParseQuote(e.Quote)
	if err != nil {
		t.Fatal(err)
	}
	certification, err := evidence.ParseCertification(e.Certification)
	if err != nil {
		t.Fatal(err)
	}
	quoted, certified, digest := evidence.QuoteData(nonce, "edge-1", []byte("key")), evidence.CertifyData(nonce, "edge-1", []byte("key")), evidence.PCRDigest(e.PCRs)
	if !bytes.Equal(quote.Data, quoted[:]) || !bytes.Equal(quote.Digest, digest[:]) || !bytes.Equal(certification.Data, certified[:]) || !bytes.Equal(certification.Name, own.Name) {
		t.Errorf("%+v %+v", quote, certification)
	}
	if _, err := chip.Evidence(swtpm.Start(t).Challenge(nonce, secret, 0), About{}); !errors.Is(err, ErrRefused) {
		t.Errorf("another TPM's riddle: %v", err)
	}
}

func TestASettingNamesATPM(t *testing.T) {
	t.Parallel()
	for _, good := range []string{Auto, Off, "/dev/tpmrm0"} {
		if err := CheckSetting(good); err != nil && good != "/dev/tpmrm0" { // there is no such path on Windows
			t.Errorf("%s: %v", good, err)
		}
	}
	if CheckSetting("tpm0") == nil {
		t.Error("a path that is none was taken")
	}
	if Find(Off) != nil || Find("") != nil || Find("/x").Path != "/x" {
		t.Error("another TPM than the one that was named")
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte{0x30, 0x03, 0x0c, 0x01, '/'})
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := ParseKey(data)
		if err != nil {
			return
		}
		first, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseKey(first); err != nil || !bytes.Equal(again.public, k.public) || !bytes.Equal(again.private, k.private) || again.tpm.Path != k.tpm.Path {
			t.Fatalf("%x became %+v, %v", data, again, err)
		}
	})
}
