package admin

import "context"

// Alive is the caller of a live session of a kind, by the session's id; ErrHalf and
// ErrSignedOut as of Authenticate. It is no use of the session, which goes on
// ageing: a page that only looks on asks this again and again.
func (s *Service) Alive(ctx context.Context, sessionID string, via Via) (Caller, error) {
	row, err := s.live(ctx, s.d.Read(), "id", sessionID, s.d.Now())
	switch {
	case err != nil:
		return Caller{}, err
	case row.Via != via:
		return Caller{}, ErrSignedOut
	case row.Stage != StageFull:
		return Caller{}, ErrHalf
	}
	return s.caller(row), nil
}
