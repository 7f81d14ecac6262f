package preflight

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

const (
	unitName = "sentinel-server.service"
	unitMax  = 64 << 10 // bytes
)

// gatherService reads the server's unit and what is dropped beside it, as systemd
// would: of a setting that is there twice the last counts.
func gatherService(places []string) Service {
	s := Service{Looked: runtime.GOOS == "linux"}
	for _, place := range places {
		path := filepath.Join(place, unitName)
		text, ok := smallFile(path)
		if !ok {
			continue
		}
		s.Unit = path
		s.read(text)
		break
	}
	if s.Unit == "" {
		return s
	}
	for _, place := range slices.Backward(places) { // the first place wins, so it is read last
		drops, err := filepath.Glob(filepath.Join(place, unitName+".d", "*.conf"))
		if err != nil {
			continue
		}
		for _, path := range drops {
			if text, ok := smallFile(path); ok {
				s.read(text)
			}
		}
	}
	return s
}

func smallFile(path string) (string, bool) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > unitMax {
		return "", false
	}
	data, err := os.ReadFile(path)
	return string(data), err == nil
}

func (s *Service) read(unit string) {
	section := ""
	for line := range strings.Lines(unit) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		key, value, found := strings.Cut(line, "=")
		if !found || section != "[Service]" {
			continue
		}
		switch strings.TrimSpace(key) {
		case "Restart":
			s.Restart = strings.TrimSpace(value)
		case "User":
			s.User = strings.TrimSpace(value)
		}
	}
}
