//go:build windows

package doctor

import (
	"os"

	"golang.org/x/sys/windows"
)

var errRefused error = windows.WSAECONNREFUSED

// owner is not told by a file's mode here: access lists decide.
func owner(os.FileInfo) (owner, self int) { return -1, -1 }

// readSpace asks the volume that dir is on.
func readSpace(dir string) (space, error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return space{}, err
	}
	var free, total, all uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, &total, &all); err != nil {
		return space{}, err
	}
	return space{free: free}, nil
}
