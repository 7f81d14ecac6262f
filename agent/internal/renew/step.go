package renew

import "context"

// mostRounds are enough to make a request, send it and take what comes.
const mostRounds = 4

// Inline lets Renew do the rounds itself, for a simulation, in which nobody else would.
func (r *Renewer) Inline() { r.inline = true }

// here goes on until the waiter was told, or what it waits for takes longer.
func (r *Renewer) here(ctx context.Context, told <-chan string) string {
	for range mostRounds {
		r.Round(ctx)
		select {
		case reason := <-told:
			return reason
		default:
		}
	}
	return pending
}

// Kicked reports, once, whether a round is asked for before its time. With Round it
// is what Run is made of, for a simulation, whose time is its own.
func (r *Renewer) Kicked() bool {
	select {
	case <-r.kick:
		return true
	default:
		return false
	}
}
