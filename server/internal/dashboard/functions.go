package dashboard

import (
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"
	"time"
)

// functions are what templates may call. In a page that is followed, times have no
// relative form.
func (c *Console) functions(following bool) template.FuncMap {
	return template.FuncMap{
		"asset":   c.assets.path,
		"icon":    icon,
		"status":  statusOf,
		"short":   short,
		"pretty":  pretty,
		"plural":  plural,
		"words":   func(s any) string { return strings.NewReplacer("-", " ", "_", " ").Replace(fmt.Sprint(s)) },
		"sorted":  sortedPairs,
		"version": func() string { return c.deps.Version },
		"group":   groupDigits,
		"has":     slices.Contains[[]string],
		"list":    func(s ...string) []string { return s },
		"dict":    dict,
		"span":    spanOf,
		"when": func(t any) (moment, error) {
			m, err := momentOf(t, c.deps.Now())
			if following {
				m.Relative = ""
			}
			return m, err
		},
	}
}

// moment is a time as pages show it.
type moment struct {
	ISO, Exact, Relative string // all empty: never
}

// timer is a time of the database.
type timer interface{ Time() time.Time }

func momentOf(v any, now time.Time) (moment, error) {
	var t time.Time
	switch v := v.(type) {
	case time.Time:
		t = v
	case timer:
		t = v.Time()
	default:
		return moment{}, fmt.Errorf("%T is no time", v)
	}
	if t.IsZero() {
		return moment{}, nil
	}
	t = t.UTC()
	return moment{t.Format(time.RFC3339), t.Format("2006-01-02 15:04:05") + " UTC", relative(t, now)}, nil
}

// relative says how long ago or ahead t is. The script says the same in the same
// words (relative in console.js).
func relative(t, now time.Time) string {
	d := t.Sub(now)
	form := "in %s"
	if d <= 0 {
		form, d = "%s ago", -d
	}
	if d < 5*time.Second {
		return "now"
	}
	return fmt.Sprintf(form, spanOf(d))
}

// spanOf is a length of time in its largest unit.
func spanOf(d time.Duration) string {
	switch s := int64(d.Seconds()); {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min", s/60)
	case s < 48*3600:
		return fmt.Sprintf("%d h", s/3600)
	default:
		return fmt.Sprintf("%d days", s/86400)
	}
}

// status is a word with its colour and its shape: nobody needs to tell colours
// apart.
type status struct{ Word, Tone, Icon string }

var statuses = map[string]status{
	"trusted":   {"trusted", "good", "shield-check"},
	"reserved":  {"reserved", "warn", "shield-half"},
	"untrusted": {"untrusted", "bad", "shield-x"},

	"tpm-affirming":       {"as expected", "good", "shield-check"},
	"tpm-warning":         {"not as expected", "warn", "shield-half"},
	"tpm-contraindicated": {"not genuine", "bad", "shield-x"},

	"active":       {"active", "good", "dot"},
	"suspended":    {"suspended", "warn", "pause"},
	"held":         {"held", "warn", "hand"},
	"revoked":      {"revoked", "bad", "cross"},
	"retired":      {"retired", "calm", "stop"},
	"pending":      {"waits", "warn", "clock"},
	"open":         {"under way", "info", "play"},
	"review":       {"waits for approval", "warn", "clock"},
	"unsigned":     {"waits for its signature", "warn", "clock"},
	"approved":     {"approved", "good", "check"},
	"executed":     {"approved and done", "good", "check"},
	"issued":       {"issued", "good", "check"},
	"used":         {"in use", "good", "check"},
	"done":         {"done", "good", "check"},
	"succeeded":    {"succeeded", "good", "check"},
	"failed":       {"failed", "bad", "cross"},
	"refused":      {"refused", "bad", "cross"},
	"rejected":     {"rejected", "bad", "cross"},
	"cancelled":    {"cancelled", "calm", "stop"},
	"void":         {"void", "calm", "stop"},
	"expired":      {"expired", "calm", "clock"},
	"queued":       {"queued", "info", "clock"},
	"delivered":    {"delivered", "info", "play"},
	"acknowledged": {"acknowledged", "info", "play"},
	"usable":       {"usable", "good", "check"},
	"used-up":      {"used up", "calm", "stop"},
	"ready":        {"ready", "good", "check"},
	"not-ready":    {"not ready", "bad", "cross"},
	"warning":      {"ready, with a warning", "warn", "alert"},
	"disabled":     {"disabled", "bad", "stop"},
	"current":      {"in use", "good", "check"},
	"valid":        {"valid", "good", "check"},
	"superseded":   {"superseded", "calm", "stop"},
	"ended":        {"ended", "calm", "stop"},
	"sensitive":    {"sensitive", "info", "star"},
}

// statusOf is how a word of the domains is shown; one that is not in the table is
// shown as it is.
func statusOf(word any) status {
	s := fmt.Sprint(word)
	if known, ok := statuses[s]; ok {
		return known
	}
	return status{s, "calm", "dot"}
}

// short is the beginning of a long digest.
func short(s string) string {
	if len(s) <= 16 {
		return s
	}
	return s[:12] + "…"
}

// pretty indents JSON; what is none is shown as it is.
func pretty(data any) string {
	var raw []byte
	switch v := data.(type) {
	case json.RawMessage:
		raw = v
	case []byte:
		raw = v
	case string:
		raw = []byte(v)
	}
	var b strings.Builder
	var out any
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber() // what is shown is what is signed, to the digit
	if d.Decode(&out) != nil {
		return string(raw)
	}
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false) // the template escapes
	if err := e.Encode(out); err != nil {
		return string(raw)
	}
	return strings.TrimSpace(b.String())
}

// plural is "1 device", "2 devices".
func plural(n any, noun string) string {
	text := fmt.Sprint(n)
	if text == "1" {
		return "1 " + noun
	}
	if strings.HasSuffix(noun, "y") {
		noun = noun[:len(noun)-1] + "ie"
	}
	return groupDigits(n) + " " + noun + "s"
}

// groupDigits is a number as people read it: 100 000.
func groupDigits(n any) string {
	s := fmt.Sprint(n)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return sign + s
}

type pair struct{ Key, Value string }

func sortedPairs(m map[string]string) []pair {
	list := make([]pair, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, pair{k, m[k]})
	}
	return list
}

// dict gives a shared part several values.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict needs pairs")
	}
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("a key of dict is %T", pairs[i])
		}
		m[key] = pairs[i+1]
	}
	return m, nil
}
