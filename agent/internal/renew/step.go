package renew

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
