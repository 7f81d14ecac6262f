package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// ConfigEnv names the settings file when the flag --config does not.
const ConfigEnv = Prefix + "CONFIG"

const maxFile = 64 << 10

// readFile reads KEY=VALUE lines. Reading is not secret, changing is: whoever may
// change the file may send the device elsewhere.
func readFile(path string) (map[string]value, Problems) {
	fail := func(fix string) (map[string]value, Problems) { return nil, Problems{{path, fix}} }
	f, err := os.Open(path)
	if err != nil {
		return fail("it cannot be opened; name a file that can be read, or none")
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return fail("it is not a regular file; name another")
	}
	if changeable(info) {
		return fail("others may change it; run: chmod go-w " + path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil || len(data) > maxFile {
		return fail(fmt.Sprintf("it cannot be read, or is larger than %d bytes", maxFile))
	}
	return parse(path, data)
}

// parse reads lines of KEY=VALUE, comments that begin with #, and empty lines.
// There is no quoting, so that a line means what a unit's EnvironmentFile makes
// of it, and what would be read otherwise there is refused.
func parse(path string, data []byte) (map[string]value, Problems) {
	values, problems := map[string]value{}, Problems(nil)
	for i, line := range bytes.Split(data, []byte("\n")) {
		where := fmt.Sprintf("%s line %d", path, i+1)
		key, text, err := parseLine(string(line))
		switch _, twice := values[key]; {
		case err != nil:
			problems = append(problems, Problem{where, err.Error()})
		case key == "":
		case twice:
			problems = append(problems, Problem{where, "the setting stands twice; keep one"})
		default:
			values[key] = value{text, where}
		}
	}
	return values, problems
}

// parseLine returns no key for a line that says nothing.
func parseLine(line string) (key, text string, err error) {
	line = strings.TrimSuffix(line, "\r")
	if !utf8.ValidString(line) || strings.ContainsRune(line, 0) {
		return "", "", errors.New("write it in UTF-8")
	}
	if s := strings.TrimSpace(line); s == "" || s[0] == '#' {
		return "", "", nil
	}
	name, text, ok := strings.Cut(line, "=")
	key, known := strings.CutPrefix(name, Prefix)
	switch {
	case !ok || !known || key == "" || strings.ContainsAny(name, " \t"):
		return "", "", errors.New("write " + Prefix + "NAME=value, with no blanks around the sign")
	case strings.ContainsAny(text, `"'\`) || text != strings.TrimSpace(text):
		return "", "", errors.New("write the value without quotes, backslashes and blanks around it")
	}
	return key, text, nil
}
