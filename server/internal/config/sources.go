package config

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	prefix     = "SENTINEL_"
	fileSuffix = "_FILE" // KEY_FILE names the file that holds the secret KEY

	// credentialsDir is set by systemd for a unit with LoadCredential=.
	credentialsDir = "CREDENTIALS_DIRECTORY"
)

// clientKeys are read by the commands that talk to the API, not by the server.
var clientKeys = []string{"SENTINEL_SERVER", "SENTINEL_TOKEN", "SENTINEL_CA_FILE", "SENTINEL_OUTPUT"}

// foreign says whether key belongs to another program of the product, whose
// environment the server may share: the agent, a client, a test run.
func foreign(key string) bool {
	return strings.HasPrefix(key, prefix+"AGENT_") || strings.HasPrefix(key, prefix+"TEST_") || slices.Contains(clientKeys, key)
}

func known(key string) bool {
	if _, ok := byKey[key]; ok {
		return true
	}
	name, ok := strings.CutSuffix(key, fileSuffix)
	return ok && byKey[name].Secret
}

// source is where values stand: the environment or the settings file.
type source map[string]string

// fromEnviron keeps the server's own keys of environ, each KEY=VALUE as in
// os.Environ, and says where secrets given by systemd are.
func fromEnviron(environ []string, ps *Problems) (src source, credentials string) {
	src = source{}
	for _, pair := range environ {
		key, value, _ := strings.Cut(pair, "=")
		if key == credentialsDir {
			credentials = value
		}
		if !strings.HasPrefix(strings.ToUpper(key), prefix) || foreign(key) {
			continue
		}
		switch _, twice := src[key]; {
		case !known(key):
			ps.add(printable(key), "is not a setting of the server", suggestion(key))
		case twice:
			ps.add(key, "is in the environment twice", "keep one of the two")
		case !utf8.ValidString(value):
			ps.add(key, "is not UTF-8 text", "write it as UTF-8")
		case strings.ContainsFunc(value, unicode.IsControl):
			ps.add(key, "holds a control character", "write it as one line of plain text")
		default:
			src[key] = value
		}
	}
	return src, credentials
}

// fromFile reads the settings file; every key in it must be the server's.
func fromFile(name string, ps *Problems) source {
	src := source{}
	if name == "" {
		return src
	}
	data, mode, f := readLimited(name, maxFile)
	if f != nil {
		ps.add(name, f.message, f.fix)
		return src
	}
	entries, problems := parseFile(name, data)
	*ps = append(*ps, problems...)
	first := map[string]int{}
	secrets := false
	for _, e := range entries {
		at := fmt.Sprintf("line %d: ", e.line)
		switch {
		case foreign(e.key):
			ps.add(e.key, at+"is a setting of the agent, of a client or of a test run, not of the server", "move it to where they are started")
		case !known(e.key):
			ps.add(e.key, at+"is not a setting of the server", suggestion(e.key))
		case first[e.key] != 0:
			ps.add(e.key, fmt.Sprintf("%sis also set in line %d", at, first[e.key]), "keep one of the two lines")
		default:
			first[e.key] = e.line
			src[e.key] = e.value
			secrets = secrets || byKey[e.key].Secret && e.value != ""
		}
	}
	if modesCount && mode.Perm()&0o002 != 0 {
		ps.add(name, "can be changed by every user", "run: chmod o-rwx "+name)
	} else if modesCount && secrets && mode.Perm()&0o004 != 0 {
		ps.add(name, "holds a secret and can be read by every user", "run: chmod o-rwx "+name)
	}
	return src
}

// readLimited reads a regular file of at most limit bytes; a longer one comes
// back with one byte more, for the caller to refuse.
func readLimited(name string, limit int64) ([]byte, os.FileMode, *fault) {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		// Opening a FIFO would wait for its writer.
		return nil, 0, &fault{"is not a regular file", "give the path of a regular file"}
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, 0, unreadable(err)
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return nil, 0, unreadable(err)
	}
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, 0, unreadable(err)
	}
	return data, info.Mode(), nil
}

func unreadable(err error) *fault {
	switch {
	case os.IsNotExist(err):
		return &fault{"does not exist", "check the path; a relative one starts at the server's working directory"}
	case os.IsPermission(err):
		return &fault{"cannot be opened by the server's user", "give it to that user with: chown USER FILE && chmod 0600 FILE"}
	}
	return &fault{"cannot be read", "check that the path leads to a readable file"}
}

// printable makes a key from the environment safe to show.
func printable(key string) string {
	if keyName().MatchString(key) {
		return key
	}
	if len(key) > 64 {
		key = key[:64]
	}
	return fmt.Sprintf("%+q", key)
}
