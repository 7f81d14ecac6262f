package protocol

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

// maxDepth is far above what any message needs (3) and far below what makes a
// recursive reader suffer.
const maxDepth = 16

// ErrMalformed says that bytes are not one message of the expected form. Its
// text names the place and the rule, never the value.
var ErrMalformed = errors.New("malformed message")

// Decode reads exactly one JSON value into v and refuses duplicate members
// (also those that differ in case only, which encoding/json would merge),
// unknown members, trailing data and deep nesting.
func Decode(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return decode(d, data, v)
}

// DecodeTolerant is Decode for the agent's side: members that it does not
// know are passed over, since a newer server may send them.
func DecodeTolerant(data []byte, v any) error {
	return decode(json.NewDecoder(bytes.NewReader(data)), data, v)
}

// decode makes sure of one value, no duplicates, bounded depth. What is plainly in order
// passes in one reading; everything else is walked token by token, which knows every
// spelling of a name and says where something is wrong.
func decode(d *json.Decoder, data []byte, v any) error {
	if plain(data) {
		err := d.Decode(v)
		if err == nil && len(bytes.TrimLeft(data[d.InputOffset():], space)) == 0 {
			return nil
		}
		return cmp.Or(walkJSON(data), refused(err))
	}
	if err := walkJSON(data); err != nil {
		return err
	}
	return refused(d.Decode(v))
}

// refused is an error of encoding/json in our words.
func refused(err error) error {
	if err == nil {
		return nil
	}
	var typeErr *json.UnmarshalTypeError
	switch {
	case errors.As(err, &typeErr):
		return fmt.Errorf("%w: %s must not be a JSON %s", ErrMalformed, or(typeErr.Field, "the message"), word(typeErr.Value))
	case strings.HasPrefix(err.Error(), "json: unknown field "):
		return fmt.Errorf("%w: it has a member that is not known here", ErrMalformed)
	default:
		// The reader's own text may quote what was sent.
		return fmt.Errorf("%w: a value has the wrong form", ErrMalformed)
	}
}

// word keeps the kind of a JSON value and drops the value itself, which
// encoding/json adds to numbers ("number 1e400").
func word(s string) string { w, _, _ := strings.Cut(s, " "); return w }

// fold brings all spellings that encoding/json takes for one name together: case,
// and the two letters beyond ASCII that fold into it.
func fold(r rune) rune {
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	return least
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// plain says of data, if that is valid JSON, that it is nested within bounds and that the
// members of each object have different names of ASCII letters, whatever their case,
// without escapes. A false says nothing.
func plain(data []byte) bool {
	const inArray = -1
	levels := make([]int, 0, maxDepth)    // where the names of each open object begin in seen
	seen := make([][]byte, 0, 2*MaxFacts) // a heartbeat with all its facts has fewer
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			if len(levels) == maxDepth {
				return false
			}
			from := len(seen)
			if data[i] == '[' {
				from = inArray
			}
			levels = append(levels, from)
		case '}', ']':
			if len(levels) == 0 {
				return false
			}
			from := levels[len(levels)-1]
			levels = levels[:len(levels)-1]
			if from != inArray {
				seen = seen[:from]
			}
		case '"':
			name, escaped := text(data[i+1:])
			end := i + 1 + len(name)
			if end >= len(data) {
				return false
			}
			i = end
			if !isName(data[end+1:]) {
				continue
			}
			if len(levels) == 0 || levels[len(levels)-1] == inArray {
				return false
			}
			same := func(other []byte) bool { return bytes.EqualFold(other, name) }
			if escaped || len(seen) == cap(seen) || !ascii(name) || slices.ContainsFunc(seen[levels[len(levels)-1]:], same) {
				return false
			}
			seen = append(seen, name)
		}
	}
	return true
}

// text is a string up to the quote that ends it, or all of what has no such quote, and
// whether something in it is escaped.
func text(data []byte) (inside []byte, escaped bool) {
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			return data[:i], escaped
		case '\\':
			escaped = true
			i++
		}
	}
	return data, escaped
}

// isName says whether a string with this behind it is a member's name.
func isName(rest []byte) bool {
	rest = bytes.TrimLeft(rest, space)
	return len(rest) > 0 && rest[0] == ':'
}

const space = " \t\r\n" // RFC 8259 section 2

func ascii(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c >= 0x80 })
}

// walkJSON walks the tokens once.
func walkJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	type level struct {
		object  bool
		wantKey bool
		keys    map[string]bool
	}
	var stack []level
	for first := true; ; first = false {
		tok, err := d.Token()
		if err == io.EOF && !first && len(stack) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: not complete JSON at byte %d", ErrMalformed, d.InputOffset())
		}
		if !first && len(stack) == 0 {
			return fmt.Errorf("%w: data after its end", ErrMalformed)
		}
		if len(stack) > 0 {
			top := &stack[len(stack)-1]
			if key, ok := tok.(string); ok && top.object && top.wantKey {
				folded := strings.Map(fold, key)
				if top.keys[folded] {
					return fmt.Errorf("%w: a member stands twice before byte %d", ErrMalformed, d.InputOffset())
				}
				top.keys[folded] = true
				top.wantKey = false
				continue
			}
			top.wantKey = top.object
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			if len(stack) == maxDepth {
				return fmt.Errorf("%w: nested deeper than %d", ErrMalformed, maxDepth)
			}
			object := tok == json.Delim('{')
			stack = append(stack, level{object: object, wantKey: object, keys: map[string]bool{}})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
	}
}
