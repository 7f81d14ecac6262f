package config

import (
	"bytes"
	"fmt"
	"strings"
)

const width = 78 // columns of a comment in .env.example

// Example is the text of .env.example: every setting, explained and commented
// out with its default, so that the file as it is changes nothing.
func Example() []byte {
	var b bytes.Buffer
	b.WriteString(exampleHead)
	section := ""
	for _, s := range settings {
		if s.Section != section {
			section = s.Section
			fmt.Fprintf(&b, "\n\n# ---- %s\n", section)
		}
		b.WriteByte('\n')
		for _, line := range wrap(s.Doc+s.facts(), width-2) {
			b.WriteString("# " + line + "\n")
		}
		value := s.Default
		if value == "" {
			value = s.example
		}
		b.WriteString("#" + formatLine(s.Key, value) + "\n")
	}
	return b.Bytes()
}

const exampleHead = `# Settings of sentinel-server. Made by: sentinel-server config example
#
# Lines are KEY=VALUE. A value may stand in single or double quotes; nothing in
# it is expanded. The environment wins over this file. An unknown key, a key set
# twice and a bad value stop the server at its start; check beforehand with:
# sentinel-server config validate
#
# Every line below shows the default, or an example where there is none. A secret
# may be read from a file instead: put _FILE after its key, and the file's path as
# the value. That file, and this one once it holds a secret, must be closed to
# other users (mode 0600).
`

// facts are what the tags say beyond the sentence.
func (s setting) facts() string {
	var b strings.Builder
	if s.min != "" {
		fmt.Fprintf(&b, " From %s to %s.", s.min, s.max)
	}
	if s.oneOf != "" {
		fmt.Fprintf(&b, " One of %s.", strings.ReplaceAll(s.oneOf, ",", ", "))
	}
	if s.only != "" {
		fmt.Fprintf(&b, " This build refuses any value but %s.", s.only)
	}
	if s.OutsideTrial != "" {
		fmt.Fprintf(&b, " Default: %s in the trial profile, %s in the others.", s.Default, s.OutsideTrial)
	}
	if s.Required {
		fmt.Fprintf(&b, " Needed outside the trial profile; make one with: %s", generate)
	}
	return b.String()
}

// Help is the settings part of a --help text: each key with its default and
// meaning.
func Help() string {
	var b strings.Builder
	section := ""
	for _, s := range settings {
		if s.Section != section {
			section = s.Section
			fmt.Fprintf(&b, "\n%s\n", section)
		}
		b.WriteString("  " + s.Key)
		if s.Default != "" {
			b.WriteString(" (" + s.Default + ")")
		}
		b.WriteByte('\n')
		for _, line := range wrap(s.Doc+s.facts(), width-6) {
			b.WriteString("      " + line + "\n")
		}
	}
	return strings.TrimPrefix(b.String(), "\n")
}

// wrap breaks text at spaces into lines of at most limit bytes; only a longer
// word gets a longer line.
func wrap(text string, limit int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > limit {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
