package signing

import (
	"fmt"
	"maps"
	"slices"
)

// KindSpec is what a kind of command takes. Both sides hold a command to it: the
// server so that a mistake is told at once, the device because it believes nobody.
type KindSpec struct {
	About      string
	Parameters map[string]ParameterSpec // all may be left out
}

// ParameterSpec is the type of a parameter and its bounds, whatever a bundle allows.
type ParameterSpec struct {
	About    string
	Number   bool  // otherwise text
	Min, Max int64 // of a number; Max bounds the bytes of a text
}

var kinds = map[string]KindSpec{
	"ping": {About: "answers, and sends back the text it is given", Parameters: map[string]ParameterSpec{
		"echo": {About: "text to send back", Max: 64},
	}},
	"collect-facts":      {About: "reads the facts about the device anew and sends them"},
	"rotate-certificate": {About: "renews the device's certificate now, with a new key"},
	"restart-agent": {About: "ends the agent, for its supervisor to start it again", Parameters: map[string]ParameterSpec{
		"delay-seconds": {About: "how long to wait first", Number: true, Max: 300},
	}},
}

// Kinds lists the kinds that this version knows, sorted.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds)) }

// Kind says what a kind takes.
func Kind(name string) (KindSpec, bool) {
	k, ok := kinds[name]
	return k, ok
}

// CheckKind holds parameters to what the kind takes and to the rule's limits: a
// limit bounds a number from above, or the bytes of a text. ErrKind, ErrParameter.
func CheckKind(kind string, parameters map[string]Parameter, rule KindRule) error {
	spec, ok := kinds[kind]
	if !ok || rule.Kind != kind {
		return fmt.Errorf("%w: %s", ErrKind, kind)
	}
	for name, p := range parameters {
		s, ok := spec.Parameters[name]
		if !ok || s.Number != (p.Number != nil) || s.Number == (p.Text != nil) {
			return fmt.Errorf("%w: %s of %s is not known, or of another type", ErrParameter, name, kind)
		}
		value := measure(p)
		most := s.Max
		if limit, ok := rule.Limits[name]; ok {
			most = min(most, limit)
		}
		if value > most || value < s.Min {
			return fmt.Errorf("%w: %s of %s is beyond what is allowed", ErrParameter, name, kind)
		}
	}
	return nil
}

// measure is what bounds a parameter: the number itself, or the bytes of a text.
func measure(p Parameter) int64 {
	if p.Number != nil {
		return *p.Number
	}
	return int64(len(*p.Text))
}
