package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

const sha256Hash = crypto.SHA256

// reference is the bare program: an mTLS server that reads a heartbeat, raises its
// counter together with others, and answers once that is committed. It checks
// nothing else, keeps no log, counts nothing.
type reference struct {
	Listen   string
	Kind     string
	Database string // URL, or path of the SQLite file
	CA       []byte // of devices, DER
	Key      []byte // of the server, PKCS#8
	Chain    [][]byte
	Evidence bool // check one P-256 signature a heartbeat
}

// As the server's defaults.
const (
	window    = 3 * time.Millisecond
	batchSize = 256
)

func runReference(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	r := &reference{}
	if err := json.Unmarshal(data, r); err != nil {
		return err
	}
	ca, err := x509.ParseCertificate(r.CA)
	if err != nil {
		return err
	}
	key, err := x509.ParsePKCS8PrivateKey(r.Key)
	if err != nil {
		return err
	}
	update, writers, err := r.open()
	if err != nil {
		return err
	}
	in := make(chan beat)
	for range writers {
		go gather(in, update)
	}
	devices := x509.NewCertPool()
	devices.AddCert(ca)
	own := tls.Certificate{Certificate: r.Chain, PrivateKey: key}
	conf := certs.ServerTLS(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &own, nil })
	conf.ClientAuth, conf.ClientCAs = tls.RequireAndVerifyClientCert, devices
	server := &http.Server{TLSConfig: conf, ReadHeaderTimeout: time.Minute, IdleTimeout: time.Hour, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.serve(w, q, in)
	})}
	l, err := net.Listen("tcp", r.Listen)
	if err != nil {
		return err
	}
	return server.ServeTLS(l, "", "")
}

type beat struct {
	device  string
	epoch   string
	boot    string
	counter int64
	at      int64
	done    chan error
}

func (r *reference) serve(w http.ResponseWriter, q *http.Request, in chan<- beat) {
	body, err := io.ReadAll(io.LimitReader(q.Body, protocol.MaxHeartbeatBody))
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if q.URL.Path != protocol.PathHeartbeat { // a handshake and nothing else
		_, _ = io.WriteString(w, "{}")
		return
	}
	var h protocol.Heartbeat
	if err := json.Unmarshal(body, &h); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	leaf := q.TLS.PeerCertificates[0]
	if r.Evidence {
		sig, _ := base64.StdEncoding.DecodeString(q.Header.Get("Evidence"))
		sum := sha256.Sum256(body)
		if pub, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || !ecdsa.VerifyASN1(pub, sum[:], sig) {
			http.Error(w, "evidence", http.StatusForbidden)
			return
		}
	}
	b := beat{leaf.Subject.CommonName, h.Epoch, h.BootID, h.Counter, time.Now().UnixMicro(), make(chan error, 1)}
	in <- b
	if err := <-b.done; err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	data, err := json.Marshal(answer{Counter: h.Counter})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(data)
}

func gather(in <-chan beat, update func([]beat) error) {
	for first := range in {
		batch := []beat{first}
		over := time.NewTimer(window)
	more:
		for len(batch) < batchSize {
			select {
			case b := <-in:
				batch = append(batch, b)
			case <-over.C:
				break more
			}
		}
		over.Stop()
		err := update(batch)
		for _, b := range batch {
			b.done <- err
		}
	}
}

const (
	setCounter     = "UPDATE device_counters AS c SET counter = b.counter, epoch = b.epoch, boot_id = b.boot_id, seen_at = b.at, refused = 0 FROM "
	whereCounter   = " WHERE c.device_id = b.device_id AND b.counter > c.counter"
	updatePostgres = setCounter + "unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS b (device_id, epoch, boot_id, counter, at)" + whereCounter
	updateSQLite   = setCounter + "(SELECT value->>0 AS device_id, value->>1 AS epoch, value->>2 AS boot_id, value->>3 AS counter, value->>4 AS at FROM json_each(?1)) AS b" + whereCounter
)

