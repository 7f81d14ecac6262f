package main

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// member is how the API begins what it says of one: body.life_seconds, query.limit.
var member = regexp.MustCompile(`^(?:body|query|path)\.([a-z_]+): (.*)$`)

// bound is what it says of a number: expected number <= 3.1536e+07.
var bound = regexp.MustCompile(`^expected number (>=|<=) ([0-9.e+-]+)$`)

// asFlags has the server's refusal of an input speak of the flags that a person gave.
// What is no flag's stays as the server says it.
func asFlags(err error, flags *pflag.FlagSet) error {
	p, ok := errors.AsType[*protocol.Problem](err)
	if !ok || p.Code != httpkit.CodeInvalid {
		return err
	}
	said := strings.Split(p.Detail, "; ")
	for i, text := range said {
		m := member.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		if name := flagOf(m[1], flags); name != "" {
			said[i] = "--" + name + " " + plainRule(m[2], flags.Lookup(name).Value.Type() == "duration")
		}
	}
	p.Detail = strings.Join(said, "; ")
	return err
}

// flagOf is the flag that a member of the API is given by, "" for none.
func flagOf(member string, flags *pflag.FlagSet) string {
	names := []string{strings.ReplaceAll(member, "_", "-")}
	if member == "seconds" || member == "life_seconds" {
		names = []string{"life", "for"}
	}
	for _, name := range names {
		if flags.Lookup(name) != nil {
			return name
		}
	}
	return ""
}

func plainRule(rule string, duration bool) string {
	if m := bound.FindStringSubmatch(rule); m != nil {
		n, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return rule
		}
		number := strconv.FormatInt(int64(n), 10)
		if duration {
			number = config.Compact(time.Duration(n) * time.Second)
		}
		return "must be at " + map[string]string{">=": "least ", "<=": "most "}[m[1]] + number
	}
	if choices, ok := strings.CutPrefix(rule, "expected value to be one of "); ok {
		return "must be one of: " + strings.Trim(choices, `"`)
	}
	switch {
	case rule == "invalid integer":
		return "must be a whole number"
	case strings.HasPrefix(rule, "invalid date/time"):
		return "must be a time such as 2026-11-23T00:00:00Z"
	}
	return "is refused: " + rule
}
