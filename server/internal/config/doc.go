// Package config describes every setting of the server once and loads them.
//
// The tags of Config are the description: name, default, sentence, range. From
// them come the loaded values, .env.example, the help text and the redacted
// listing, so none of these can drift from the others.
//
// A value comes from the environment, else from the settings file, else from
// the default. A secret may also be read from a file named by KEY_FILE. Load
// goes raw, typed, checked, in that order, and reports every problem it finds
// together: nothing of a configuration is used unless all of it is right.
//
// A setting is in effect, or reserved: known and checked, but for a feature
// that this build lacks. Reserved settings that were set are reported. Where
// ignoring one would make the server weaker than its operator believes, the
// value is refused instead.
//
// The profile says how much is taken on trust: trial lets the server make its
// own secrets and schema, staging and production do not, and production also
// refuses what is only acceptable where nobody depends on it.
//
// No error, listing or log made here holds the value of a setting that was
// refused, or of a secret.
package config
