package config

import "slices"

// Load reads the settings from environ (as os.Environ returns it) and from the
// settings file, if file is not empty. For each setting the environment wins
// over the file, a KEY_FILE there over a KEY in the file too. On any problem it
// returns no Config and an error of type Problems, which lists them all.
func Load(environ []string, file string) (*Config, error) {
	l := read(environ, file, func(written Profile) Profile { return written })
	l.problems = append(l.problems, l.config.brokenRules(l.problems)...)
	if len(l.problems) > 0 {
		return nil, l.problems
	}
	return l.config, nil
}

// Inspection is a configuration as it would be in a profile, whatever it says
// itself. Where it has a problem, Config holds the default instead: it is to be
// explained, never to be run on.
type Inspection struct {
	Config   *Config
	Written  Profile // what SENTINEL_PROFILE says, or its default
	Problems Problems
}

// Inspect reads the settings as Load does, as those of a profile.
func Inspect(environ []string, file string, as Profile) Inspection {
	in := Inspection{}
	l := read(environ, file, func(written Profile) Profile {
		in.Written = written
		return as
	})
	in.Config, in.Problems = l.config, l.problems
	// The profile is known here, also where what is written is none.
	known := slices.DeleteFunc(slices.Clone(l.problems), func(p Problem) bool { return p.Key == profileKey })
	in.Problems = append(in.Problems, l.config.brokenRules(known)...)
	return in
}

const profileKey = "SENTINEL_PROFILE"

// read goes raw and typed. The profile whose defaults and rules apply is chosen by
// what the settings say.
func read(environ []string, file string, profile func(written Profile) Profile) *loader {
	var ps Problems
	env, credentials := fromEnviron(environ, &ps)
	l := &loader{
		config:      &Config{set: map[string]bool{}, files: map[string]string{}},
		sources:     []source{env, fromFile(file, &ps)},
		credentials: credentials,
		problems:    ps,
	}
	l.config.Profile = Trial
	for _, s := range settings { // SENTINEL_PROFILE first, since defaults depend on it
		l.load(s)
		if s.Key == profileKey {
			l.config.Profile = profile(l.config.Profile)
		}
	}
	l.config.deriveURLs()
	return l
}

type loader struct {
	config      *Config
	sources     []source // the first that sets something wins
	credentials string
	problems    Problems
}

// load stores the setting's value; after a problem, its default, so that what
// depends on it is still checked against something sound.
func (l *loader) load(s setting) {
	if def := s.defaultIn(l.config.Profile); def != "" {
		if f := s.decode(l.config, def); f != nil {
			panic("config: the default of " + s.Key + " " + f.message) //nolint:forbidigo // a mistake in this program, found when it starts
		}
	}
	for _, src := range l.sources {
		key := s.Key
		text, direct := src[key]
		path, byFile := "", false
		if s.Secret {
			path, byFile = src[s.Key+fileSuffix]
		}
		if !direct && !byFile {
			continue
		}
		if direct && byFile {
			l.problems.add(key, "is set beside "+key+fileSuffix, "keep one of the two")
			return
		}
		if byFile {
			key += fileSuffix
			l.config.files[s.Key] = path
			var f *fault
			if text, f = readSecret(path, l.credentials); f != nil {
				l.problems.add(key, f.message, f.fix)
				return
			}
		}
		if f := s.decode(l.config, text); f != nil {
			l.problems.add(key, f.message, f.fix)
			return
		}
		l.config.set[s.Key] = text != ""
		return
	}
}