// open is the batched update, and how many do it at once.
func (r *reference) open() (update func([]beat) error, writers int, err error) {
	if r.Kind == postgres {
		pool, err := pgxpool.New(context.Background(), r.Database)
		if err != nil {
			return nil, 0, err
		}
		return func(batch []beat) error {
			device, epoch, boot, counter, at := make([]string, len(batch)), make([]string, len(batch)), make([]string, len(batch)), make([]int64, len(batch)), make([]int64, len(batch))
			for i, b := range batch {
				device[i], epoch[i], boot[i], counter[i], at[i] = b.device, b.epoch, b.boot, b.counter, b.at
			}
			tag, err := pool.Exec(context.Background(), updatePostgres, device, epoch, boot, counter, at)
			return all(int(tag.RowsAffected()), len(batch), err)
		}, max(2, runtime.NumCPU()), nil
	}
	d, err := openSQLite(r.Database)
	if err != nil {
		return nil, 0, err
	}
	statement, err := d.Prepare(updateSQLite) //nolint:sqlclosecheck // it is used until the process ends
	if err != nil {
		return nil, 0, err
	}
	return func(batch []beat) error {
		list := make([][5]any, len(batch))
		for i, b := range batch {
			list[i] = [5]any{b.device, b.epoch, b.boot, b.counter, b.at}
		}
		data, err := json.Marshal(list)
		if err != nil {
			return err
		}
		var res sql.Result
		if res, err = statement.Exec(string(data)); err != nil {
			return err
		}
		n, err := res.RowsAffected()
		return all(int(n), len(batch), err)
	}, 1, nil
}

func all(n, of int, err error) error {
	if err == nil && n != of {
		err = fmt.Errorf("%d of %d counters rose", n, of)
	}
	return err
}

// bare is a reference as a process, on a copy of a fleet's database.
type bare struct {
	b        *bench
	fleet    *fleet
	kind     string
	address  string
	file     string
	serverCA *x509.Certificate
	evidence bool
	process  *process
}

// newBare prepares a reference.
func (b *bench) newBare(ctx context.Context, f *fleet, kind string, evidence bool) (*bare, error) {
	s, err := b.newSite(ctx, f, kind)
	if err != nil {
		return nil, err
	}
	r := &bare{b: b, fleet: f, kind: kind, file: filepath.Join(s.dir, "reference.json"), evidence: evidence}
	if r.address, err = freeAddress(); err != nil {
		return nil, err
	}
	config := reference{Listen: r.address, Kind: kind, Database: s.database, CA: f.identities[0].issuer.Raw, Evidence: evidence}
	if kind == sqlite {
		config.Database = sqliteFile(s.dir)
	}
	if r.serverCA, config.Chain, config.Key, err = serverCertificate(); err != nil {
		return nil, err
	}
	data, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	return r, os.WriteFile(r.file, data, 0o600)
}

// serverCertificate has the shape of the server's own: an issuer and a certificate
// of P-256 keys.
func serverCertificate() (issuer *x509.Certificate, chain [][]byte, key []byte, err error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, nil, err
	}
	ownKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Reference CA"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	ca, err := x509.CreateCertificate(rand.Reader, template, template, caKey.Public(), caKey)
	if err != nil {
		return nil, nil, nil, err
	}
	if issuer, err = x509.ParseCertificate(ca); err != nil {
		return nil, nil, nil, err
	}
	leaf, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"localhost"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, issuer, ownKey.Public(), caKey)
	if err != nil {
		return nil, nil, nil, err
	}
	key, err = x509.MarshalPKCS8PrivateKey(ownKey)
	return issuer, [][]byte{leaf, ca}, key, err
}

func (r *bare) launch() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	r.process, err = r.b.start("the reference", nil, self, "reference", r.file)
	return err
}

func (r *bare) start(ctx context.Context) error {
	if err := r.launch(); err != nil {
		return err
	}
	return errors.Join(until(ctx, 10*time.Second, 5*time.Millisecond, func() bool {
		conn, err := net.Dial("tcp", r.address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil || r.process.ended() != nil
	}), r.process.ended())
}

func (r *bare) stop() { r.process.stop(); r.process = nil }

func (r *bare) pids() []int {
	list := []int{r.process.pid()}
	if r.kind == postgres {
		list = append(list, r.b.postgres.pid)
	}
	return list
}

func (r *bare) crew() *crew {
	c := newCrew(r.b, r.fleet, r.address, r.evidence)
	pool := x509.NewCertPool()
	pool.AddCert(r.serverCA)
	for _, one := range c.callers {
		one.config.RootCAs = pool
	}
	return c
}
