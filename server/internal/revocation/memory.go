package revocation

import (
	"crypto/sha256"
	"encoding/hex"
	"math/big"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/certs"
)

// Memory is what outlives a restart, and what nodes tell each other: without it an
// older list that is still in date would be believed again. Certificates that were
// revoked are on record themselves.
type Memory struct {
	Marks  []Mark
	Fallen []Fallen
}

// Mark is how far the lists of one authority had come at one source.
type Mark struct {
	Source     string    `bun:"source,pk"`    // SHA-256 of where it is, lower-case hex
	Authority  string    `bun:"authority,pk"` // SHA-256 of its name and key, lower-case hex
	Number     string    `bun:"number"`       // decimal; empty when the list has none (RFC 5280 section 5.2.3)
	ThisUpdate db.Micros `bun:"this_update"`
}

// Fallen is an authority that was revoked for good.
type Fallen struct {
	Fingerprint string `bun:"fingerprint,pk"`
	Reason      int    `bun:"reason"` // RFC 5280 section 5.3.1
}

func (m Mark) mark() mark {
	at := mark{thisUpdate: m.ThisUpdate.Time()}
	if n, ok := new(big.Int).SetString(m.Number, 10); ok {
		at.number = n
	}
	return at
}

// behind reports whether a mark is one that the other has left behind.
func (m mark) behind(other mark) bool {
	switch {
	case other.number == nil:
		return m.number == nil && m.thisUpdate.Before(other.thisUpdate)
	case m.number == nil || m.number.Cmp(other.number) < 0:
		return true
	}
	return m.number.Cmp(other.number) == 0 && m.thisUpdate.Before(other.thisUpdate)
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// Recall adds what is remembered to what the checker knows by itself.
func (c *Checker) Recall(m Memory) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, remembered := range m.Marks {
		for _, s := range c.sources {
			if s.id != remembered.Source {
				continue
			}
			if at := remembered.mark(); s.newest[remembered.Authority].behind(at) {
				s.newest[remembered.Authority] = at
			}
		}
	}
	for _, f := range m.Fallen {
		for _, authority := range c.all {
			if certs.Fingerprint(authority.Raw) == f.Fingerprint {
				c.fallen[string(authority.Raw)] = f.Reason
			}
		}
	}
}

// News is what the checker knows beyond what is remembered.
func (c *Checker) News(m Memory) (news Memory) {
	type place struct{ source, authority string }
	marks, fallen := map[place]mark{}, map[string]bool{}
	for _, remembered := range m.Marks {
		marks[place{remembered.Source, remembered.Authority}] = remembered.mark()
	}
	for _, f := range m.Fallen {
		fallen[f.Fingerprint] = true
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, s := range c.sources {
		for authority, at := range s.newest {
			before, known := marks[place{s.id, authority}]
			if known && !before.behind(at) {
				continue
			}
			mark := Mark{Source: s.id, Authority: authority, ThisUpdate: db.At(at.thisUpdate)}
			if at.number != nil {
				mark.Number = at.number.String()
			}
			news.Marks = append(news.Marks, mark)
		}
	}
	for raw, reason := range c.fallen {
		if fingerprint := certs.Fingerprint([]byte(raw)); !fallen[fingerprint] {
			news.Fallen = append(news.Fallen, Fallen{Fingerprint: fingerprint, Reason: reason})
		}
	}
	return news
}

// Empty reports whether there is nothing.
func (m Memory) Empty() bool { return len(m.Marks) == 0 && len(m.Fallen) == 0 }
