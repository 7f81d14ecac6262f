//go:build !cgo || !linux

package main

import "errors"

// openToken cannot load a library of C in a program without C.
func openToken(_, _, _ string) (module, error) {
	return nil, errors.New("this program was built without cgo and cannot load a PKCS#11 library; use the package sentinel-pkcs11")
}
