//go:build !windows

package config

// modesCount says that the mode bits of a file are who may read it.
const modesCount = true
