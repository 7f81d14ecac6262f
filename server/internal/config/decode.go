package config

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fault is a Problem that does not know its key yet.
type fault struct{ message, fix string }

// decode turns text into the type of the setting's field and stores it there.
// The field is unchanged after a fault.
func (s setting) decode(c *Config, text string) *fault {
	if text == "" && s.Default == "" && s.secret != secretKey {
		return nil
	}
	if text == "" {
		return &fault{"is set but empty", "write a value, or remove the line" + s.orDefault()}
	}
	if f := s.word(text); f != nil {
		return f
	}
	if check, ok := checks[s.check]; ok {
		if f := check(text); f != nil {
			return f
		}
	}
	if s.secret == secretKey {
		if f := weakness(text); f != nil {
			return f
		}
	}
	if s.only != "" && text != s.only {
		return &fault{
			fmt.Sprintf("this build cannot honour any value but %s: %s", s.only, s.because),
			fmt.Sprintf("write %s=%s, or remove the line", s.Key, s.only),
		}
	}
	return s.store(c, text)
}

func (s setting) orDefault() string {
	if s.Default == "" {
		return ""
	}
	return " to use the default, " + s.Default
}

func (s setting) word(text string) *fault {
	if s.oneOf == "" {
		return nil
	}
	words := strings.Split(s.oneOf, ",")
	if slices.Contains(words, text) {
		return nil
	}
	return &fault{"is not one of the allowed words", "write one of " + strings.Join(words, ", ")}
}

func (s setting) store(c *Config, text string) *fault {
	switch p := s.field(c).(type) {
	case *string:
		*p = text
	case *Secret:
		*p = Secret(text)
	case *Profile:
		*p = Profile(text)
	case *LogFormat:
		*p = LogFormat(text)
	case *KeySource:
		source, f := parseKeySource(text)
		if f != nil {
			return f
		}
		*p = source
	case *[]string:
		*p = splitList(text)
	case *slog.Level:
		if err := p.UnmarshalText([]byte(text)); err != nil {
			return &fault{"is not a log level", "write one of " + s.oneOf}
		}
	case *bool:
		if text != "true" && text != "false" {
			return &fault{"is not true or false", "write true or false, in lower case"}
		}
		*p = text == "true"
	case *People:
		if word, ok := map[string]string{"true": "1", "false": "0"}[text]; ok {
			text = word
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < must(strconv.Atoi(s.min)) || n > must(strconv.Atoi(s.max)) {
			return &fault{"is not a number of people", fmt.Sprintf("write a number from %s to %s, in digits", s.min, s.max)}
		}
		*p = People(n)
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return &fault{"is not a whole number", fmt.Sprintf("write a number from %s to %s, in digits", s.min, s.max)}
		}
		if n < must(strconv.Atoi(s.min)) || n > must(strconv.Atoi(s.max)) {
			return &fault{"is out of range", fmt.Sprintf("write a number from %s to %s", s.min, s.max)}
		}
		*p = n
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return &fault{"is not a duration", fmt.Sprintf("write a number and a unit (ms, s, m or h; 7 days are 168h), from %s to %s", s.min, s.max)}
		}
		if d < must(time.ParseDuration(s.min)) || d > must(time.ParseDuration(s.max)) {
			return &fault{"is out of range", fmt.Sprintf("write a duration from %s to %s", s.min, s.max)}
		}
		*p = d
	default:
		panic(fmt.Sprintf("config: %s has a type that cannot be loaded", s.Key)) //nolint:forbidigo // a mistake in this program, found when it starts
	}
	return nil
}

// text is the setting's value in c as it would be written.
func (s setting) text(c *Config) string {
	switch p := s.field(c).(type) {
	case *string:
		return *p
	case *Secret:
		return string(*p)
	case *Profile:
		return string(*p)
	case *LogFormat:
		return string(*p)
	case *KeySource:
		return p.String()
	case *[]string:
		return strings.Join(*p, ",")
	case *slog.Level:
		return strings.ToLower(p.String())
	case *bool:
		return strconv.FormatBool(*p)
	case *People:
		return strconv.Itoa(int(*p))
	case *int:
		return strconv.Itoa(*p)
	case *time.Duration:
		return Compact(*p)
	}
	panic(fmt.Sprintf("config: %s has a type that cannot be written", s.Key)) //nolint:forbidigo // a mistake in this program, found when it starts
}

// Compact writes 168h where Duration.String writes 168h0m0s.
func Compact(d time.Duration) string {
	t := d.String()
	if strings.HasSuffix(t, "m0s") {
		t = strings.TrimSuffix(t, "0s")
	}
	if strings.HasSuffix(t, "h0m") {
		t = strings.TrimSuffix(t, "0m")
	}
	return t
}

func splitList(text string) []string {
	items := strings.Split(text, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// must is for the tags of Config, which a test decodes in full.
func must[T any](v T, err error) T {
	if err != nil {
		panic("config: a tag of Config is wrong: " + err.Error()) //nolint:forbidigo // a mistake in this program, found when it starts
	}
	return v
}
