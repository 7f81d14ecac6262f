package httpkit

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// Limiter bounds how fast each source may send requests. It remembers a bounded
// number of sources: those not heard of for longest are forgotten, and start
// afresh.
type Limiter struct {
	sources *lru.Cache[string, *rate.Limiter]
	limit   rate.Limit
	burst   int
	now     func() time.Time
}

// NewLimiter allows a source burst requests at once and perSecond after that, and
// remembers size sources. A nil now takes time.Now.
func NewLimiter(perSecond float64, burst, size int, now func() time.Time) (*Limiter, error) {
	sources, err := lru.New[string, *rate.Limiter](size)
	if now == nil {
		now = time.Now //nolint:forbidigo // the default of an argument
	}
	return &Limiter{sources, rate.Limit(perSecond), burst, now}, err
}

// Allow counts a request of the source. When it may not pass, it says after how
// long one may.
func (l *Limiter) Allow(source string) (time.Duration, bool) {
	s, ok := l.sources.Get(source)
	if !ok {
		s = rate.NewLimiter(l.limit, l.burst)
		if before, ok, _ := l.sources.PeekOrAdd(source, s); ok {
			s = before
		}
	}
	now := l.now()
	if s.AllowN(now, 1) {
		return 0, true
	}
	r := s.ReserveN(now, 1)
	after := r.DelayFrom(now)
	r.CancelAt(now)
	return after, false
}
