package attest

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

func TestThePostureIsReadFromTheKernel(t *testing.T) {
	t.Parallel()
	const plain, mapped = "36 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "30 1 8:9 / / rw - ext4 x rw\n36 1 254:1 / / rw - ext4 /dev/dm-1 rw\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  map[string]string
	}{
		"nothing":   {nil, map[string]string{}},
		"no block":  {map[string]string{mounts: "36 1 0:22 / / rw - overlay overlay rw\n"}, map[string]string{}},
		"plain":     {map[string]string{mounts: plain}, map[string]string{"disk_encryption": "off"}},
		"encrypted": {map[string]string{mounts: mapped, "sys/dev/block/254:1/dm/uuid": "CRYPT-LUKS2-x"}, map[string]string{"disk_encryption": "on"}},
		"a volume on encryption": {map[string]string{mounts: mapped, "sys/dev/block/254:1/dm/uuid": "LVM-x", "sys/dev/block/254:1/slaves/dm-0/x": "",
			"sys/class/block/dm-0/dm/uuid": "CRYPT-LUKS2-x"}, map[string]string{"disk_encryption": "on"}},
		"a volume on encryption and not": {map[string]string{mounts: mapped, "sys/dev/block/254:1/slaves/dm-0/x": "", "sys/dev/block/254:1/slaves/sda1/x": "",
			"sys/class/block/dm-0/dm/uuid": "CRYPT-LUKS2-x"}, map[string]string{"disk_encryption": "off"}},
		"secure boot":     {map[string]string{secureBoot: "\x06\x00\x00\x00\x01"}, map[string]string{"secure_boot": "on"}},
		"no secure boot":  {map[string]string{secureBoot: "\x06\x00\x00\x00\x00"}, map[string]string{"secure_boot": "off"}},
		"half a variable": {map[string]string{secureBoot: "\x06\x00"}, map[string]string{}},
	} {
		root := t.TempDir()
		for path, text := range c.files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got := map[string]string{}
		addFrom(root, got)
		if !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if digest := Posture()["agent_sha256"]; len(digest) != 64 {
		t.Errorf("the program's digest is %q", digest)
	}
}
