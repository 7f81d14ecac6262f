//go:build windows

package identity

import (
	"errors"
	"unsafe" //nolint:depguard // the system hands out memory that only a pointer names

	"golang.org/x/sys/windows"
)

// The system's own key seals the file for this machine: the service and an
// administrator's command line run as different users. Copied to another
// machine the file is worth nothing; on this one the access list protects it.
const dpapiFlags = windows.CRYPTPROTECT_LOCAL_MACHINE | windows.CRYPTPROTECT_UI_FORBIDDEN

func seal(plain []byte) ([]byte, error) {
	return dpapi(plain, func(in, out *windows.DataBlob) error {
		return windows.CryptProtectData(in, nil, nil, 0, nil, dpapiFlags, out)
	})
}

func unseal(sealed []byte) ([]byte, error) {
	plain, err := dpapi(sealed, func(in, out *windows.DataBlob) error {
		return windows.CryptUnprotectData(in, nil, nil, 0, nil, windows.CRYPTPROTECT_UI_FORBIDDEN, out)
	})
	if err != nil {
		return nil, errors.New("this machine cannot unseal it")
	}
	return plain, nil
}

func dpapi(data []byte, call func(in, out *windows.DataBlob) error) ([]byte, error) {
	if len(data) == 0 {
		return nil, errors.New("nothing to seal or unseal")
	}
	in := windows.DataBlob{Size: uint32(len(data)), Data: &data[0]}
	var out windows.DataBlob
	if err := call(&in, &out); err != nil {
		return nil, err
	}
	//nolint:gosec // the system filled in both fields, and takes its memory back by address
	defer func() { _, _ = windows.LocalFree(windows.Handle(unsafe.Pointer(out.Data))) }()
	result := unsafe.Slice(out.Data, out.Size) //nolint:gosec // as above
	defer clear(result)
	return append([]byte(nil), result...), nil
}
