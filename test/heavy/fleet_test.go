//go:build heavy

package heavy

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// fleet is a server that lets devices in without a review, with its people.
type fleet struct {
	*servertest.Server
	t        *testing.T
	database string
	operator *servertest.Person
	guard    *servertest.Person // of security: opens the window, asks to resume devices
	reviewer *servertest.Person // agrees
}

func newFleet(t *testing.T, database string) *fleet {
	t.Helper()
	f := &fleet{t: t, database: database, Server: servertest.Start(t, servertest.Options{Database: database})}
	f.operator, f.guard, f.reviewer = f.Person("olivia", "operator"), f.Person("sam", "security"), f.Person("ben", "approver")
	f.guard.Must("POST", "/api/enroll-window/open", map[string]any{"seconds": 86400, "reason": "test"}, nil)
	return f
}

func (f *fleet) read() *sql.DB { return open(f.t, f.database, f.Dir) }

// devices lets n devices in.
func (f *fleet) devices(n int) []*servertest.Device {
	f.t.Helper()
	token := f.operator.EnrollToken(n)
	list := make([]*servertest.Device, n)
	took := forAll(f.t, n, enrolling, func(i int) error {
		list[i] = f.NewDevice(fmt.Sprintf("edge-%05d", i))
		return join(list[i], token)
	})
	f.t.Logf("enrolled %s", perSecond(n, took))
	return list
}

// join lets a device in.
func join(d *servertest.Device, token string) error {
	problem, err := ask(d, token)
	if err != nil || problem != nil {
		return fmt.Errorf("%s asks: %v %v", d.ID, problem, err)
	}
	return fetch(d)
}

// patience is how often a device that enrolls comes back when it is told to.
const patience = 20

// comeBack says whether a refusal only asks for that, as a crowd at the door of a
// small machine makes it; asking again is the same request. It waits a moment,
// not as long as an agent would.
func comeBack(problem *protocol.Problem, times int) bool {
	if problem == nil || times >= patience || problem.Code != protocol.CodeRateLimited && problem.Code != protocol.CodeNotReady {
		return false
	}
	<-time.After(100 * time.Millisecond)
	return true
}

// ask asks to join.
func ask(d *servertest.Device, token string) (*protocol.Problem, error) {
	for times := 0; ; times++ {
		problem, err := d.Ask(token)
		if err != nil || !comeBack(problem, times) {
			return problem, err
		}
	}
}

// fetch takes the certificate of a device that was let in.
func fetch(d *servertest.Device) error {
	for times := 0; ; times++ {
		result, problem, err := d.Poll()
		switch {
		case err == nil && comeBack(problem, times):
		case err != nil || problem != nil || result.State != protocol.EnrollIssued:
			return fmt.Errorf("%s fetches its certificate: %+v %v %v", d.ID, result, problem, err)
		default:
			return nil
		}
	}
}

// accepted wants a heartbeat to be accepted.
func accepted(d *servertest.Device) error {
	if problem, err := d.Beat(); err != nil || problem != nil {
		return fmt.Errorf("%s: its own heartbeat was refused: %v %v", d.ID, problem, err)
	}
	return nil
}

// replay sends the bytes of a heartbeat again, behind the device's back, and
// wants them refused for this reason.
func replay(d *servertest.Device, captured []byte, want protocol.Code) error {
	problem, err := d.Post(protocol.PathHeartbeat, captured, nil)
	switch {
	case err != nil:
		return fmt.Errorf("%s: a replay: %w", d.ID, err)
	case problem == nil:
		return fmt.Errorf("%s: a replay was ACCEPTED", d.ID)
	case problem.Code != want:
		return fmt.Errorf("%s: a replay was refused as %s, not as %s", d.ID, problem.Code, want)
	}
	return nil
}

// bytesOf is a message as it goes over the wire.
func bytesOf(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
