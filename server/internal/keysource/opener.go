package keysource

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/config"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/keyfile"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/extsign"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
)

// ErrNoKey says that no configured source holds the key.
var ErrNoKey = errors.New("no configured key source holds it")

const (
	// believeFor is how long the public key that a program named is taken for the one it
	// still has, to choose between sources; each signature is verified anyway.
	believeFor = time.Minute
	// restFor is how long a program that hangs, or did not name its key, is left alone.
	restFor = 5 * time.Second
)

// Opener opens key sources. It is safe for concurrent use.
type Opener struct {
	timeout time.Duration
	owners  []int
	now     func() time.Time

	mu    sync.Mutex
	named map[string]named // by purpose and source
	lines map[string]*line // by source: there are as many as the settings name
}

// named is what a program said of its public key, or why it did not.
type named struct {
	pub   crypto.PublicKey
	err   error
	until time.Time
}

// New makes an opener. A program may take timeout for one answer; files and programs of
// owners (user ids) are taken beside root's and this process's own.
func New(timeout time.Duration, now func() time.Time, owners ...int) *Opener {
	return &Opener{timeout: timeout, owners: owners, now: now, named: map[string]named{}, lines: map[string]*line{}}
}

// line is that of a source's program.
func (o *Opener) line(source config.KeySource) *line {
	o.mu.Lock()
	defer o.mu.Unlock()
	l, ok := o.lines[source.String()]
	if !ok {
		l = newLine()
		o.lines[source.String()] = l
	}
	return l
}

// PurposeOf names the purpose of an authority's key to the program that has it.
func PurposeOf(kind certs.Kind) string { return string(kind) + "-ca" }

// Authorities are the sources of the keys of authorities, where they are not in the
// database.
func (o *Opener) Authorities(c *config.Config) map[certs.Kind]*Set {
	return map[certs.Kind]*Set{
		certs.KindDevice: o.Set(PurposeOf(certs.KindDevice), c.SignerDeviceCA, c.SignerDeviceCAPrevious),
		certs.KindServer: o.Set(PurposeOf(certs.KindServer), c.SignerServerCA, c.SignerServerCAPrevious),
	}
}

// Set is the sources of one purpose, the newest key's first.
type Set struct {
	o       *Opener
	purpose string
	sources []config.KeySource
}

// OfSettings opens the key sources that the settings name. Whoever owns the data directory
// may own key files and programs too, when root runs a command beside the server.
func OfSettings(c *config.Config, now func() time.Time) *Opener {
	var owners []int
	if uid, ok := files.OwnerOf(c.DataDir); ok && os.Geteuid() == 0 {
		owners = append(owners, uid)
	}
	return New(c.SignerTimeout, now, owners...)
}

// Set is the sources of a purpose; those that say nothing are left out.
func (o *Opener) Set(purpose string, sources ...config.KeySource) *Set {
	s := &Set{o: o, purpose: purpose}
	for _, source := range sources {
		if source.Kind == config.FromFile || source.Kind == config.FromProgram {
			s.sources = append(s.sources, source)
		}
	}
	return s
}

// Empty reports whether no source is configured.
func (s *Set) Empty() bool { return s == nil || len(s.sources) == 0 }

// Sources are the configured ones.
func (s *Set) Sources() []config.KeySource {
	if s == nil {
		return nil
	}
	return s.sources
}

// Newest is the public key of the first source, as the source says it; ErrNoKey without
// one.
func (s *Set) Newest(ctx context.Context) (crypto.PublicKey, error) {
	if s.Empty() {
		return nil, ErrNoKey
	}
	return s.o.Public(ctx, s.purpose, s.sources[0])
}

