package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
)

func TestAKeySourceIsAFileOrAProgramWithWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]config.KeySource{
		"file:/etc/keys/a key.pem":         {Kind: config.FromFile, Path: "/etc/keys/a key.pem"},
		"exec:/usr/bin/signer":             {Kind: config.FromProgram, Path: "/usr/bin/signer"},
		"exec:/usr/bin/signer  --key $K|x": {Kind: config.FromProgram, Path: "/usr/bin/signer", Args: []string{"--key", "$K|x"}},
		`exec:["/usr/bin/signer","a b"]`:   {Kind: config.FromProgram, Path: "/usr/bin/signer", Args: []string{"a b"}},
		"none":                             {Kind: config.FromNowhere},
	} {
		got, err := config.ParseKeySource(text)
		if err != nil || got.Kind != want.Kind || text != "none" && got.Path != want.Path || !slices.Equal(got.Args, want.Args) || got.String() != text {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "/etc/keys/a.pem", "file:", "file:keys/a.pem", "exec:", "exec:signer", "exec:./signer", "exec:[", `exec:[""]`, "exec:[]", `exec:["signer"]`,
		`exec:/bin/sh -c "sign it"`, "exec:/bin/sh\n-c", "https://kms.example.com", "pkcs11:token=x", "exec:/a " + strings.Repeat("x ", 65), "file:/" + strings.Repeat("x", 4096),
	} {
		if got, err := config.ParseKeySource(text); err == nil {
			t.Errorf("%q is taken: %+v", text, got)
		}
	}
}

func TestAListingDoesNotShowWhatAProgramIsTold(t *testing.T) {
	t.Parallel()
	c := load(t, "SENTINEL_SIGNER_COMMAND=exec:/usr/bin/signer --pin 123456")
	shown := false
	for _, kv := range c.Redacted() {
		shown = shown || kv.Value == "exec:/usr/bin/signer ..."
		if strings.Contains(kv.Value, "123456") {
			t.Errorf("%s shows %s", kv.Key, kv.Value)
		}
	}
	if !shown {
		t.Error("the program is not shown")
	}
	if _, err := config.Load([]string{"SENTINEL_SIGNER_DEVICE_CA=none"}, ""); err == nil {
		t.Error("an authority without a key is taken")
	}
	if load(t, "SENTINEL_SIGNER_COMMAND=none").SignerCommand.Kind != config.FromNowhere {
		t.Error("none is not none")
	}
}
