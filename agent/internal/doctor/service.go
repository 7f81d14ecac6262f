package doctor

import (
	"context"
	"errors"
	"fmt"

	"github.com/sentinel-secure-x/sentinel-secure-x/agent/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/service"
)

type serviceAnswer struct {
	state service.State
	err   error
}

func lookAtService(ctx context.Context, s *subject) Result {
	ask := s.Service
	a, err := within(ctx, func() serviceAnswer {
		state, err := ask()
		return serviceAnswer{state, err}
	})
	if err != nil {
		a.err = fmt.Errorf("the service manager: %w", err)
	}
	_, enrolled := s.disk.enrolled()
	return judgeService(a, s.disk.holder, enrolled)
}

// judgeService knows that an agent in the foreground needs no service, and that
// one which is not enrolled has nothing to run for.
func judgeService(a serviceAnswer, holder int, enrolled bool) Result {
	foreground := fmt.Sprintf("; an agent runs as process %d", holder)
	if holder == 0 {
		foreground = ""
	}
	switch {
	case errors.Is(a.err, service.ErrNoManager) && foreground != "":
		return ok("no service manager that is known here%s", foreground)
	case errors.Is(a.err, service.ErrNoManager):
		return warn(a.err.Error(), app.Advise(a.err))
	case a.err != nil:
		return warn(a.err.Error(), "ask the service manager itself, as root or an administrator")
	case a.state == service.Running:
		return ok("running")
	case !enrolled:
		return warn(string(a.state), "enroll the device first, then: sentinel-agent service install, and start")
	case foreground != "":
		return warn(string(a.state)+foreground, "so that it starts with this host: sentinel-agent service install")
	case a.state == service.NotInstalled:
		return warn("not installed: the agent does not start with this host", "sentinel-agent service install, then: sentinel-agent service start")
	}
	return fail(string(a.state)+": no heartbeat is sent", "sentinel-agent service start; if it does not stay up, its log says why: sentinel-agent diagnostics gathers it")
}
