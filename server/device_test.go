package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// A person sees which authority a device's certificates come from.
func TestADeviceIsShownWithWhoIssuedItsCertificates(t *testing.T) {
	t.Parallel()
	var d devicePage
	text := `{"device_id": "edge-1", "certificates": [{"serial": "aa", "authority_id": "outside:0123456789abcdef0123456789abcdef"}, {"serial": "bb", "authority_id": "0198-ours"}]}`
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	explain(&out, &d)
	for _, want := range []string{"serial aa, ", "by another authority (0123456789abcdef)\n", "serial bb, ", "by this server (0198-ours)\n"} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, out.String())
		}
	}
}
