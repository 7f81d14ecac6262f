package config

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const maxFile = 256 << 10 // bytes; all settings with their comments need about 15 KiB

// blank is what may surround a line and a value; \r ends lines made on Windows.
const blank = " \t\r"

// entry is one KEY=VALUE line.
type entry struct {
	key, value string
	line       int
}

var keyName = pattern(`^[A-Z][A-Z0-9_]{0,127}$`)

// parseFile reads KEY=VALUE lines. A line may be blank, or a comment that starts
// with #. A value may stand in single or double quotes; nothing in it is ever
// expanded. What systemd's EnvironmentFile= would read differently is refused,
// so that a file means the same to both. The lines that can be read are
// returned beside the problems of the others.
func parseFile(name string, data []byte) ([]entry, Problems) {
	var problems Problems
	switch {
	case len(data) > maxFile:
		problems.add(name, "is larger than 256 KiB", "give the settings file, of KEY=VALUE lines")
	case bytes.IndexByte(data, 0) >= 0:
		problems.add(name, "holds a NUL byte", "save it as plain UTF-8 text (not UTF-16)")
	case !utf8.Valid(data):
		problems.add(name, "is not UTF-8 text", "save it as plain UTF-8 text")
	}
	if problems != nil {
		return nil, problems
	}
	var entries []entry
	text := strings.TrimPrefix(string(data), "\ufeff")
	for i, line := range strings.Split(text, "\n") {
		line = strings.Trim(line, blank)
		if line == "" {
			continue
		}
		if line[0] == '#' {
			if strings.HasSuffix(line, `\`) {
				problems.add(name, fmt.Sprintf("line %d: a comment ends in a backslash, after which systemd takes the next line for a comment too", i+1), "remove that backslash")
			}
			continue
		}
		e, f := parseLine(line)
		if f != nil {
			at := e.key
			if at == "" {
				at = name
			}
			problems.add(at, fmt.Sprintf("line %d: %s", i+1, f.message), f.fix)
			continue
		}
		e.line = i + 1
		entries = append(entries, e)
	}
	return entries, problems
}

// parseLine returns the key beside a fault when the key itself can be named.
func parseLine(line string) (entry, *fault) {
	key, value, found := strings.Cut(line, "=")
	if strings.HasPrefix(key, "export ") {
		return entry{}, &fault{"starts with export", "remove the word export: the file is read, not run by a shell"}
	}
	if !found {
		return entry{}, &fault{"has no =", "write KEY=VALUE, or # before a comment"}
	}
	if !keyName().MatchString(key) {
		return entry{}, &fault{"does not start with a key", "write KEY=VALUE; a key has upper-case letters, digits and underscores, and no space before the ="}
	}
	value, f := unquote(strings.Trim(value, blank))
	return entry{key: key, value: value}, f
}

func unquote(v string) (string, *fault) {
	if strings.ContainsFunc(v, unicode.IsControl) {
		return "", &fault{"the value holds a control character", "write it as one line of plain text"}
	}
	if v != "" && (v[0] == '\'' || v[0] == '"') {
		quote := v[:1]
		inner, after, closed := strings.Cut(v[1:], quote)
		switch {
		case !closed:
			return "", &fault{"a quote is never closed", "end the value with the quote that it starts with"}
		case after != "":
			return "", &fault{"something follows the closing quote", "end the line there, and put comments on lines of their own"}
		case quote == `"` && strings.Contains(inner, `\`):
			return "", &fault{"a backslash stands outside single quotes, where other readers of this file would drop it", "put the value in single quotes"}
		}
		return inner, nil
	}
	switch {
	case strings.ContainsAny(v, `'"`):
		return "", &fault{"a quote stands inside the value", "put the whole value in the other kind of quotes"}
	case strings.Contains(v, `\`):
		return "", &fault{"a backslash stands outside single quotes, where other readers of this file would drop it", "put the value in single quotes"}
	case strings.Contains(v, " #") || strings.Contains(v, "\t#"):
		return "", &fault{"a comment follows the value", "put comments on lines of their own, or the value in quotes if the # belongs to it"}
	}
	return v, nil
}

// formatLine is the inverse of parseLine for a key and value that it returned.
func formatLine(key, value string) string {
	switch {
	case !strings.ContainsAny(value, `'"\#`) && strings.TrimSpace(value) == value:
		return key + "=" + value
	case !strings.Contains(value, "'"):
		return key + "='" + value + "'"
	default:
		return key + `="` + value + `"`
	}
}
