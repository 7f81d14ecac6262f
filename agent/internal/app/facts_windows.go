//go:build windows

package app

import (
	"fmt"

	"golang.org/x/sys/windows"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

func addSystem(facts protocol.Facts) {
	v := windows.RtlGetVersion()
	facts["os_version"] = fmt.Sprintf("%d.%d.%d", v.MajorVersion, v.MinorVersion, v.BuildNumber)
}
