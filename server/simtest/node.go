package simtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/app"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/authz"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/deviceapi"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/health"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/pki"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// Options are what the simulation decides.
type Options struct {
	Dir    string
	Now    func() time.Time
	Begin  func() error                    // before each attempt of a transaction; nil does nothing
	Commit func(commit func() error) error // around each commit; nil commits
	Log    *slog.Logger                    // nil discards
	Life   time.Duration                   // of device certificates; 0 takes the default
	Review bool                            // each renewal is reviewed
}

// Node is an open server.
type Node struct {
	core    *app.Core
	machine *httpkit.Mux
	own     *pki.ServerCertificate
	rounds  int
}

// settings of every node: nothing runs by itself.
var settings = sync.OnceValues(func() (*config.Config, error) {
	return config.Load([]string{
		"SENTINEL_DATA_DIR=/", "SENTINEL_HEARTBEAT_BATCH_WINDOW=0s", "SENTINEL_HEARTBEAT_BATCH_SIZE=1",
	}, "")
})

// Open opens the server on a data directory that Found or Copy made, as a start of
// the process does.
func Open(ctx context.Context, o Options) (*Node, error) { return open(ctx, o, false) }

func open(ctx context.Context, o Options, found bool) (*Node, error) {
	base, err := settings()
	if err != nil {
		return nil, err
	}
	c := *base
	c.DataDir, c.AutoCreateSchemaOnBoot, c.RequireRotationApproval = o.Dir, found, o.Review
	if o.Life > 0 {
		c.DeviceCertLifetime = o.Life
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	options := app.Options{Config: &c, Log: o.Log, Now: o.Now}
	options.Hooks.SQLite = openSQL
	if o.Begin != nil {
		options.Hooks.Begin = func(context.Context) error { return o.Begin() }
	}
	if o.Commit != nil {
		options.Hooks.Commit = func(_ context.Context, commit func() error) error { return o.Commit(commit) }
	}
	core, err := app.Open(ctx, options)
	if err != nil {
		return nil, err
	}
	n := &Node{core: core, own: core.ServerCertificate()}
	n.machine = core.MachineSurface(health.New(core.DB.Now), httpkit.Options{Now: core.DB.Now})
	if err := core.RaiseMark(ctx); err != nil {
		_ = core.Close()
		return nil, err
	}
	return n, nil
}

// Close lets go of the data directory, as the end of the process does: what was
// only in memory is lost.
func (n *Node) Close() error { return n.core.Close() }

// CAFingerprint is what devices are told of the server's authority.
func (n *Node) CAFingerprint() string { return n.core.Fingerprint() }

// RootDigest is what devices are told of the fleet root.
func (n *Node) RootDigest() (string, error) {
	fleet, err := n.core.Policy.Fleet()
	if err != nil {
		return "", err
	}
	return fleet.FirstDigest, nil
}

// Presents is the chain that the server shows, in DER.
func (n *Node) Presents() ([][]byte, error) {
	c, err := n.own.Get(nil)
	if err != nil {
		return nil, err
	}
	return c.Certificate, nil
}

// Conn is a connection of a device whose key was proven in the handshake.
type Conn struct {
	n      *Node
	ctx    context.Context //nolint:containedctx // a connection's context is what its requests inherit
	state  tls.ConnectionState
	source string
}

// Accept is a handshake in which the device presented the chain; nil for none.
func (n *Node) Accept(ctx context.Context, chain [][]byte, source string) (*Conn, error) {
	c := &Conn{n: n, ctx: deviceapi.ConnContext(ctx, nil), source: source}
	c.state = tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}
	for _, der := range chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		c.state.PeerCertificates = append(c.state.PeerCertificates, cert)
	}
	return c, nil
}

// Fingerprint names the certificate that was presented, "" for none.
func (c *Conn) Fingerprint() string {
	if len(c.state.PeerCertificates) == 0 {
		return ""
	}
	return certs.Fingerprint(c.state.PeerCertificates[0].Raw)
}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

type recorder struct {
	Answer
	body bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.Answer.Header }

func (r *recorder) WriteHeader(status int) {
	if r.Status == 0 {
		r.Status = status
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}

// Post answers one request.
func (c *Conn) Post(path string, body []byte) (Answer, error) {
	r, err := http.NewRequestWithContext(c.ctx, http.MethodPost, path, bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.TLS, r.RemoteAddr = &c.state, c.source
	w := &recorder{Answer: Answer{Header: http.Header{}}}
	c.n.machine.ServeHTTP(w, r)
	w.Body = w.body.Bytes()
	return w.Answer, nil
}

// Upkeep is the next round of what the server does by itself.
func (n *Node) Upkeep(ctx context.Context) {
	n.rounds++
	n.core.Upkeep(ctx, n.rounds)
}

// MarkRestored does what sentinel-server db mark-restored does on a data directory
// whose node is closed.
func MarkRestored(ctx context.Context, dir string, now func() time.Time) error {
	base, err := settings()
	if err != nil {
		return err
	}
	c := *base
	c.DataDir = dir
	d, err := app.OpenDB(ctx, &c, now)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	journal, err := device.NewJournal(dir).Read()
	if err != nil {
		return err
	}
	_, err = flow.MarkRestored(ctx, d, db.NewOutside(dir), authz.Host("simulation"), journal)
	return err
}

// Query reads rows of the database, each column as text.
func (n *Node) Query(ctx context.Context, query string, args ...any) ([][]string, error) {
	rows, err := n.core.DB.Read().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var list [][]string
	into := make([]any, len(columns))
	for rows.Next() {
		row := make([]string, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, rows.Err()
}

// ErrSerialization is what PostgreSQL says when a transaction must run again.
var ErrSerialization error = &pgconn.PgError{Code: "40001", Message: "could not serialize access (simulated)"}
