package pki

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/status"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// KindResponder is the kind, in the inventory, of the certificates of OCSP
// responders. No authority is of it.
const KindResponder certs.Kind = "ocsp"

const (
	// responderLife is how long a responder's certificate lives. Nobody can revoke
	// it: whoever steals its key may lie for that long.
	responderLife = 24 * time.Hour
	// MaxAnswerLife is the longest that an answer may hold: what is left of a
	// responder's certificate when it is renewed.
	MaxAnswerLife = 8 * time.Hour
	// rememberedAnswers bounds the memory for answers, to some 20 MB.
	rememberedAnswers = 10_000
	// believeFor is how long what was read of a certificate is told without reading
	// again: as long as a heartbeat may be judged by it.
	believeFor = 2 * time.Second
	// answersAtOnce bounds how many questions read and sign at a time.
	answersAtOnce = 64
)

// Responder answers OCSP requests about the certificates of all authorities that are
// believed. What it says comes from the inventory: good is only what is on record
// there and not revoked; a serial number that is not on record is unknown, whoever
// signed for it. When the inventory cannot be read, or is known to have forgotten
// something, nothing is said.
type Responder struct {
	s    *Service
	life time.Duration

	gate    chan struct{}
	answers *lru.Cache[string, *remembered]
	changes atomic.Int64

	mu    sync.Mutex
	round int
	named map[string]authority // by hash, name hash and key hash
	own   map[string]*speaker  // by authority
}

// speaker is a responder's key and certificate under one authority.
type speaker struct {
	mu sync.Mutex // one at a time is made
	certs.CA
	renewAt time.Time
}

// remembered is a signed answer without a nonce, and what it rests on.
type remembered struct {
	Reply

	standing standingRow
	readAt   time.Time
	changes  int64
}

// Reply is an answer as it is sent.
type Reply struct {
	DER                    []byte
	ThisUpdate, NextUpdate time.Time // zero for one that may not be kept by others
}

// NewResponder makes the responder; an answer holds for life.
func (s *Service) NewResponder(life time.Duration) (*Responder, error) {
	answers, err := lru.New[string, *remembered](rememberedAnswers)
	if err != nil {
		return nil, err
	}
	r := &Responder{s: s, life: min(life, MaxAnswerLife), gate: make(chan struct{}, answersAtOnce), answers: answers, own: map[string]*speaker{}}
	s.watchers = append(s.watchers, func() { r.changes.Add(1) })
	return r, nil
}

// Answer answers a request. The error says, for the log, why the answer is none about
// a certificate though the fault is not the caller's.
func (r *Responder) Answer(ctx context.Context, request []byte) (Reply, error) {
	q, err := status.ReadQuestion(request)
	if err != nil {
		return Reply{DER: status.Malformed}, nil
	}
	a, err := r.authority(q)
	if err != nil {
		return Reply{DER: status.Internal}, err
	}
	if a == nil {
		return Reply{DER: status.Unauthorized}, nil
	}
	select {
	case r.gate <- struct{}{}:
		defer func() { <-r.gate }()
	case <-ctx.Done():
		return Reply{DER: status.TryLater}, nil
	}
	reply, err := r.about(ctx, a, q)
	if err != nil {
		return Reply{DER: status.TryLater}, err
	}
	return reply, nil
}

// authority finds the authority that a question names, nil for another's.
func (r *Responder) authority(q *status.Question) (*authority, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.s.mu.RLock()
	round, signers := r.s.round, r.s.tell
	r.s.mu.RUnlock()
	if r.named == nil || r.round != round {
		named := map[string]authority{}
		for _, hash := range status.Hashes() {
			for _, a := range signers {
				name, key, err := status.Names(hash, a.Certificate)
				if err != nil {
					return nil, err
				}
				named[hash.String()+string(name)+string(key)] = a
			}
		}
		r.named, r.round = named, round
	}
	a, ok := r.named[q.Hash.String()+string(q.NameHash)+string(q.KeyHash)]
	if !ok {
		return nil, nil
	}
	return &a, nil
}

