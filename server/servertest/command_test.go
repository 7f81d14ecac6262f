package servertest_test

import (
	"slices"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
)

func TestACommandsWholeWay(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		s := servertest.Start(t, servertest.Options{Database: url})
		op, reviewer := s.Person("olivia", "operator"), s.Person("ben", "approver")
		d := s.Enroll("edge-1", op.EnrollToken(1), reviewer)
		d.MustBeat()
		id := op.SendCommand("ping", map[string]any{"echo": "hello"}, "edge-1")
		op.AwaitCommand(id, "open")
		d.MustBeat()
		if d.Obey() != 1 || !slices.Equal(d.Ran, []string{id}) {
			t.Fatalf("given: %+v", d.Obedience)
		}
		d.MustBeat()
		d.Obey()
		c := op.AwaitCommand(id, "done")
		if c.Counts["succeeded"] != 1 || c.FirstTargets[0].Output["echo"] != "hello" || len(d.Results) != 0 {
			t.Fatalf("%+v", c)
		}
		if s.Count("device_counters", "pending <> 0") != 0 {
			t.Error("a device is still told that something waits")
		}
		if s.Count("audit_entries", "object_id = ? AND action IN ('command.request', 'command.sign', 'command.result')", id) != 3 {
			t.Error("the audit log does not have all of it")
		}
	})
}
