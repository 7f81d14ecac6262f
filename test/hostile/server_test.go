package hostile

import (
	"crypto"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/signing"
)

// server answers a device as the attempt under way wants it to.
type server struct {
	w       *world
	address string
	now     func() time.Time

	mu         sync.Mutex
	enrollment string // the device's id of it
	csr        *certs.Request
	recovery   *signing.Renewal

	say     func(*protocol.HeartbeatAnswer)                                // to heartbeats
	issue   func(asked *signing.Renewal, key crypto.PublicKey, to *issued) // to renewals and recoveries
	beats   int
	issues  int                // answers to renewals and recoveries
	shown   map[string]bool    // fingerprints of certificates that heartbeats came with
	results map[string]outcome // by action id, the last
}

type outcome struct {
	status signing.ResultStatus
	reason string
	times  int
}

// issued is the part of a renewal's and of a recovery's answer that counts.
type issued struct {
	requestID string
	chain     [][]byte
	roots     []json.RawMessage
	bundle    json.RawMessage
}

func newServer(w *world, now func() time.Time) *server {
	w.t.Helper()
	s := &server{w: w, now: now, shown: map[string]bool{}, results: map[string]outcome{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // ends with the test
	must(w.t, err)
	cert := w.serverCertificate()
	conf := certs.ServerTLS(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil })
	h := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = h.Serve(tls.NewListener(listener, conf))
	}()
	w.t.Cleanup(func() { _ = h.Close(); <-ended })
	s.address = listener.Addr().String()
	s.honest()
	return s
}

// honest makes the server say nothing but what a good one does.
func (s *server) honest() {
	s.say = func(*protocol.HeartbeatAnswer) {}
	s.issue = func(_ *signing.Renewal, key crypto.PublicKey, to *issued) {
		to.chain = chain(s.w.t, s.w.deviceCA, deviceID, key, s.now())
	}
}

// ServeHTTP is one request at a time.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(io.LimitReader(r.Body, protocol.MaxHeartbeatBody))
	switch path := r.URL.Path; {
	case path == protocol.PathEnroll:
		s.enroll(w, body)
	case path == protocol.PathHeartbeat:
		s.beat(w, r, body)
	case path == protocol.PathRenew:
		s.renew(w, body)
	case strings.HasPrefix(path, protocol.PathEnroll+"/"):
		s.poll(w, strings.TrimPrefix(path, protocol.PathEnroll+"/"))
	default:
		http.NotFound(w, r)
	}
}

func (s *server) enroll(w http.ResponseWriter, body []byte) {
	var req protocol.EnrollRequest
	if err := protocol.Decode(body, &req); err != nil {
		s.w.t.Errorf("a request to enroll: %v", err)
		return
	}
	csr := req.CSR
	if req.Recovery != nil {
		if s.recovery = s.readRenewal(req.Recovery); s.recovery == nil {
			return
		}
		csr = s.recovery.CSR
	} else {
		s.enrollment = req.EnrollmentID
	}
	parsed, err := certs.ParseRequest(csr, req.DeviceID)
	if err != nil {
		s.w.t.Errorf("a certificate request: %v", err)
		return
	}
	s.csr = parsed
	answer(w, http.StatusAccepted, protocol.EnrollAnswer{
		EnrollmentID: req.EnrollmentID, State: protocol.EnrollPending, KeyCode: parsed.KeyCode, Nonce: "n", PollAfterSeconds: 5,
	})
}

// poll gives the certificate at once: no reviewer is asked here.
func (s *server) poll(w http.ResponseWriter, id string) {
	to := issued{roots: []json.RawMessage{s.w.root}, bundle: s.w.older}
	if id == s.enrollment {
		to.chain = chain(s.w.t, s.w.deviceCA, deviceID, s.csr.PublicKey, s.now())
	} else {
		s.issues++
		s.issue(s.recovery, s.csr.PublicKey, &to)
	}
	answer(w, http.StatusOK, protocol.EnrollResult{
		EnrollmentID: id, State: protocol.EnrollIssued, Certificates: to.chain, FleetRoots: to.roots, PolicyBundle: to.bundle,
		Epoch: epoch, IntervalSeconds: 60, ServerTime: s.now(),
	})
}

func (s *server) renew(w http.ResponseWriter, body []byte) {
	asked := s.readRenewal(body)
	if asked == nil {
		return
	}
	csr, err := certs.ParseRequest(asked.CSR, deviceID)
	if err != nil {
		s.w.t.Errorf("a renewal's request: %v", err)
		return
	}
	s.issues++
	to := issued{requestID: asked.RequestID, roots: []json.RawMessage{s.w.root}}
	s.issue(asked, csr.PublicKey, &to)
	answer(w, http.StatusOK, protocol.RenewAnswer{RequestID: to.requestID, State: protocol.EnrollIssued, Certificates: to.chain, FleetRoots: to.roots})
}

func (s *server) readRenewal(data []byte) *signing.Renewal {
	env, err := signing.ParseEnvelope(data)
	if err != nil {
		s.w.t.Errorf("a renewal: %v", err)
		return nil
	}
	asked, err := signing.ReadRenewal(env)
	if err != nil {
		s.w.t.Errorf("a renewal: %v", err)
		return nil
	}
	return asked
}

func (s *server) beat(w http.ResponseWriter, r *http.Request, body []byte) {
	var hb protocol.Heartbeat
	if err := protocol.Decode(body, &hb); err != nil || len(r.TLS.PeerCertificates) == 0 {
		s.w.t.Errorf("a heartbeat: %v: %s", err, body)
		return
	}
	leaf := r.TLS.PeerCertificates[0]
	s.shown[certs.Fingerprint(leaf.Raw)] = true
	a := protocol.HeartbeatAnswer{
		Counter: hb.Counter, Epoch: hb.Epoch, ServerTime: s.now(), IntervalSeconds: 60, Nonce: "n", Receipt: "r", PolicyVersion: 3, RootVersion: 1,
		ResultsStored: s.store(hb.Results, leaf.PublicKey),
	}
	s.say(&a)
	s.beats++
	answer(w, http.StatusOK, a)
}

// store takes the outcomes that the device's key signed.
func (s *server) store(results []json.RawMessage, by crypto.PublicKey) (stored []string) {
	for _, data := range results {
		env, err := signing.ParseEnvelope(data)
		if err != nil {
			s.w.t.Errorf("a result: %v", err)
			continue
		}
		r, err := signing.VerifyResult(env, by)
		if err != nil {
			s.w.t.Errorf("a result: %v", err)
			continue
		}
		o := s.results[r.ActionID]
		s.results[r.ActionID] = outcome{r.Status, r.Reason, o.times + 1}
		stored = append(stored, r.ActionID)
	}
	return stored
}

func answer(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(data)
}
