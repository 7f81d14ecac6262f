package config

import "reflect"

// Setting describes one setting to people and programs.
type Setting struct {
	Key     string `json:"key"`
	Default string `json:"default"` // as written; empty means empty or not set
	// OutsideTrial is the default in staging and production where it differs.
	OutsideTrial string `json:"default_outside_trial,omitempty"`
	Doc          string `json:"doc"`
	Secret       bool   `json:"secret"`   // never shown; may be read from the file that KEY_FILE names
	Required     bool   `json:"required"` // must be set outside the trial profile
	Reserved     bool   `json:"reserved"` // known and checked, not in effect in this build
	Section      string `json:"section"`
}

// Describe lists every setting in the order of Config.
func Describe() []Setting {
	list := make([]Setting, len(settings))
	for i, s := range settings {
		list[i] = s.Setting
	}
	return list
}

// setting is a Setting with what loading needs.
type setting struct {
	Setting
	index    []int // of the field in Config
	secret   string
	min, max string
	oneOf    string
	check    string
	only     string
	because  string
	example  string
}

const (
	secretKey = "key" // strong, generated
	secretURL = "url" // may hold a password
)

var (
	settings = describe()
	byKey    = index(settings)
)

func describe() []setting {
	var list []setting
	section := ""
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		key, described := f.Tag.Lookup("env")
		if !described {
			continue
		}
		if title, starts := f.Tag.Lookup("section"); starts {
			section = title
		}
		secret := f.Tag.Get("secret")
		list = append(list, setting{
			Setting: Setting{
				Key:          key,
				Default:      f.Tag.Get("default"),
				OutsideTrial: f.Tag.Get("outside_trial"),
				Doc:          f.Tag.Get("doc"),
				Secret:       secret != "",
				Required:     f.Tag.Get("required") != "",
				Reserved:     f.Tag.Get("reserved") != "",
				Section:      section,
			},
			index:   f.Index,
			secret:  secret,
			min:     f.Tag.Get("min"),
			max:     f.Tag.Get("max"),
			oneOf:   f.Tag.Get("oneof"),
			check:   f.Tag.Get("check"),
			only:    f.Tag.Get("only"),
			because: f.Tag.Get("because"),
			example: f.Tag.Get("example"),
		})
	}
	return list
}

func index(list []setting) map[string]setting {
	m := make(map[string]setting, len(list))
	for _, s := range list {
		m[s.Key] = s
	}
	return m
}

func (s setting) defaultIn(p Profile) string {
	if p != Trial && s.OutsideTrial != "" {
		return s.OutsideTrial
	}
	return s.Default
}

// field is a pointer to the setting's field in c.
func (s setting) field(c *Config) any {
	return reflect.ValueOf(c).Elem().FieldByIndex(s.index).Addr().Interface()
}
