//go:build unix

package config

import "os"

func defaultStateDir() string { return "/var/lib/sentinel-agent" }

func changeable(info os.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }
