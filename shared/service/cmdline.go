package service

import "strings"

// startsOnly says whether Windows, given this command line, can start only the
// program at path. Without quotes it would first try every prefix that ends
// at a space: C:\Program.exe before C:\Program Files\... (CWE-428).
func startsOnly(commandLine, path string) bool {
	if rest, ok := strings.CutPrefix(commandLine, `"`+path+`"`); ok {
		return rest == "" || rest[0] == ' '
	}
	rest, ok := strings.CutPrefix(commandLine, path)
	return ok && path != "" && !strings.ContainsAny(path, " \t") && (rest == "" || rest[0] == ' ')
}
