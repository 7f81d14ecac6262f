//go:build cgo && linux

package main

import (
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// token is a session with a token, logged in as its user.
type token struct {
	ctx     *pkcs11.Ctx
	session pkcs11.SessionHandle
}

// openToken loads the library and opens the one token with a label.
func openToken(library, label, pin string) (_ module, err error) {
	ctx := pkcs11.New(library)
	if ctx == nil {
		return nil, fmt.Errorf("%s is no PKCS#11 library that can be loaded", library)
	}
	if err := ctx.Initialize(); err != nil {
		ctx.Destroy()
		return nil, fmt.Errorf("start the PKCS#11 library: %w", err)
	}
	t := &token{ctx: ctx}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	slot, err := t.slot(label)
	if err != nil {
		return nil, err
	}
	if t.session, err = ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION); err != nil {
		return nil, fmt.Errorf("open a session with the token %s: %w", label, err)
	}
	if err := ctx.Login(t.session, pkcs11.CKU_USER, pin); err != nil {
		return nil, fmt.Errorf("log in to the token %s (the PIN is not the user's, or is locked): %w", label, err)
	}
	return t, nil
}

func (t *token) slot(label string) (uint, error) {
	slots, err := t.ctx.GetSlotList(true)
	if err != nil {
		return 0, fmt.Errorf("list the tokens: %w", err)
	}
	var found []uint
	for _, slot := range slots {
		info, err := t.ctx.GetTokenInfo(slot)
		if err == nil && info.Label == label {
			found = append(found, slot)
		}
	}
	switch len(found) {
	case 0:
		return 0, fmt.Errorf("none of %d tokens has the label %s; a library that finds its tokens by a variable needs it on the line: exec:/usr/bin/env NAME=VALUE PROGRAM", len(slots), label)
	case 1:
		return found[0], nil
	}
	return 0, fmt.Errorf("%d of %d tokens have the label %s, and one must", len(found), len(slots), label)
}

// Close ends the session and the library.
func (t *token) Close() error {
	var failed error
	if t.session != 0 {
		failed = errors.Join(t.ctx.Logout(t.session), t.ctx.CloseSession(t.session))
	}
	failed = errors.Join(failed, t.ctx.Finalize())
	t.ctx.Destroy()
	return failed
}

// Key finds the one key pair with a label: where there are two, which of them signs
// would be chance.
func (t *token) Key(label string) (crypto.Signer, error) {
	private, err := t.one(pkcs11.CKO_PRIVATE_KEY, label)
	if err != nil {
		return nil, err
	}
	public, err := t.one(pkcs11.CKO_PUBLIC_KEY, label)
	if err != nil {
		return nil, err
	}
	values, err := t.ctx.GetAttributeValue(t.session, public, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, nil), pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, nil),
	})
	if err != nil {
		return nil, fmt.Errorf("read the public key %s: %w", label, err)
	}
	var params, point []byte
	for _, v := range values {
		switch v.Type {
		case pkcs11.CKA_EC_PARAMS:
			params = v.Value
		case pkcs11.CKA_EC_POINT:
			point = v.Value
		}
	}
	pub, err := publicKey(params, point)
	if err != nil {
		return nil, fmt.Errorf("the key %s: %w", label, err)
	}
	return &tokenKey{t: t, private: private, pub: pub}, nil
}

func (t *token) one(class uint, label string) (pkcs11.ObjectHandle, error) {
	if err := t.ctx.FindObjectsInit(t.session, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, class), pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
	}); err != nil {
		return 0, fmt.Errorf("look for the key %s: %w", label, err)
	}
	found, _, err := t.ctx.FindObjects(t.session, 2)
	if err := errors.Join(err, t.ctx.FindObjectsFinal(t.session)); err != nil {
		return 0, fmt.Errorf("look for the key %s: %w", label, err)
	}
	switch len(found) {
	case 0:
		return 0, fmt.Errorf("%w: %s", errNoKey, label)
	case 1:
		return found[0], nil
	}
	return 0, fmt.Errorf("more than one key has the label %s; give each its own", label)
}

// Generate makes a key pair whose private key never leaves the token.
func (t *token) Generate(label, algorithm string) error {
	made, ok := curves[algorithm]
	if !ok {
		return fmt.Errorf("%s is no algorithm that keys are made of", algorithm)
	}
	id := make([]byte, 16)
	rand.Read(id)
	both := func(more ...*pkcs11.Attribute) []*pkcs11.Attribute {
		return append([]*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, made.keyType), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
			pkcs11.NewAttribute(pkcs11.CKA_LABEL, label), pkcs11.NewAttribute(pkcs11.CKA_ID, id),
		}, more...)
	}
	_, _, err := t.ctx.GenerateKeyPair(t.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(made.generate, nil)},
		both(pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, made.params), pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true)),
		both(pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true), pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
			pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false), pkcs11.NewAttribute(pkcs11.CKA_SIGN, true)))
	if err != nil {
		return fmt.Errorf("make the key %s: %w", label, err)
	}
	return nil
}
