package attest

import "golang.org/x/sys/windows/registry"

// addPosture reads what the system writes down about secure boot. Whether the disk is
// encrypted is not asked: BitLocker tells it to administrators by WMI only.
func addPosture(facts map[string]string) {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, `SYSTEM\CurrentControlSet\Control\SecureBoot\State`, registry.QUERY_VALUE)
	if err != nil {
		return
	}
	defer func() { _ = key.Close() }()
	if on, _, err := key.GetIntegerValue("UEFISecureBootEnabled"); err == nil {
		facts["secure_boot"] = map[bool]string{true: "on", false: "off"}[on == 1]
	}
}
