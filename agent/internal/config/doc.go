// Package config is the agent's settings. Each is described once, in the list in
// settings.go; help, errors and loading come from that list.
//
// A value comes from the flag, else from the environment, else from the settings
// file, else from the default. Load goes raw, typed, checked and reports every
// problem together: nothing is used unless all of it is right. Names under
// SENTINEL_AGENT_ that are not in the list are refused, since a misspelt setting
// is one that somebody relies on.
//
// The environment of a service belongs to whoever installed it; the settings
// file must belong to its user alone, as far as changing it goes. Nothing is
// read from HTTP_PROXY and the like.
package config
