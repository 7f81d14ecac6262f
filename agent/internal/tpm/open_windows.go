//go:build windows

package tpm

import (
	"fmt"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/windowstpm"
)

// usual names the TPM Base Services, the only way to a TPM here.
const usual = "tbs"

// checkPath says what a path must be.
func checkPath(path string) error {
	if path != usual {
		return fmt.Errorf("write %s or %s: there is one way to a TPM here", Auto, Off)
	}
	return nil
}

// present reports whether the device has a TPM.
func present() bool {
	t, err := windowstpm.Open()
	if err != nil {
		return false
	}
	_ = t.Close()
	return true
}

func open(string) (transport.TPMCloser, error) { return windowstpm.Open() }
