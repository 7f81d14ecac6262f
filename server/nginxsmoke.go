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
	"maps"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/proxy"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/version"
)

// smoke is a try of the way through a proxy.
type smoke struct {
	base         string
	pool         *x509.CertPool // nil: the system's
	pair         *tls.Certificate
	deviceID     string
	enrollmentID string
	heartbeat    bool // send a real one
}

// smokeStep is what one try showed.
type smokeStep struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

func (p *program) nginxSmokeTest() *cobra.Command {
	var base, caFile, certFile, keyFile, output string
	s := &smoke{}
	c := &cobra.Command{Use: "smoke-test --base-url URL", Short: "Try the way through NGINX, as a device does", Args: cobra.NoArgs}
	c.Long = `smoke-test shows, from wherever it runs, that the server is reached through NGINX, that a
heartbeat without a certificate is refused with 401, and that headers which claim one
change nothing.

With --client-cert, --client-key and --device-id it shows that a certificate is taken for
that device. The try is harmless: it names no enrollment, and nothing is counted.

With --heartbeat it also sends a real heartbeat, which is counted. It looks the device's
enrollment up with your sign-in (sentinel-server login); without one give
--enrollment-id. Do that only with a device that was enrolled for it: a server takes the
agent that comes after it for a copy, and holds the device.

Exit codes: 0 all is well, 1 something is not, 2 the command line is wrong.`
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := s.read(base, caFile, certFile, keyFile); err != nil {
			return err
		}
		if s.heartbeat && s.enrollmentID == "" {
			if err := s.lookUp(c.Context(), p); err != nil {
				return err
			}
		}
		steps := s.run(c.Context())
		ok := true
		for _, step := range steps {
			ok = ok && step.OK
			if output == "table" {
				mark := "ok    "
				if !step.OK {
					mark = "FAILED"
				}
				fmt.Fprintf(p.out, "%s  %s: %s\n", mark, step.Name, step.Detail)
			}
		}
		if output == "json" {
			if err := json.NewEncoder(p.out).Encode(map[string]any{"ok": ok, "steps": steps}); err != nil {
				return err
			}
		}
		if !ok {
			return errors.New("the way through the proxy is not in order; see docs/reverse-proxy.md, \"When it does not work\"")
		}
		return nil
	}
	c.Flags().StringVar(&base, "base-url", "", "where devices find NGINX, as in SENTINEL_MACHINE_URL")
	c.Flags().StringVar(&caFile, "ca-file", "", "PEM file with the authority of that name's certificate; the system's authorities are believed otherwise")
	c.Flags().StringVar(&certFile, "client-cert", "", "a device's certificate chain (PEM)")
	c.Flags().StringVar(&keyFile, "client-key", "", "its private key (PEM)")
	c.Flags().StringVar(&s.deviceID, "device-id", "", "the device that it is of")
	c.Flags().StringVar(&s.enrollmentID, "enrollment-id", "", "its enrollment, to have a real heartbeat counted without a sign-in (sentinel-agent status shows it)")
	c.Flags().BoolVar(&s.heartbeat, "heartbeat", false, "also send a real heartbeat, which is counted; for a device that was enrolled for this only")
	outputFlag(c, &output)
	return c
}

func (s *smoke) read(base, caFile, certFile, keyFile string) error {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		return usageError{errors.New("--base-url must be the https URL of a host, such as https://devices.example.com:8443")}
	}
	s.base = "https://" + u.Host
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		if err != nil {
			return err
		}
		s.pool = x509.NewCertPool()
		if !s.pool.AppendCertsFromPEM(text) {
			return fmt.Errorf("%s holds no certificate", caFile)
		}
	}
	given := 0
	for _, v := range []string{certFile, keyFile, s.deviceID} {
		if v != "" {
			given++
		}
	}
	switch {
	case given == 0 && s.enrollmentID == "" && !s.heartbeat:
		return nil
	case given != 3:
		return usageError{errors.New("--client-cert, --client-key and --device-id belong together")}
	}
	if err := protocol.CheckDeviceID(s.deviceID); err != nil {
		return usageError{err}
	}
	if s.enrollmentID != "" && protocol.CheckID(s.enrollmentID) != nil {
		return usageError{errors.New("--enrollment-id must be the id of the device's enrollment, as sentinel-agent status --output json says it")}
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return fmt.Errorf("--client-cert and --client-key: %w", err)
	}
	s.pair = &pair
	return nil
}

