package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// patch is one defence taken away, and the test that must notice.
type patch struct {
	name      string   // of the file, without .patch
	path      string   // of the file
	test      []string // arguments of "go test"
	malformed error    // why the header cannot be used, nil if it can
}

// load reads the patches of a directory whose names match, in their order.
func load(dir string, chosen *regexp.Regexp) ([]patch, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.patch"))
	if err != nil {
		return nil, err
	}
	var patches []patch
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".patch")
		if !chosen.MatchString(name) {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		p := patch{name: name, path: path}
		p.test, p.malformed = parseHeader(name, string(text))
		patches = append(patches, p)
	}
	if len(patches) == 0 {
		return nil, errors.New("no patch to run: nothing in test/mutants matches")
	}
	return patches, nil
}

// A name is the row of the catalogue, then words: ENR-04-used-up-token.
var rowOfName = regexp.MustCompile(`^([A-Z]{2,5}-[0-9]{2,3})-[a-z0-9-]+$`)

// parseHeader returns the arguments of the header's "go test".
func parseHeader(name, text string) ([]string, error) {
	row := rowOfName.FindStringSubmatch(name)
	if row == nil {
		return nil, errors.New("the file is not named ROW-words.patch, like ENR-04-used-up-token.patch")
	}
	defends, err := headerLine(text, "defends")
	if err != nil {
		return nil, err
	}
	if id, sentence, _ := strings.Cut(defends, " "); id != row[1] || strings.TrimSpace(sentence) == "" {
		return nil, fmt.Errorf("the line \"# defends:\" must begin with %s, then say what the patch removes", row[1])
	}
	test, err := headerLine(text, "test")
	if err != nil {
		return nil, err
	}
	words, err := split(test)
	if err != nil {
		return nil, err
	}
	if len(words) < 3 || words[0] != "go" || words[1] != "test" {
		return nil, errors.New("the line \"# test:\" must be a go test command with a package")
	}
	return words[2:], nil
}

// headerLine finds the one line "# key: value" before the diff.
func headerLine(text, key string) (string, error) {
	value := ""
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "#")
		if !ok {
			break
		}
		v, ok := strings.CutPrefix(strings.TrimSpace(rest), key+":")
		switch {
		case !ok:
		case value != "":
			return "", fmt.Errorf("more than one line \"# %s:\"", key)
		default:
			value = strings.TrimSpace(v)
		}
	}
	if value == "" {
		return "", fmt.Errorf("no line \"# %s:\" at the beginning", key)
	}
	return value, nil
}

// split cuts a command line into words. Quotes of both kinds hold a word
// together; nothing else is special, for no shell runs the command.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune
	inWord := false
	for _, c := range line {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, inWord = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed in the line \"# test:\"")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
