package deviceapi_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/deviceapi"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// world is a running server with the people who let devices in, and a look at
// its database that the server does not know of.
type world struct {
	*servertest.Server
	t        *testing.T
	operator *servertest.Person
	reviewer *servertest.Person
	tables   *sql.DB
	now      func() time.Time // of the server, where a test set it
}

func newWorld(t *testing.T, url string, o servertest.Options) *world {
	t.Helper()
	o.Database = url
	w := &world{Server: servertest.Start(t, o), t: t}
	w.operator, w.reviewer = w.Person("olivia", "operator"), w.Person("ben", "approver")
	driver, source := "pgx", url
	if strings.HasPrefix(url, "sqlite:") {
		driver, source = "sqlite", filepath.Join(w.Dir, "sentinel.db")
	}
	var err error
	if w.tables, err = sql.Open(driver, source); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.tables.Close() })
	// The first handshake makes the listener's own certificate, a row too.
	if a := w.send(w.caller(nil, nil), call{method: http.MethodGet, path: "/api/health/live"}); a.status != http.StatusOK {
		t.Fatalf("the server is not alive: %d", a.status)
	}
	return w
}

// device lets a device in.
func (w *world) device(id string) *servertest.Device {
	w.t.Helper()
	return w.Enroll(id, w.operator.EnrollToken(1), w.reviewer)
}

// stateTables hold everything that a request of a device could change.
var stateTables = []string{
	"enroll_tokens", "enrollments", "approvals", "approval_votes", "devices", "device_labels", "device_counters", "certificates", "trust_verdicts",
	"identity_requests", "attestation_challenges", "attestation_tpms", "attestation_results",
}

// state is every row of the tables, to be compared.
func (w *world) state() string { return w.dump(stateTables...) }

func (w *world) dump(names ...string) string {
	w.t.Helper()
	var out strings.Builder
	for _, name := range names {
		rows, err := w.tables.QueryContext(w.t.Context(), "SELECT * FROM "+name+" ORDER BY 1, 2")
		if err != nil {
			w.t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			w.t.Fatal(err)
		}
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		for rows.Next() {
			if err := rows.Scan(into...); err != nil {
				w.t.Fatal(err)
			}
			fmt.Fprintf(&out, "%s:", name)
			for i, v := range values {
				if b, ok := v.([]byte); ok {
					v = string(b)
				}
				fmt.Fprintf(&out, " %s=%v", columns[i], v)
			}
			out.WriteByte('\n')
		}
		if err := rows.Close(); err != nil {
			w.t.Fatal(err)
		}
		if err := rows.Err(); err != nil {
			w.t.Fatal(err)
		}
	}
	return out.String()
}

// unchanged fails when the rows are not those of before.
func (w *world) unchanged(before, what string) {
	w.t.Helper()
	if after := w.state(); after != before {
		w.t.Fatalf("%s changed what is stored:\n%s\ninto\n%s", what, before, after)
	}
}

// tlsConfig believes the server; chain and key are what the caller presents.
func (w *world) tlsConfig(chain [][]byte, key crypto.Signer) *tls.Config {
	config := w.NewDevice("nobody").Transport().TLSClientConfig.Clone()
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if chain == nil {
			return &tls.Certificate{}, nil
		}
		return &tls.Certificate{Certificate: chain, PrivateKey: key}, nil
	}
	return config
}

// caller is somebody with any certificate or none.
func (w *world) caller(chain [][]byte, key crypto.Signer) *http.Transport {
	tr := &http.Transport{TLSClientConfig: w.tlsConfig(chain, key), MaxIdleConnsPerHost: 8}
	w.t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// call is one request, as far as it differs from a plain POST of JSON.
type call struct {
	method  string // "" is POST
	url     string // "" is the machine listener
	path    string
	body    []byte
	header  map[string]string
	chunked bool
}

// answer is what came back; of a refusal, with its problem.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	problem protocol.Problem
}

// try sends a call; the error is the transport's.
func (w *world) try(tr http.RoundTripper, c call) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if c.method == "" {
		c.method = http.MethodPost
	}
	if c.url == "" {
		c.url = w.MachineURL
	}
	var body io.Reader
	if c.body != nil {
		body = bytes.NewReader(c.body)
	}
	if c.chunked {
		body = io.MultiReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, c.method, c.url+c.path, body)
	if err != nil {
		return answer{}, err
	}
	if c.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range c.header {
		req.Header.Set(k, v)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	a := answer{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, 8<<20)); err != nil {
		return a, err
	}
	if a.status >= 300 && json.Unmarshal(a.body, &a.problem) != nil {
		a.problem.Code = "not a problem"
	}
	return a, nil
}

// send is try, which must get an answer.
func (w *world) send(tr http.RoundTripper, c call) answer {
	w.t.Helper()
	a, err := w.try(tr, c)
	if err != nil {
		w.t.Fatalf("%s %s: %v", c.method, c.path, err)
	}
	return a
}

// routes are all routes of the device API, as it registers them.
func routes() []httpkit.Route {
	api := deviceapi.New(nil, nil, nil, nil, slog.New(slog.DiscardHandler), time.Now)
	m := httpkit.NewMux(httpkit.Options{Surface: "machine", Guards: api.Guards()})
	api.Register(m)
	return m.Routes()
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
