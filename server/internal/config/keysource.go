package config

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"unicode"
)

// KeySource is where a private key is. The zero one says nothing.
type KeySource struct {
	Kind SourceKind
	Path string   // of the file or the program, absolute
	Args []string // of the program

	text string
}

// SourceKind is a kind of KeySource.
type SourceKind string

// The kinds.
const (
	FromFile    SourceKind = "file" // PKCS#8 in PEM
	FromProgram SourceKind = "exec" // behind a program that signs: docs/signers.md
	FromNowhere SourceKind = "none" // said to be nowhere
)

const (
	maxSource = 4096 // bytes
	maxArgs   = 64
)

// String is the source as it was written.
func (s KeySource) String() string { return s.text }

// Shown is the source without a program's arguments, which may say more than a listing
// should.
func (s KeySource) Shown() string {
	switch {
	case s.Kind == "" || s.Kind == FromNowhere:
		return string(s.Kind)
	case len(s.Args) > 0:
		return string(s.Kind) + ":" + s.Path + " ..."
	}
	return string(s.Kind) + ":" + s.Path
}

// FileSource is a source in a file.
func FileSource(path string) KeySource {
	return KeySource{Kind: FromFile, Path: path, text: "file:" + path}
}

// ParseKeySource reads file:PATH, exec:PATH ARGUMENT..., exec:["PATH","ARGUMENT",...] or
// none. Arguments are words: nothing in them is quoted or expanded, and no shell reads
// them.
func ParseKeySource(text string) (KeySource, error) {
	s, f := parseKeySource(text)
	if f != nil {
		return KeySource{}, errors.New("the key source " + f.message + "; " + f.fix)
	}
	return s, nil
}

func parseKeySource(text string) (KeySource, *fault) {
	const fix = "write file:/PATH, exec:/PROGRAM ARGUMENT... or, where an argument has a space in it, exec:[\"/PROGRAM\",\"AN ARGUMENT\"]"
	if text == string(FromNowhere) {
		return KeySource{Kind: FromNowhere, text: text}, nil
	}
	if len(text) > maxSource || strings.ContainsFunc(text, unicode.IsControl) {
		return KeySource{}, &fault{"is too long, or holds a control character", fix}
	}
	kind, rest, _ := strings.Cut(text, ":")
	s := KeySource{Kind: SourceKind(kind), Path: rest, text: text}
	switch s.Kind {
	case FromFile:
	case FromProgram:
		words := strings.Fields(rest)
		if strings.HasPrefix(rest, "[") {
			words = nil
			if err := json.Unmarshal([]byte(rest), &words); err != nil {
				return KeySource{}, &fault{"starts with [ and is not a JSON list of words", fix}
			}
		} else if strings.ContainsAny(rest, `"'\`) {
			return KeySource{}, &fault{"has a quote in it, which no shell takes away here", fix}
		}
		if len(words) == 0 || len(words) > maxArgs {
			return KeySource{}, &fault{"names no program, or has more than 64 arguments", fix}
		}
		s.Path, s.Args = words[0], words[1:]
	default:
		return KeySource{}, &fault{"is of no kind that is known", fix}
	}
	if !filepath.IsAbs(s.Path) {
		return KeySource{}, &fault{"names a relative path, which means another file from each working directory", fix}
	}
	return s, nil
}

// checkKeySource is for keys that a server may do without.
func checkKeySource(text string) *fault {
	_, f := parseKeySource(text)
	return f
}

// checkSomeKeySource is for keys that have a place anyway: where none is set.
func checkSomeKeySource(text string) *fault {
	s, f := parseKeySource(text)
	if f == nil && s.Kind == FromNowhere {
		return &fault{"is none, but there is nothing to switch off", "remove the line: without it the key has its usual place"}
	}
	return f
}
