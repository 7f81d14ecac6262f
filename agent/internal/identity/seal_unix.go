//go:build unix

package identity

import "bytes"

// The file's mode is what protects the key here.

func seal(plain []byte) ([]byte, error)    { return bytes.Clone(plain), nil }
func unseal(sealed []byte) ([]byte, error) { return bytes.Clone(sealed), nil }