// Signer signs with the private key to pub, from whichever source holds it. A program
// is not asked before it has to sign, unless there are several sources; one that does
// not answer then is asked again when it has to. ErrNoKey says that none has the key.
func (s *Set) Signer(ctx context.Context, pub crypto.PublicKey) (crypto.Signer, error) {
	if s.Empty() {
		return nil, ErrNoKey
	}
	if len(s.sources) == 1 {
		return s.o.Signer(s.purpose, s.sources[0], pub)
	}
	signer, err := s.find(ctx, pub)
	if _, silent := errors.AsType[*Error](err); silent && ctx.Err() == nil {
		return &late{s, pub}, nil
	}
	return signer, err
}

// find is the signer of the source that says it has the key.
func (s *Set) find(ctx context.Context, pub crypto.PublicKey) (crypto.Signer, error) {
	var failed []error
	for _, source := range s.sources {
		has, err := s.o.Public(ctx, s.purpose, source)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		if same(has, pub) {
			return s.o.Signer(s.purpose, source, pub)
		}
	}
	return nil, errors.Join(append(failed, ErrNoKey)...)
}

// late is a signer whose source did not say yet that it has the key.
type late struct {
	s   *Set
	pub crypto.PublicKey
}

func (l *late) Public() crypto.PublicKey { return l.pub }

func (l *late) Sign(r io.Reader, data []byte, opts crypto.SignerOpts) ([]byte, error) {
	signer, err := l.s.find(context.Background(), l.pub)
	if err != nil {
		return nil, err
	}
	return signer.Sign(r, data, opts)
}

// Public is the public key of a source, as the source says it.
func (o *Opener) Public(ctx context.Context, purpose string, source config.KeySource) (crypto.PublicKey, error) {
	switch source.Kind {
	case config.FromFile:
		key, err := keyfile.LoadOf(source.Path, o.owners...)
		if err != nil {
			return nil, err
		}
		return key.Public(), nil
	case config.FromProgram:
		return o.publicOf(ctx, purpose, source)
	}
	return nil, ErrNoKey
}

func (o *Opener) publicOf(ctx context.Context, purpose string, source config.KeySource) (crypto.PublicKey, error) {
	id := purpose + "\x00" + source.String()
	o.mu.Lock()
	have, ok := o.named[id]
	o.mu.Unlock()
	if ok && o.now().Before(have.until) {
		return have.pub, have.err
	}
	pub, err := o.askPublic(ctx, purpose, source)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	have = named{pub, err, o.now().Add(believeFor)}
	if err != nil {
		have.until = o.now().Add(restFor)
	}
	o.mu.Lock()
	o.named[id] = have
	o.mu.Unlock()
	return pub, err
}

func (o *Opener) askPublic(ctx context.Context, purpose string, source config.KeySource) (crypto.PublicKey, error) {
	answer, err := o.ask(ctx, source, &extsign.Request{Version: extsign.Version, Operation: extsign.PublicKey, Purpose: purpose})
	if err != nil {
		return nil, err
	}
	pub, err := x509.ParsePKIXPublicKey(answer.PublicKey)
	if err == nil {
		err = certs.CheckPublicKey(pub)
	}
	if err != nil {
		return nil, &Error{Program: source.Path, Reason: fmt.Errorf("%w: its public key cannot be taken", ErrAnswer)}
	}
	return pub, nil
}

// Signer signs with the private key to pub from one source. A file that holds another
// key is ErrNoKey.
func (o *Opener) Signer(purpose string, source config.KeySource, pub crypto.PublicKey) (crypto.Signer, error) {
	switch source.Kind {
	case config.FromFile:
		key, err := keyfile.LoadOf(source.Path, o.owners...)
		if err != nil {
			return nil, err
		}
		if !same(key.Public(), pub) {
			return nil, fmt.Errorf("%s: %w", source.Path, ErrNoKey)
		}
		return key, nil
	case config.FromProgram:
		return o.external(purpose, source, pub)
	}
	return nil, ErrNoKey
}

func same(a, b crypto.PublicKey) bool {
	x, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && b != nil && x.Equal(b)
}
