package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Targets of faults.
const (
	toAgent    = "agent"
	toServer   = "server"
	toPostgres = "postgres"
)

// What is done to them. Those that end a process count as kills.
const (
	killNow     = "killed"
	killAtPoint = "killed at a failpoint"
	killStopped = "stopped, then killed"
	killAtStart = "killed again while it starts"
	stopAwhile  = "stopped for a while"
	killBackend = "one of its processes killed"
	pauseAt     = "paused at a failpoint"
	fillDisk    = "disk full"
	fillAndKill = "killed with the disk full"
	limitWrites = "files may not grow"
	secondStart = "a second server on its data"
	lateBeats   = "stopped while agents are restarted"
)

// fault is one line of the schedule.
type fault struct {
	After  time.Duration // of calm before it
	Target string
	Which  int // of the agents or nodes, modulo how many there are
	Kind   string
	Point  string
	Count  int
	Hold   time.Duration // of a stop or a full disk
	Start  time.Duration // of killAtStart: how far it gets, unless it ends at a point
}

// kills says whether the fault is counted as one.
func (f fault) kills() bool {
	switch f.Kind {
	case killNow, killAtPoint, killStopped, killAtStart, killBackend, fillAndKill, lateBeats:
		return true
	}
	return false
}

func (f fault) String() string {
	text := fmt.Sprintf("%s %d %s", f.Target, f.Which, f.Kind)
	if f.Point != "" {
		text += fmt.Sprintf(" (%s, the %d. time)", f.Point, f.Count)
	}
	return text
}

// point is a failpoint with how many passes of it are spread over.
type point struct {
	name string
	upTo int
}

// The failpoints; the busy ones are hit after many passes, so that what happens
// there is not always the same.
var (
	serverPoints = []point{
		{"heartbeat.before-commit", 40}, {"heartbeat.after-commit", 40}, {"db.before-commit", 60}, {"db.after-commit", 60},
		{"enroll.token-taken", 4}, {"enroll.after-commit", 4}, {"issue.before-commit", 2}, {"issue.after-commit", 2},
		{"command.result-stored", 1}, {"revoke.before-audit", 1}, {"revoke.before-journal", 1}, {"revoke.after-journal", 1}, {"act.before-audit", 2}, {"act.after-commit", 2},
		{"renew.before-commit", 2}, {"renew.after-commit", 2}, {"request.before-commit", 1}, {"request.after-commit", 1},
		{"settle.before-commit", 1}, {"settle.after-commit", 1}, {"first-use.before-commit", 2}, {"first-use.after-commit", 2},
	}
	startPoints = []point{{"files.before-rename", 1}, {"files.after-rename", 1}, {"db.before-commit", 1}, {"db.after-commit", 1}}
	agentPoints = []point{
		{"command.begun", 1}, {"command.done", 1}, {"command.ended", 1}, {"command.before-reported", 2},
		{"link.counter-stored", 2}, {"link.answered", 2}, {"files.before-rename", 4}, {"files.after-rename", 4},
		{"renew.key-stored", 1}, {"renew.request-stored", 1}, {"renew.chain-stored", 1}, {"renew.tried", 1}, {"renew.before-switch", 1}, {"renew.switched", 1},
	}
)

// order is the kind of command that lets an agent pass a point which it seldom
// passes by itself, "" for the other points.
func order(point string) string {
	switch kind, _, _ := strings.Cut(point, "."); kind {
	case "renew":
		return rotate
	case "command":
		return "ping"
	}
	return ""
}

// newSchedule makes the faults of a phase from a seed alone, with so many kills
// among them.
func newSchedule(o options, database string, kills int) []fault {
	var name uint64
	for _, c := range database {
		name = name*31 + uint64(c)
	}
	random := rand.New(rand.NewPCG(o.seed, name))
	targets := []string{toAgent, toAgent, toServer, toServer}
	if database == "postgres" {
		targets = append(targets, toPostgres)
	}
	if o.only != "" {
		targets = []string{o.only}
	}
	var list []fault
	for n := 0; n < kills; {
		f := fault{
			After:  time.Duration(random.Int64N(int64(900 * time.Millisecond))),
			Target: targets[random.IntN(len(targets))], Which: random.IntN(1 << 16),
		}
		f.choose(random, database)
		if o.late && f.Target == toServer && random.IntN(4) == 0 {
			f.Kind, f.Point = lateBeats, ""
		}
		if f.kills() {
			n++
		}
		list = append(list, f)
	}
	return list
}

// choose decides what is done to the target.
func (f *fault) choose(random *rand.Rand, database string) {
	pick := func(points []point) {
		p := points[random.IntN(len(points))]
		f.Point, f.Count = p.name, 1+random.IntN(p.upTo)
	}
	f.Start = time.Duration(random.Int64N(int64(200 * time.Millisecond)))
	f.Hold = 300*time.Millisecond + time.Duration(random.Int64N(int64(2500*time.Millisecond)))
	at := random.IntN(100)
	switch {
	case f.Target == toPostgres && at < 45:
		f.Kind = killNow
	case f.Target == toPostgres && at < 90:
		f.Kind = killBackend
	case f.Target == toPostgres:
		f.Kind = stopAwhile
	case at < 35:
		f.Kind = killNow
	case at < 45:
		f.Kind = killAtStart
		if random.IntN(2) == 0 && f.Target == toServer {
			pick(startPoints)
		}
	case at < 82:
		f.Kind = killAtPoint
		if f.Target == toServer {
			pick(serverPoints)
		} else {
			pick(agentPoints)
		}
	case at < 87:
		f.Kind = killStopped
	case at < 93:
		f.Kind = stopAwhile
	case f.Target == toAgent || database != "sqlite":
		f.Kind = pauseAt
		if f.Target == toServer {
			pick(serverPoints)
		} else {
			pick(agentPoints)
		}
	default:
		f.Kind = []string{fillDisk, fillAndKill, limitWrites, secondStart}[random.IntN(4)]
	}
}
