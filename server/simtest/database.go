package simtest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"modernc.org/sqlite"
)

// openSQL opens SQLite as the server does, with statements that are parsed once a
// world: parsing them each time was a third of what a world cost. What they are told
// and what they answer is the same.
func openSQL(dsn string) (*sql.DB, error) {
	c, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector{c}), nil
}

type connector struct{ driver.Connector }

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	all, ok := inner.(sqliteConn)
	if !ok {
		return nil, errors.New("the driver's connections are not what they were")
	}
	return &conn{sqliteConn: all, idle: map[string]statement{}, whole: map[string]bool{}}, nil
}

// sqliteConn is what every connection of the driver can do.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// statement is what every statement of the driver can do.
type statement interface {
	driver.Stmt
	driver.StmtQueryContext
	driver.StmtExecContext
}

// mostIdle statements of a connection: a world has some two hundred.
const mostIdle = 1000

type conn struct {
	sqliteConn

	idle  map[string]statement
	whole map[string]bool // statements that mean something else with parameters for literals
}

// Unwrap is what the driver asks wrappers for.
func (c *conn) Unwrap() driver.Conn { return c.sqliteConn }

func (c *conn) Close() error {
	for _, s := range c.idle {
		_ = s.Close()
	}
	return c.sqliteConn.Close()
}

// QueryContext is part of driver.QueryerContext. A simulation ends nothing in the
// middle of a statement, so nothing needs to watch the context.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	ctx = context.WithoutCancel(ctx)
	key, s, args, err := c.take(ctx, query, args)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	r, err := s.QueryContext(ctx, args)
	if err != nil {
		c.give(key, s)
		return nil, err
	}
	return &rows{r, func() { c.give(key, s) }}, nil
}

// ExecContext is part of driver.ExecerContext.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	ctx = context.WithoutCancel(ctx)
	key, s, args, err := c.take(ctx, query, args)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.sqliteConn.ExecContext(ctx, query, args)
	}
	defer c.give(key, s)
	return s.ExecContext(ctx, args)
}

// take finds the statement or prepares it; nil stands for one to be run as it is.
func (c *conn) take(ctx context.Context, query string, args []driver.NamedValue) (string, statement, []driver.NamedValue, error) {
	if !repeats(query) {
		return "", nil, args, nil
	}
	if len(args) == 0 && !c.whole[query] {
		key, values := parameters(query)
		if s := c.idle[key]; s != nil {
			delete(c.idle, key)
			return key, s, values, nil
		}
		if !c.whole[key] {
			s, err := c.prepare(ctx, key)
			if err == nil {
				return key, s, values, nil
			}
			c.whole[key] = true
		}
	}
	if s := c.idle[query]; s != nil {
		delete(c.idle, query)
		return query, s, args, nil
	}
	s, err := c.prepare(ctx, query)
	return query, s, args, err
}

func (c *conn) prepare(ctx context.Context, query string) (statement, error) {
	s, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	all, ok := s.(statement)
	if !ok {
		return nil, errors.Join(errors.New("the driver's statements are not what they were"), s.Close())
	}
	return all, nil
}

func (c *conn) give(key string, s statement) {
	if c.idle[key] != nil || len(c.idle) >= mostIdle {
		_ = s.Close()
		return
	}
	c.idle[key] = s
}

// rows gives its statement back.
type rows struct {
	driver.Rows

	give func()
}

func (r *rows) Close() error {
	err := r.Rows.Close()
	if r.give != nil {
		r.give()
		r.give = nil
	}
	return err
}

// repeats reports whether a statement is of those that come again and again.
func repeats(query string) bool {
	query = strings.TrimLeft(query, " \t\n")
	for _, verb := range []string{"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"} {
		if strings.HasPrefix(query, verb) {
			return true
		}
	}
	return false
}

// longNumber is from how many digits on a number is taken for a value, such as a
// time. A short one may be the number of a column or a limit.
const longNumber = 6

// parameters takes the values out of a statement that was built with them in it.
func parameters(query string) (string, []driver.NamedValue) {
	var key strings.Builder
	var values []driver.NamedValue
	add := func(v driver.Value) {
		values = append(values, driver.NamedValue{Ordinal: len(values) + 1, Value: v})
		key.WriteByte('?')
	}
	for i := 0; i < len(query); {
		c := query[i]
		switch {
		case c == '"':
			end := i + 1 + strings.IndexByte(query[i+1:], '"') + 1
			if end <= i+1 {
				return query, nil
			}
			key.WriteString(query[i:end])
			i = end
		case c == '\'':
			text, end := quoted(query, i)
			if end < 0 {
				return query, nil
			}
			add(text)
			i = end
		case (c == 'X' || c == 'x') && i+1 < len(query) && query[i+1] == '\'' && (i == 0 || !wordy(query[i-1])):
			text, end := quoted(query, i+1)
			data, err := hex.DecodeString(text)
			if end < 0 || err != nil {
				return query, nil
			}
			add(data)
			i = end
		case wordy(c):
			end := i
			for end < len(query) && wordy(query[end]) {
				end++
			}
			word := query[i:end]
			n, err := strconv.ParseInt(word, 10, 64)
			if err == nil && len(word) >= longNumber {
				add(n)
			} else {
				key.WriteString(word)
			}
			i = end
		default:
			key.WriteByte(c)
			i++
		}
	}
	return key.String(), values
}

// quoted is the text of the literal that begins at i, and where it ends; -1 for
// one that does not.
func quoted(query string, i int) (string, int) {
	for end := i + 1; ; {
		n := strings.IndexByte(query[end:], '\'')
		if n < 0 {
			return "", -1
		}
		end += n + 1
		if end < len(query) && query[end] == '\'' {
			end++
			continue
		}
		return strings.ReplaceAll(query[i+1:end-1], "''", "'"), end
	}
}

func wordy(c byte) bool {
	return c == '_' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
