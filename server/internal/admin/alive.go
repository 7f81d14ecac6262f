package admin

import "context"

// Alive is the caller of a live session, by the session's id, or ErrSignedOut. It
// is no use of the session, which goes on ageing: a page that only looks on asks
// this again and again.
func (s *Service) Alive(ctx context.Context, sessionID string) (Caller, error) {
	row, err := s.live(ctx, s.d.Read(), "id", sessionID, s.d.Now())
	if err != nil {
		return Caller{}, err
	}
	return s.caller(row), nil
}
