package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/admin"
)

// Limits of streams. Each costs a look at the database every liveEvery.
const (
	maxStreams        = 500
	maxAccountStreams = 20
	liveEvery         = 2 * time.Second // also how late a stream ends after its session
	heartbeatEvery    = 7               // rounds between two comments that keep proxies awake
	streamLife        = 10 * time.Minute
	writeLimit        = 10 * time.Second
)

// streams counts who listens.
type streams struct {
	mu     sync.Mutex
	all    int
	of     map[string]int // account id -> streams
	closed chan struct{}
	once   sync.Once
}

func newStreams() *streams { return &streams{of: map[string]int{}, closed: make(chan struct{})} }

func (s *streams) enter(account string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= maxStreams || s.of[account] >= maxAccountStreams {
		return false
	}
	s.all++
	s.of[account]++
	return true
}

func (s *streams) leave(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.of[account]--; s.of[account] == 0 {
		delete(s.of, account)
	}
}

func (s *streams) close() { s.once.Do(func() { close(s.closed) }) }

// wantsStream reports whether a page is asked for in its live form.
func wantsStream(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Accept") == "text/event-stream"
}

// fragment is a part of a page that changed.
type fragment struct {
	ID   string `json:"id"`
	HTML string `json:"html"`
}

// reading makes the handler of a page that is read: once, or followed as a stream
// of server-sent events. build reads what the page shows; it is asked again for
// every look.
func (c *Console) reading(name string, build func(r *http.Request) (*page, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if wantsStream(r) {
			c.follow(w, r, name, build)
			return
		}
		p, err := build(r)
		if err != nil {
			c.fail(w, r, err)
			return
		}
		c.show(w, r, http.StatusOK, name, p)
	}
}

// follow sends what changes on a page until the reader leaves, the session ends,
// the server stops, or streamLife is over; the script then asks again.
func (c *Console) follow(w http.ResponseWriter, r *http.Request, name string, build func(r *http.Request) (*page, error)) {
	who := callerOf(r)
	if len(c.pages.live[name]) == 0 {
		c.refuse(w, r, http.StatusNotAcceptable, "This page does not change by itself", "")
		return
	}
	if !c.streams.enter(who.Account.ID) {
		w.Header().Set("Retry-After", "30")
		c.refuse(w, r, http.StatusServiceUnavailable, "Too many pages are open", "Close some, or reload this one to see what is new.")
		return
	}
	defer c.streams.leave(who.Account.ID)

	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // the listener's limits are for requests that end
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx passes it on as it comes
	ctx, cancel := context.WithTimeout(r.Context(), streamLife)
	defer cancel()
	r = r.WithContext(ctx)
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	sent := map[string]string{}
	for round := 0; ; round++ {
		if round > 0 && !c.stillIn(r) {
			return
		}
		text, err := c.changes(r, name, build, sent)
		if err != nil {
			if ctx.Err() == nil {
				c.logError(ctx, err)
			}
			return
		}
		if text == "" && round%heartbeatEvery == 0 {
			text = ": here\n\n"
		}
		if text != "" {
			_ = control.SetWriteDeadline(time.Now().Add(writeLimit))                   //nolint:forbidigo // a deadline of the connection, which knows no other clock
			if _, err := w.Write([]byte(text)); err != nil || control.Flush() != nil { //nolint:gosec // G705: rendered by html/template, then JSON
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		case <-c.streams.closed:
			return
		}
	}
}

// stillIn reports whether the session behind a stream lives and its account may
// still read the page. To look on is no use of the session: it goes idle as if the
// page were closed.
func (c *Console) stillIn(r *http.Request) bool {
	was := callerOf(r)
	now, err := c.deps.SignIns.Alive(r.Context(), was.Session.ID, admin.ViaConsole)
	if err != nil {
		if !errors.Is(err, admin.ErrSignedOut) && !errors.Is(err, admin.ErrHalf) && r.Context().Err() == nil {
			c.logError(r.Context(), err)
		}
		return false
	}
	return now.Account.Role == was.Account.Role && fmt.Sprint(now.Account.Grants) == fmt.Sprint(was.Account.Grants)
}

// changes renders the live parts of a page and returns those that differ from what
// was sent, as events.
func (c *Console) changes(r *http.Request, name string, build func(r *http.Request) (*page, error), sent map[string]string) (string, error) {
	p, err := build(r)
	if err != nil {
		return "", err
	}
	p.Live = true
	var text strings.Builder
	for _, part := range c.pages.live[name] {
		var b bytes.Buffer
		if err := c.pages.following[name].ExecuteTemplate(&b, part, p); err != nil {
			return "", err
		}
		if sent[part] == b.String() {
			continue
		}
		sent[part] = b.String()
		data, err := json.Marshal(fragment{strings.TrimPrefix(part, livePrefix), b.String()})
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&text, "event: fragment\ndata: %s\n\n", data)
	}
	return text.String(), nil
}