// about answers about one certificate, by what was signed before where nothing has
// changed since.
func (r *Responder) about(ctx context.Context, a *authority, q *status.Question) (Reply, error) {
	key := a.id + string(q.CertID)
	changes, now := r.changes.Load(), r.s.d.Now()
	have, _ := r.answers.Get(key)
	fresh := have != nil && !now.Before(have.ThisUpdate) && now.Sub(have.ThisUpdate) < r.life/2
	if fresh && q.Nonce == nil && have.changes == changes && !now.Before(have.readAt) && now.Sub(have.readAt) < believeFor {
		return have.Reply, nil
	}
	standing, err := standingOf(ctx, r.s.d.Read(), a.id, fmt.Sprintf("%x", q.Serial))
	if err != nil {
		return Reply{}, err
	}
	if standing.Behind != 0 {
		return Reply{}, errBehind
	}
	if fresh && q.Nonce == nil && have.standing == standing {
		again := *have
		again.readAt, again.changes = now, changes
		r.answers.Add(key, &again)
		return have.Reply, nil
	}
	reply, err := r.sign(ctx, a, q, standing, now)
	if err != nil || q.Nonce != nil || standing.Fingerprint == "" { // one with a nonce is for nobody else, and strangers fill no memory
		reply.ThisUpdate, reply.NextUpdate = time.Time{}, time.Time{}
		return reply, err
	}
	r.answers.Add(key, &remembered{reply, standing, now, changes})
	return reply, nil
}

func (r *Responder) sign(ctx context.Context, a *authority, q *status.Question, standing standingRow, now time.Time) (Reply, error) {
	speaker, err := r.speaker(ctx, a, now)
	if err != nil {
		return Reply{}, err
	}
	this := now.Truncate(time.Second)
	answer := status.Answer{CertID: q.CertID, Serial: q.Serial, Standing: status.Unknown, ThisUpdate: this, NextUpdate: this.Add(r.life), Nonce: q.Nonce}
	switch {
	case standing.Fingerprint == "":
	case standing.RevokedAt != 0:
		answer.Standing, answer.Reason = status.Gone, status.ReasonOf(standing.RevokedReason)
		answer.RevokedAt = standing.RevokedAt.Time().Truncate(time.Second)
		if answer.RevokedAt.After(this) { // another node's clock
			answer.RevokedAt = this
		}
	default:
		answer.Standing = status.Good
	}
	der, err := status.SignAnswer(speaker, a.Certificate, answer)
	if err != nil {
		return Reply{}, err
	}
	return Reply{DER: der, ThisUpdate: answer.ThisUpdate, NextUpdate: answer.NextUpdate}, nil
}

// speaker is this process's own key and certificate to answer with for an authority,
// made when it is first needed and again when a third of its life is left.
func (r *Responder) speaker(ctx context.Context, a *authority, now time.Time) (certs.CA, error) {
	r.mu.Lock()
	own := r.own[a.id]
	if own == nil {
		own = &speaker{}
		r.own[a.id] = own
	}
	r.mu.Unlock()
	own.mu.Lock()
	defer own.mu.Unlock()
	// Also when the clock went back to before it began.
	if own.Certificate != nil && now.Before(own.renewAt) && !now.Before(own.Certificate.NotBefore) {
		return own.CA, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return certs.CA{}, err
	}
	t := certs.ResponderTemplate{PublicKey: key.Public()}
	t.NotBefore, t.NotAfter = validity(now, responderLife)
	if t.NotAfter.After(a.Certificate.NotAfter) {
		t.NotAfter = a.Certificate.NotAfter
	}
	der, err := certs.IssueResponder(a.CA, t)
	if err != nil {
		return certs.CA{}, fmt.Errorf("issue the responder's certificate: %w", err)
	}
	made, err := issued(*a, KindResponder, der, "", "", now)
	if err != nil {
		return certs.CA{}, err
	}
	if err := r.s.d.Write(ctx, func(ctx context.Context, tx db.Tx) error { return Record(ctx, tx, made) }); err != nil {
		return certs.CA{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return certs.CA{}, err
	}
	own.CA, own.renewAt = certs.CA{Certificate: cert, Signer: key}, now.Add(responderLife*2/3)
	return own.CA, nil
}

// Tag changes with the answer.
func (r Reply) Tag() string {
	sum := sha256.Sum256(r.DER)
	return hex.EncodeToString(sum[:16])
}

// Told reports whether the answer says something of a certificate.
func (r Reply) Told() bool { return len(r.DER) > 5 }
