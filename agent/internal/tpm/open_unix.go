//go:build !windows

package tpm

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxtpm"
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm"
)

// usual is the device file with the kernel's resource manager: without that, one
// program's keys would be in the way of another's.
const usual = "/dev/tpmrm0"

// checkPath says what a path must be.
func checkPath(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("write %s, %s, or an absolute path", Auto, Off)
	}
	return nil
}

// present reports whether the device has the usual TPM.
func present() bool {
	_, err := os.Stat(usual)
	return err == nil
}

func open(path string) (transport.TPMCloser, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode()&os.ModeSocket != 0 {
		return linuxudstpm.Open(path)
	}
	return linuxtpm.Open(path)
}
