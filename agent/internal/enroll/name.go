package enroll

import (
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// NameFrom makes a device_id of a host name: lower case, what is not allowed as
// a hyphen. It returns "" if nothing that is fit remains; a person has to choose
// one then.
func NameFrom(hostname string) string {
	fit := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + ('a' - 'A')
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
			return r
		}
		return '-'
	}, hostname)
	fit = strings.Trim(fit[:min(len(fit), 64)], ".-_")
	if fit == "localhost" || strings.HasPrefix(fit, "localhost.") || protocol.CheckDeviceID(fit) != nil {
		return "" // every machine is called that
	}
	return fit
}
