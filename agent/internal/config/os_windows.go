//go:build windows

package config

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// defaultStateDir asks the system, since a service's variable %ProgramData% may
// say anything.
func defaultStateDir() string {
	base, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, windows.KF_FLAG_DEFAULT)
	if err != nil {
		return ""
	}
	return filepath.Join(base, "Sentinel Agent")
}

// changeable cannot be told from the mode here: the access list of the file's
// directory decides.
func changeable(os.FileInfo) bool { return false }
