package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Listed is a statement whose first parameters are lists of one length, each a column
// of a table that is called l. Its text is the same however long they are.
type Listed struct{ postgreSQL, sqlite string }

// Column is one of that table.
type Column struct{ name, kind string }

// Text is a column of Texts.
func Text(name string) Column { return Column{name, "text"} }

// Int is a column of Ints.
func Int(name string) Column { return Column{name, "bigint"} }

// NewListed makes a statement from its text, in which %s stands for the table.
func NewListed(text string, columns ...Column) Listed { return NewListedOn(text, text, columns...) }

// NewListedOn is NewListed with a text for each database. On PostgreSQL each list is a
// parameter, on SQLite ?1 is all of them; others follow. Column n rises along the lists.
func NewListedOn(postgreSQL, sqlite string, columns ...Column) Listed {
	params, names, values := make([]string, len(columns)), make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		params[i], names[i] = fmt.Sprintf("$%d::%s[]", i+1, c.kind), c.name
		values[i] = fmt.Sprintf("value->>%d AS %s", i, c.name)
	}
	return Listed{
		postgreSQL: fmt.Sprintf(postgreSQL, fmt.Sprintf("unnest(%s) WITH ORDINALITY AS l (%s, n)", strings.Join(params, ", "), strings.Join(names, ", "))),
		sqlite:     fmt.Sprintf(sqlite, fmt.Sprintf("(SELECT %s, key AS n FROM json_each(?1)) AS l", strings.Join(values, ", "))),
	}
}

// Lists are the columns, in their order.
type Lists []List

// List is a column: Texts or Ints.
type List interface {
	length() int
	at(n int) any
	array() any // as pgx takes it
}

// Texts are a column of Text.
type Texts []string

// Ints are a column of Int.
type Ints []int64

func (l Texts) length() int  { return len(l) }
func (l Ints) length() int   { return len(l) }
func (l Texts) at(n int) any { return l[n] }
func (l Ints) at(n int) any  { return l[n] }
func (l Texts) array() any   { return []string(l) }
func (l Ints) array() any    { return []int64(l) }

// Rows runs the statement as a query, with the parameters that follow the lists.
func (l Listed) Rows(ctx context.Context, tx Tx, lists Lists, after ...any) (*sql.Rows, error) {
	query, args, err := l.on(tx.On, lists, after)
	if err != nil {
		return nil, err
	}
	return tx.Rows(ctx, query, args...)
}

// All runs the statement. It is ErrConflict unless it changed a row for each place in
// the lists.
func (l Listed) All(ctx context.Context, tx Tx, lists Lists) error {
	query, args, err := l.on(tx.On, lists, nil)
	if err != nil {
		return err
	}
	changed, err := tx.Changed(ctx, query, args...)
	if err == nil && changed != int64(lists[0].length()) {
		err = ErrConflict
	}
	return err
}

func (l Listed) on(d Dialect, lists Lists, after []any) (query string, args []any, err error) {
	for _, list := range lists {
		if list.length() != lists[0].length() {
			return "", nil, errors.New("lists of different lengths")
		}
	}
	if d == PostgreSQL {
		for _, list := range lists {
			args = append(args, list.array())
		}
		return l.postgreSQL, append(args, after...), nil
	}
	rows := make([][]any, lists[0].length())
	for n := range rows {
		for _, list := range lists {
			rows[n] = append(rows[n], list.at(n))
		}
	}
	data, err := json.Marshal(rows)
	return l.sqlite, append([]any{string(data)}, after...), err
}
