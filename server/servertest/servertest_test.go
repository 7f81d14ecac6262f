package servertest_test

import (
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

func TestTheFirstLoop(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		s := servertest.Start(t, servertest.Options{Database: url})
		op, reviewer := s.Person("olivia", "operator"), s.Person("ben", "approver")
		d := s.Enroll("edge-1", op.EnrollToken(1), reviewer)
		d.MustBeat()
		d.MustBeat()
		op.Revoke("edge-1")
		if problem, err := d.Beat(); err != nil || problem == nil || problem.Code != protocol.CodeDeviceRevoked {
			t.Fatalf("after its revocation: %v %v", problem, err)
		}
		s = s.Again()
		if problem, err := d.At(s).Beat(); err != nil || problem == nil || problem.Code != protocol.CodeDeviceRevoked {
			t.Fatalf("after a restart: %v %v", problem, err)
		}
	})
}
