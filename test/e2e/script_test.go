package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
)

// The command lines as a terminal session. Each script has a server of its own
// with the operator olivia, the approver ben and sam of security. Beside testscript's own there are
//
//	code N program args...   runs it, and its exit code must be N
//	field NAME path          takes a value from the JSON on standard output
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			s := servertest.Start(env.T().(testing.TB), servertest.Options{})
			s.Person("olivia", "operator")
			s.Person("ben", "approver")
			s.Person("sam", "security")
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			for name, value := range map[string]string{
				"HOME": env.WorkDir, "SENTINEL_SERVER": s.PeopleURL, "MACHINE": s.MachineURL, "CA": s.CAFingerprint, "ROOT": s.RootDigest,
				"PASSWORD": servertest.Password, "SENTINEL_AGENT_STATE_DIR": env.WorkDir + "/agent",
				"UNTIL": time.Now().Add(30 * 24 * time.Hour).Format(time.DateOnly),
			} {
				env.Setenv(name, value)
			}
			return os.WriteFile(env.WorkDir+"/password", []byte(servertest.Password+"\n"), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": code, "field": field},
	})
}

func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N program args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func field(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: field NAME path.to.0.value")
	}
	var at any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &at))
	for step := range strings.SplitSeq(args[1], ".") {
		switch value := at.(type) {
		case map[string]any:
			at = value[step]
		case []any:
			i, err := strconv.Atoi(step)
			ts.Check(err)
			if i >= len(value) {
				ts.Fatalf("%s: there are %d", args[1], len(value))
			}
			at = value[i]
		default:
			at = nil
		}
	}
	if at == nil {
		ts.Fatalf("%s is not there", args[1])
	}
	ts.Setenv(args[0], fmt.Sprint(at))
}
