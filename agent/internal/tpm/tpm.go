package tpm

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/evidence"
)

// What the setting says beside a path.
const (
	Auto = "auto" // the usual TPM, if there is one
	Off  = "off"
)

var (
	// ErrNone means that there is no TPM to speak to.
	ErrNone = errors.New("there is no TPM here that can be used")
	// ErrNoCertificate means that the maker put no certificate into the TPM.
	ErrNoCertificate = errors.New("the TPM holds no certificate of its endorsement key")
	// ErrRefused means that the TPM does not do what it was asked for.
	ErrRefused = errors.New("the TPM refused")
)

// TPM is a way to a TPM. Its methods open it each time, and may be called from several
// goroutines; the kernel keeps them apart.
type TPM struct {
	Path string
}

// CheckSetting says what to write instead of a setting that is none.
func CheckSetting(setting string) error {
	if setting == Auto || setting == Off {
		return nil
	}
	return checkPath(setting)
}

// Find is the TPM that a setting names; nil for none.
func Find(setting string) *TPM {
	switch {
	case setting == "" || setting == Off:
		return nil
	case setting != Auto:
		return &TPM{Path: setting}
	case present():
		return &TPM{Path: usual}
	}
	return nil
}

// session is an open TPM with what was loaded into it.
type session struct {
	tpm    transport.TPMCloser
	loaded []tpm2.TPMHandle
}

// turn lets one part of the agent use a TPM at a time: a TPM does one thing after the
// other, and has room for few keys.
var turn sync.Mutex

// within opens the TPM, has f use it, and leaves nothing in it.
func (t *TPM) within(f func(s *session) error) (err error) {
	turn.Lock()
	defer turn.Unlock()
	s := &session{}
	if s.tpm, err = open(t.Path); err != nil {
		return fmt.Errorf("%w: %w", ErrNone, err)
	}
	defer func() {
		for _, h := range slices.Backward(s.loaded) {
			_, flushErr := tpm2.FlushContext{FlushHandle: h}.Execute(s.tpm)
			err = errors.Join(err, flushErr)
		}
		_ = s.tpm.Close()
	}()
	return f(s)
}

// key is one that is loaded.
type key struct {
	tpm2.NamedHandle
	area []byte // public
}

// primary makes a hierarchy's key by a template.
func (s *session) primary(hierarchy tpm2.TPMHandle, template tpm2.TPM2BPublic) (*key, error) {
	r, err := tpm2.CreatePrimary{PrimaryHandle: hierarchy, InPublic: template}.Execute(s.tpm)
	if err != nil {
		return nil, fmt.Errorf("%w to make a key: %w", ErrRefused, err)
	}
	s.loaded = append(s.loaded, r.ObjectHandle)
	return &key{tpm2.NamedHandle{Handle: r.ObjectHandle, Name: r.Name}, r.OutPublic.Bytes()}, nil
}

// template is a public area as bytes.
func template(area []byte) tpm2.TPM2BPublic {
	return tpm2.BytesAs2B[tpm2.TPMTPublic, *tpm2.TPMTPublic](area)
}

// attestationKey makes the attestation key. It hangs on the endorsement seed: a new
// owner of the device keeps it.
func (s *session) attestationKey() (*key, error) {
	return s.primary(tpm2.TPMRHEndorsement, template(evidence.AttestationKeyArea()))
}

// storage makes the key that a device's own key is encrypted to.
func (s *session) storage() (*key, error) {
	return s.primary(tpm2.TPMRHOwner, tpm2.New2B(tpm2.ECCSRKTemplate))
}

// using is a key with its empty password.
func using(k *key) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: k.Handle, Name: k.Name, Auth: tpm2.PasswordAuth(nil)}
}
