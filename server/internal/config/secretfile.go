package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

const maxSecretFile = 16 << 10 // bytes; a secret has at most 4 KiB

// readSecret returns the content of the file at path, without one newline at its
// end. The file must be closed to everyone but its owner.
func readSecret(path, credentials string) (string, *fault) {
	data, mode, f := readLimited(path, maxSecretFile)
	if f != nil {
		return "", &fault{"its file " + f.message, f.fix}
	}
	if modesCount && !closed(path, mode, credentials) {
		return "", &fault{"its file is open to other users", "run: chmod 0600 on the file"}
	}
	if len(data) > maxSecretFile {
		return "", &fault{"its file is larger than 16 KiB", "give a file that holds the secret only"}
	}
	data = bytes.TrimSuffix(data, []byte("\n"))
	data = bytes.TrimSuffix(data, []byte("\r"))
	text := string(data)
	switch {
	case text == "":
		return "", &fault{"its file is empty", "write the secret into the file"}
	case !utf8.ValidString(text):
		return "", &fault{"its file is not UTF-8 text", "write the secret as text, for example in base64"}
	case strings.ContainsFunc(text, unicode.IsControl):
		return "", &fault{"its file holds more than one line, or a control character", "give a file that holds the secret only"}
	}
	return text, nil
}

// closed says whether only the owner may read or write a file of this mode.
// What systemd hands over in credentials may also show group read: that bit is
// the mask of the ACL by which the service's own user reads it.
func closed(path string, mode os.FileMode, credentials string) bool {
	open := mode.Perm() & 0o077
	if credentials != "" && filepath.IsAbs(credentials) && filepath.Dir(filepath.Clean(path)) == filepath.Clean(credentials) {
		open &^= 0o040
	}
	return open == 0
}