// lookUp asks the server, as whoever is signed in, which enrollment the device has.
func (s *smoke) lookUp(ctx context.Context, p *program) error {
	api, err := p.newClient("")
	if err != nil {
		return err
	}
	var d struct {
		EnrollmentID string `json:"enrollment_id"`
	}
	if err := api.do(ctx, http.MethodGet, "/api/devices/"+url.PathEscape(s.deviceID), nil, &d); err != nil {
		return fmt.Errorf("look up the device's enrollment: %w; or give --enrollment-id", notFound(err, "device", s.deviceID, "device list"))
	}
	s.enrollmentID = d.EnrollmentID
	return nil
}

func (s *smoke) run(ctx context.Context) []smokeStep {
	bare := s.client(nil)
	steps := []smokeStep{s.reachable(ctx, bare)}
	if !steps[0].OK {
		return steps
	}
	steps = append(steps, s.without(ctx, bare, "without a certificate", nil), s.without(ctx, bare, "with headers that claim one", claims()))
	if s.pair == nil {
		return steps
	}
	client := s.client(s.pair)
	taken := s.taken(ctx, client)
	if steps = append(steps, taken); taken.OK && s.enrollmentID != "" {
		steps = append(steps, s.counted(ctx, client))
	}
	return steps
}

func (s *smoke) client(pair *tls.Certificate) *http.Client {
	conf := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: s.pool}
	if pair != nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
	}
	return &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{TLSClientConfig: conf, MaxIdleConnsPerHost: 1},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (s *smoke) reachable(ctx context.Context, client *http.Client) smokeStep {
	step := smokeStep{Name: "the server is reached"}
	status, body, err := s.ask(ctx, client, http.MethodGet, "/api/health/ready", nil, nil)
	var report struct {
		Ready bool `json:"ready"`
	}
	var unknown x509.UnknownAuthorityError
	switch {
	case err != nil && errors.As(err, &unknown):
		step.Detail = err.Error() + "; give --ca-file the server's authority (sentinel-server ca certificates)"
	case err != nil:
		step.Detail = err.Error()
	case json.Unmarshal(body, &report) != nil || status != http.StatusOK && status != http.StatusServiceUnavailable:
		step.Detail = fmt.Sprintf("health answers %d, and not as this server does; is --base-url the devices' address?", status)
	case !report.Ready:
		step.Detail = "it is reached, and not ready: see sentinel-server status"
	default:
		step.OK, step.Detail = true, "ready"
	}
	return step
}

// without sends a heartbeat of nobody.
func (s *smoke) without(ctx context.Context, client *http.Client, what string, header http.Header) smokeStep {
	step := smokeStep{Name: "a heartbeat " + what + " is refused"}
	status, p, err := s.beat(ctx, client, header, &protocol.Heartbeat{DeviceID: "smoke-test", EnrollmentID: db.NewID(time.Now()), Counter: 1}, nil)
	switch {
	case err != nil:
		step.Detail = err.Error()
	case status == http.StatusUnauthorized && p.Code == protocol.CodeCertificateMissing:
		step.OK, step.Detail = true, "401 certificate-missing"
	case status < 300:
		step.Detail = "IT WAS ACCEPTED: take this address off the network"
	default:
		step.Detail = fmt.Sprintf("refused with %d %s, and should be with 401 certificate-missing", status, p.Code)
	}
	return step
}

