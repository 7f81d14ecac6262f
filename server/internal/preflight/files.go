package preflight

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
)

// How much is looked through for private keys.
const (
	keyFileMax   = 64 << 10 // bytes; larger files hold no key that a person put there
	filesLooked  = 20_000
	foldersDeep  = 6
	keysInAFile  = 16
	keysReported = 1000
)

// gatherFiles looks at the data directory, the settings file, the files that settings
// name, and the directories above them.
func gatherFiles(c *config.Config, settingsFile string) Files {
	f := Files{DataDir: entryOf(c.DataDir), Asker: os.Geteuid()}
	if info, err := os.Stat(c.DataDir); err != nil || !info.IsDir() {
		f.DataDir.Found = false
	}
	paths := []string{c.DataDir}
	if settingsFile != "" {
		paths = append(paths, settingsFile)
	}
	for _, path := range c.Files() {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	f.lookUp(slices.Compact(paths))

	folders := []string{c.DataDir}
	for _, path := range paths {
		if path != c.DataDir {
			folders = append(folders, filepath.Dir(path))
		}
	}
	slices.Sort(folders)
	look := keySearch{files: &f, seen: map[string]bool{}}
	for _, folder := range slices.Compact(folders) {
		look.in(folder)
	}
	return f
}

func entryOf(path string) Entry {
	e := Entry{Path: path, Owner: -1}
	if abs, err := filepath.Abs(path); err == nil {
		e.Path = abs
	}
	if info, err := os.Stat(path); err == nil {
		e.Found, e.Mode, e.Owner = true, info.Mode(), ownerOf(info)
	}
	return e
}

// lookUp goes from each path up to the root of the file system.
func (f *Files) lookUp(paths []string) {
	seen := map[string]bool{}
	for _, path := range paths {
		e := entryOf(path)
		for at := e.Path; !seen[at]; at = filepath.Dir(at) {
			seen[at] = true
			above := entryOf(at)
			if !above.Found {
				continue
			}
			if changeable(above) {
				f.Open = append(f.Open, above)
			}
			if above.Owner > 0 && f.DataDir.Found && above.Owner != f.DataDir.Owner {
				f.Foreign = append(f.Foreign, above)
			}
			if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil && f.Repository == "" {
				f.Repository = at
			}
		}
	}
}

// changeable reports whether users other than the owner may change an entry. In a
// directory with the sticky bit, as /tmp, nobody moves what is another's. The group
// root is as root is.
func changeable(e Entry) bool {
	if e.Owner < 0 || e.Mode.IsDir() && e.Mode&fs.ModeSticky != 0 {
		return false
	}
	return e.Mode.Perm()&0o022 != 0
}

// keySearch finds private keys, whatever their files are called.
type keySearch struct {
	files  *Files
	seen   map[string]bool
	looked int
}

func (s *keySearch) in(folder string) {
	base := strings.Count(filepath.Clean(folder), string(filepath.Separator))
	_ = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // what the server's user cannot read is out of its reach
		case s.seen[path] && d.IsDir():
			return fs.SkipDir
		case s.seen[path]:
			return nil
		}
		s.seen[path] = true
		if s.looked++; s.looked > filesLooked || len(s.files.Keys) >= keysReported {
			s.files.Cut = true
			return fs.SkipAll
		}
		if d.IsDir() {
			if strings.Count(path, string(filepath.Separator))-base >= foldersDeep {
				s.files.Cut = true
				return fs.SkipDir
			}
			return nil
		}
		for _, public := range publicHalves(path) {
			s.files.Keys = append(s.files.Keys, PrivateKey{path, public})
		}
		return nil
	})
}

// publicHalves are the public keys, as their digests, of the private keys in a file.
func publicHalves(path string) (list []string) {
	info, err := os.Stat(path) // through a link, too
	if err != nil || !info.Mode().IsRegular() || info.Size() > keyFileMax {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, keyFileMax))
	if err != nil {
		return nil
	}
	defer clear(data)
	if !bytes.Contains(data, []byte("-----BEGIN")) {
		return appendPublic(nil, data)
	}
	for range keysInAFile {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		list, data = appendPublic(list, block.Bytes), rest
	}
	return list
}

// appendPublic adds the public half of a private key in one of its usual forms.
func appendPublic(list []string, der []byte) []string {
	var key any
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		if key, err = x509.ParseECPrivateKey(der); err != nil {
			return list
		}
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return list
	}
	public, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return list
	}
	return append(list, digestOf(public))
}

// digestOf is how a public key (PKIX) is named here.
func digestOf(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}
