package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Sources is where values come from.
type Sources struct {
	Flags   map[string]string // flags that were given, by name
	Environ []string          // as os.Environ
	File    string            // path of a settings file, "" for none
}

// Problem is one reason why the settings are refused. It never holds the value.
type Problem struct {
	Where string // the setting as it was given, or the file and line
	Fix   string // what to write instead
}

// Problems is every reason found.
type Problems []Problem

func (ps Problems) Error() string {
	var b strings.Builder
	b.WriteString("the settings are not right:")
	for _, p := range ps {
		fmt.Fprintf(&b, "\n  %s: %s", p.Where, p.Fix)
	}
	return b.String()
}

// value is one raw setting and what to call it in a problem.
type value struct{ text, where string }

// Load reads, merges and checks the settings. Its error is Problems.
func Load(src Sources) (*Config, error) {
	var problems Problems
	raw := map[string]value{}
	if src.File != "" {
		fromFile, ps := readFile(src.File)
		maps.Copy(raw, fromFile)
		problems = append(problems, ps...)
	}
	for _, kv := range src.Environ {
		if name, v, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(name, Prefix) && name != ConfigEnv {
			raw[strings.TrimPrefix(name, Prefix)] = value{v, name}
		}
	}
	var c Config
	for _, s := range Settings() {
		v, ok := raw[s.Key]
		delete(raw, s.Key)
		if text, given := src.Flags[s.Flag]; given {
			v, ok = value{text, "--" + s.Flag}, true
		}
		if !ok || v.text == "" { // an empty variable is a usual way to say "not set"
			v = value{s.Default, "the default of " + s.Env()}
		}
		if v.text == "" {
			continue
		}
		if err := s.read(&c, v.text); err != nil {
			problems = append(problems, Problem{v.where, err.Error()})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		problems = append(problems, Problem{raw[key].where, "there is no such setting; leave it out" + didYouMean(key)})
	}
	if (c.CertificateFile == "") != (c.KeyFile == "") {
		problems = append(problems, Problem{Prefix + "CERTIFICATE_FILE and " + Prefix + "KEY_FILE", "write both, or none"})
	}
	if problems != nil {
		return nil, problems
	}
	return &c, nil
}

// didYouMean finds a setting that has the same letters but for one or two.
func didYouMean(key string) string {
	for _, s := range Settings() {
		if near(key, s.Key) {
			return ", or write " + s.Env()
		}
	}
	return ""
}

// near says whether two names share all but two characters at their beginning
// and end together.
func near(a, b string) bool {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	j := 0
	for j < len(a)-i && j < len(b)-i && a[len(a)-1-j] == b[len(b)-1-j] {
		j++
	}
	return max(len(a), len(b))-i-j <= 2
}