// claims are the headers by which a proxy says who somebody is.
func claims() http.Header {
	h := http.Header{}
	for _, name := range proxy.Headers {
		h.Set(name, "x")
	}
	h.Set(proxy.HeaderVerify, "SUCCESS")
	h.Set(proxy.HeaderAddress, "192.0.2.1")
	h.Set("X-Forwarded-For", "192.0.2.1")
	return h
}

// taken sends a heartbeat with the device's certificate for an enrollment that nobody
// has. The server says that it is another one only after it took the certificate for
// the device; for another device it says so of itself.
func (s *smoke) taken(ctx context.Context, client *http.Client) smokeStep {
	step := smokeStep{Name: "the certificate is taken"}
	h := &protocol.Heartbeat{DeviceID: s.deviceID, EnrollmentID: db.NewID(time.Now()), Counter: 1}
	status, p, err := s.beat(ctx, client, nil, h, nil)
	if err == nil && status == http.StatusForbidden && p.Code == protocol.CodeIdentityMismatch {
		// The same answer is given to a device that names another: the certificate tells
		// them apart.
		leaf, parseErr := x509.ParseCertificate(s.pair.Certificate[0])
		if parseErr == nil && leaf.Subject.CommonName == s.deviceID {
			step.OK, step.Detail = true, "for "+s.deviceID+"; nothing was counted"
			return step
		}
		step.Detail = "it is another device's than " + s.deviceID
		return step
	}
	if err != nil {
		step.Detail = err.Error()
		return step
	}
	step.Detail = fmt.Sprintf("%d %s %s", status, p.Code, p.Title)
	return step
}

// counted sends a real heartbeat: the first asks where the counter stands.
func (s *smoke) counted(ctx context.Context, client *http.Client) smokeStep {
	step := smokeStep{Name: "a heartbeat is accepted"}
	now := time.Now()
	h := &protocol.Heartbeat{DeviceID: s.deviceID, EnrollmentID: s.enrollmentID, Counter: 1, Epoch: db.NewID(now), BootID: db.NewID(now)}
	status, p, err := s.beat(ctx, client, nil, h, nil)
	if err == nil && p.Code == protocol.CodeEpochChanged {
		h.Epoch, h.Nonce, h.Counter = p.Epoch, p.Nonce, p.Counter+1
		var answer protocol.HeartbeatAnswer
		if status, p, err = s.beat(ctx, client, nil, h, &answer); err == nil && status == http.StatusOK && answer.Counter == h.Counter {
			step.OK, step.Detail = true, fmt.Sprintf("counted as %d", answer.Counter)
			return step
		}
	}
	if err != nil {
		step.Detail = err.Error()
		return step
	}
	step.Detail = fmt.Sprintf("%d %s %s", status, p.Code, p.Title)
	return step
}

func (s *smoke) beat(ctx context.Context, client *http.Client, header http.Header, h *protocol.Heartbeat, answer *protocol.HeartbeatAnswer) (int, protocol.Problem, error) {
	h.Protocol, h.AgentVersion = protocol.Version, version.Version
	if h.Epoch == "" {
		now := time.Now()
		h.Epoch, h.BootID = db.NewID(now), db.NewID(now)
	}
	body, err := json.Marshal(h)
	if err != nil {
		return 0, protocol.Problem{}, err
	}
	status, data, err := s.ask(ctx, client, http.MethodPost, protocol.PathHeartbeat, header, body)
	var p protocol.Problem
	switch {
	case err != nil:
	case status >= 300:
		if json.Unmarshal(data, &p) != nil || p.Code == "" {
			p.Code = "not-this-servers-answer"
		}
	case answer != nil:
		err = json.Unmarshal(data, answer)
	}
	return status, p, err
}

func (s *smoke) ask(ctx context.Context, client *http.Client, method, path string, header http.Header, body []byte) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, s.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	maps.Copy(r.Header, header)
	if len(body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("User-Agent", "sentinel-server-smoke-test/"+version.Version)
	resp, err := client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, protocol.MaxAnswerBody))
	return resp.StatusCode, data, err
}
