//go:build !linux && !windows

package attest

func addPosture(map[string]string) {}
