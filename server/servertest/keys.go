package servertest

import (
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// PublishKey does what sentinel-server keys rotate does for assertions, and returns the
// key's id.
func (s *Server) PublishKey(p signing.Purpose) string {
	s.t.Helper()
	k, err := s.app.PublishKey(s.t.Context(), authz.Host("keys rotate"), p)
	if err != nil {
		s.t.Fatal(err)
	}
	return k.ID
}

// CheckKeys does what sentinel-server keys check does.
func (s *Server) CheckKeys() []app.Checked { return s.app.CheckKeys(s.t.Context(), "") }

// Keys does what sentinel-server keys list does.
func (s *Server) Keys() []app.Listed {
	s.t.Helper()
	list, err := s.app.ListKeys(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}
