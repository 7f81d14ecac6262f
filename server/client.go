package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/approval"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// client speaks to the admin API as a person does.
type client struct {
	server string
	token  string
	caFile string
	given  bool // the token is SENTINEL_TOKEN's
	http   *http.Client
}

const (
	maxAPIAnswer  = 8 << 20
	defaultServer = "http://localhost:8080"
)

// savedLogin is what login keeps for the commands after it.
type savedLogin struct {
	Server string `json:"server"`
	Token  string `json:"token"`
	CAFile string `json:"ca_file,omitempty"`
}

func (p *program) loginPath() (string, error) {
	dir := p.env("XDG_CONFIG_HOME")
	if dir == "" {
		home := p.env("HOME")
		if home == "" {
			home = p.env("USERPROFILE")
		}
		if home == "" {
			return "", errors.New("no home directory to keep the sign-in in; use SENTINEL_SERVER and SENTINEL_TOKEN")
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "sentinel", "login.json"), nil
}

// newClient finds server and token: flag, environment, saved sign-in.
func (p *program) newClient(server string) (*client, error) {
	login := savedLogin{Server: p.env("SENTINEL_SERVER"), Token: p.env("SENTINEL_TOKEN"), CAFile: p.env("SENTINEL_CA_FILE")}
	if path, err := p.loginPath(); err == nil && login.Token == "" {
		if data, err := files.ReadPrivate(path, 64<<10); err == nil {
			var saved savedLogin
			if err := json.Unmarshal(data, &saved); err != nil {
				return nil, fmt.Errorf("%s cannot be read; sign in again: sentinel-server login", path)
			}
			// A token goes to the server that it is from, and to no other.
			if target := first(server, login.Server); target == "" || target == saved.Server {
				login = savedLogin{saved.Server, saved.Token, first(login.CAFile, saved.CAFile)}
			}
		} else if errors.Is(err, files.ErrExposed) {
			return nil, err
		}
	}
	login.Server = first(server, login.Server, p.lastServer(), defaultServer)
	c, err := newAPIClient(login)
	if err == nil {
		c.given = p.env("SENTINEL_TOKEN") != ""
	}
	return c, err
}

// lastServer is where the last sign-in was, "" for none: whoever signs in again, or
// as someone else, means the same server.
func (p *program) lastServer() string { return p.lastLogin().Server }

// lastCAFile is what the last sign-in at a server knew it by, "" for none.
func (p *program) lastCAFile(server string) string {
	if last := p.lastLogin(); last.Server == strings.TrimRight(server, "/") {
		return last.CAFile
	}
	return ""
}

func (p *program) lastLogin() (saved savedLogin) {
	path, err := p.loginPath()
	if err != nil {
		return savedLogin{}
	}
	data, err := files.ReadPrivate(path, 64<<10)
	if err != nil || json.Unmarshal(data, &saved) != nil {
		return savedLogin{}
	}
	return saved
}

func newAPIClient(l savedLogin) (*client, error) {
	u, err := url.Parse(l.Server)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("--server must be a URL such as https://console.example.com")
	}
	if host := u.Hostname(); u.Scheme == "http" && host != "localhost" && host != "127.0.0.1" && host != "::1" {
		return nil, errors.New("the server must be reached by https: only on this machine is http taken")
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true}
	if l.CAFile != "" {
		pem, err := os.ReadFile(l.CAFile)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", l.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	}
	return &client{server: strings.TrimRight(l.Server, "/"), token: l.Token, caFile: l.CAFile, http: &http.Client{Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// do makes one call. A refusal comes back as *protocol.Problem, with what to do.
func (c *client) do(ctx context.Context, method, path string, in, out any) error {
	return c.call(ctx, method, path, in, out, false)
}

// doAny reads an answer whose status is part of what it says.
func (c *client) doAny(ctx context.Context, path string, out any) error {
	return c.call(ctx, http.MethodGet, path, nil, out, true)
}

func (c *client) call(ctx context.Context, method, path string, in, out any, anyStatus bool) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.server+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", "sentinel-server-cli")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return unreached(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAPIAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 && !(anyStatus && json.Valid(data)) {
		err := refusal(resp, data)
		if c.given && c.token != "" && errors.Is(err, errNotSignedIn) {
			return errTokenVoid
		}
		return err
	}
	if out == nil || len(data) == 0 {
		return nil
	}
	return json.Unmarshal(data, out)
}

// unreached says what to try after a call that got no answer.
func unreached(err error) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("%w; when the certificate is of an authority of your own, name that authority's file with --ca-file (login) or SENTINEL_CA_FILE", err)
	case errors.As(err, &name):
		return fmt.Errorf("%w; give --server the name that the certificate has", err)
	}
	return fmt.Errorf("%w; is the server running, and is --server right?", err)
}

func refusal(resp *http.Response, data []byte) error {
	var p protocol.Problem
	if json.Unmarshal(data, &p) != nil || p.Title == "" {
		return fmt.Errorf("the server answered %s; is --server the address of its people side?", resp.Status)
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		if p.Code == "unauthenticated" {
			return errNotSignedIn
		}
	case http.StatusForbidden:
		if p.Code == "fresh-sign-in-needed" {
			return fmt.Errorf("%w; sign in again: sentinel-server login --name NAME", &p)
		}
		if p.Code != "forbidden" || p.Detail == approval.ErrOwn.Error() { // no role would help
			return &p
		}
		return fmt.Errorf("%w; ask an admin for a role that may do this", &p)
	case http.StatusTooManyRequests:
		return fmt.Errorf("%w; try again in %s seconds", &p, resp.Header.Get("Retry-After"))
	}
	return &p
}

// errNotSignedIn is every command's answer to whoever has no session, or not any more.
var errNotSignedIn = errors.New("not signed in; sign in: sentinel-server login --name NAME")

// errTokenVoid is the same to whoever gave a token.
var errTokenVoid = errors.New("the token in SENTINEL_TOKEN does not count: it ended, was revoked, or is another server's; see: sentinel-server api-token list")

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
