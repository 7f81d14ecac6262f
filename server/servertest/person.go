package servertest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// Password is that of every account that a test makes.
const Password = "a long password for tests"

// Person is signed in to the admin API of one node.
type Person struct {
	s     *Server
	Name  string
	Token string
}

// Person makes an account with a role and signs in.
func (s *Server) Person(name, role string) *Person {
	s.t.Helper()
	if _, err := s.app.Admin.CreateLocal(s.t.Context(), admin.NewAccount{Name: name, Role: authz.Role(role), Password: Password}); err != nil {
		s.t.Fatal(err)
	}
	return s.SignIn(name)
}

// SignIn signs in with an account that exists.
func (s *Server) SignIn(name string) *Person {
	s.t.Helper()
	p := &Person{s: s, Name: name}
	var out struct {
		Token string `json:"token"`
	}
	p.Must("POST", "/api/admin/login", map[string]string{"name": name, "password": Password}, &out)
	p.Token = out.Token
	return p
}

// BreakGlass makes the two codes that open an admin's account, as on the host.
func (s *Server) BreakGlass() (first, second string) {
	s.t.Helper()
	first, second, err := s.app.Admin.CreateBreakGlass(context.Background(), authz.Host("admin break-glass create"), "ann", "bob")
	if err != nil {
		s.t.Fatal(err)
	}
	return first, second
}

// On is the same sign-in at another node.
func (p *Person) On(s *Server) *Person { return &Person{s, p.Name, p.Token} }

// Do makes one call and returns the status and, for a refusal, its problem.
func (p *Person) Do(method, path string, in, out any) (int, *protocol.Problem, error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return 0, nil, err
		}
		body = bytes.NewReader(data)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.s.PeopleURL+path, body)
	if err != nil {
		return 0, nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if p.Token != "" {
		req.Header.Set("Authorization", "Bearer "+p.Token)
	}
	return read(http.DefaultTransport, req, out)
}

// Must is Do, which must succeed.
func (p *Person) Must(method, path string, in, out any) {
	p.s.t.Helper()
	status, problem, err := p.Do(method, path, in, out)
	if err != nil || problem != nil {
		p.s.t.Fatalf("%s %s: %d %v %v", method, path, status, problem, err)
	}
}

// EnrollToken makes an enrollment token.
func (p *Person) EnrollToken(uses int) string {
	p.s.t.Helper()
	var out struct {
		Secret string `json:"secret"`
	}
	p.Must("POST", "/api/enroll-tokens", map[string]any{"uses": uses, "life_seconds": 3600}, &out)
	return out.Secret
}

// Approve lets a waiting enrollment in, as shown.
func (p *Person) Approve(enrollmentID string) {
	p.s.t.Helper()
	var shown struct {
		Digest string `json:"digest"`
	}
	p.Must("GET", "/api/enrollments/"+enrollmentID, nil, &shown)
	p.Must("POST", "/api/enrollments/"+enrollmentID+"/review", map[string]string{"decision": "approve", "digest": shown.Digest, "reason": "test"}, nil)
}

// Release has a device given back that was suspended ("resume") or is held
// ("resync"): p asks for it, and other agrees.
func (p *Person) Release(act, deviceID string, other *Person) {
	p.s.t.Helper()
	if status, problem, err := p.TryRelease(act, deviceID, other); err != nil || problem != nil {
		p.s.t.Fatalf("%s %s: %d %v %v", act, deviceID, status, problem, err)
	}
}

// TryRelease is Release that may be refused.
func (p *Person) TryRelease(act, deviceID string, other *Person) (int, *protocol.Problem, error) {
	var asked struct {
		ID string `json:"approval_id"`
	}
	if status, problem, err := p.Do("POST", "/api/devices/"+deviceID+"/"+act, map[string]string{"reason": "test"}, &asked); err != nil || problem != nil {
		return status, problem, err
	}
	var shown struct {
		Digest string `json:"digest"`
	}
	path := "/api/approvals/" + asked.ID
	if status, problem, err := other.Do("GET", path, nil, &shown); err != nil || problem != nil {
		return status, problem, err
	}
	return other.Do("POST", path+"/review", map[string]string{"decision": "approve", "digest": shown.Digest, "reason": "test"}, nil)
}

// Revoke revokes a device.
func (p *Person) Revoke(deviceID string) {
	p.s.t.Helper()
	p.Must("POST", "/api/devices/"+deviceID+"/certificate/revoke", map[string]string{"reason": "test"}, nil)
}

func read(transport http.RoundTripper, req *http.Request, out any) (int, *protocol.Problem, error) {
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return resp.StatusCode, nil, err
	}
	if resp.StatusCode >= 300 {
		problem := &protocol.Problem{}
		if err := json.Unmarshal(data, problem); err != nil || problem.Code == "" {
			problem = &protocol.Problem{Status: resp.StatusCode, Title: "not a problem: " + string(data[:min(len(data), 200)])}
		}
		return resp.StatusCode, problem, nil
	}
	if out != nil && len(data) > 0 {
		err = json.Unmarshal(data, out)
	}
	return resp.StatusCode, nil, err
}
