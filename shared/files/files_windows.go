//go:build windows

package files

import "os"

const noFollow = 0

func exposed(os.FileInfo) bool { return false }

// syncDir has nothing to do: a directory cannot be flushed here, and NTFS
// journals the rename.
func syncDir(string) error { return nil }
