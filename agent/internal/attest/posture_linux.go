package attest

import (
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	// The variable of UEFI 2.10, section 3.3: four bytes of attributes, then 0 or 1.
	secureBoot = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
	mounts     = "proc/self/mountinfo"
	maxMounts  = 1 << 20
	maxDepth   = 6 // of device mappings on each other: file system, volume, encryption, array
)

func addPosture(facts map[string]string) { addFrom("/", facts) }

// addFrom looks below a directory as the machine's own would be.
func addFrom(root string, facts map[string]string) {
	if data, err := os.ReadFile(filepath.Join(root, secureBoot)); err == nil && len(data) == 5 {
		facts["secure_boot"] = map[bool]string{true: "on", false: "off"}[data[4] == 1]
	}
	if device := rootDevice(root); device != "" {
		facts["disk_encryption"] = map[bool]string{true: "on", false: "off"}[encrypted(root, filepath.Join(root, "sys/dev/block", device), 0)]
	}
}

// rootDevice is the major:minor of the root file system's block device, "" when it has
// none (proc_pid_mountinfo(5)).
func rootDevice(root string) string {
	f, err := os.Open(filepath.Join(root, mounts))
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	data, _ := io.ReadAll(io.LimitReader(f, maxMounts))
	device := ""
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == "/" { // the last one lies on top
			device = fields[2]
		}
	}
	if strings.HasPrefix(device, "0:") { // of no block device
		return ""
	}
	return device
}

// encrypted reports whether a block device is an encrypted mapping, or lies on nothing
// else.
func encrypted(root, device string, depth int) bool {
	if uuid, err := os.ReadFile(filepath.Join(device, "dm/uuid")); err == nil && strings.HasPrefix(string(uuid), "CRYPT-") {
		return true
	}
	below, err := os.ReadDir(filepath.Join(device, "slaves"))
	if err != nil || len(below) == 0 || depth == maxDepth {
		return false
	}
	for _, b := range below {
		if !encrypted(root, filepath.Join(root, "sys/class/block", b.Name()), depth+1) {
			return false
		}
	}
	return true
}
