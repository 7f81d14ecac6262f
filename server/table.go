package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// operate is what commands against the API share.
type operate struct {
	*program
	server string
	output string
}

// command makes a command that calls the API.
func (p *program) apiCommand(use, short string, args cobra.PositionalArgs, f func(c *cobra.Command, o *operate, api *client, args []string) error) *cobra.Command {
	o := &operate{program: p}
	c := &cobra.Command{Use: use, Short: short, Args: args}
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := p.newClient(o.server)
		if err != nil {
			return err
		}
		return asFlags(f(c, o, api, args), c.Flags())
	}
	c.Flags().StringVar(&o.server, "server", "", "URL of the server's people side (or SENTINEL_SERVER); default: where you signed in last, else "+defaultServer)
	outputFlag(c, &o.output)
	return c
}

// page is how the API answers lists.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// show prints v as JSON, or by calling table.
func (o *operate) show(v any, table func(w io.Writer)) error {
	if o.output == "json" {
		e := json.NewEncoder(o.out)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	w := tabwriter.NewWriter(o.out, 0, 4, 2, ' ', 0)
	table(w)
	return w.Flush()
}

// row writes one line of a table. Cells may hold what a device says of itself:
// they are made harmless to a terminal.
func row(w io.Writer, cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = plain(fmt.Sprint(c))
	}
	fmt.Fprintln(w, strings.Join(text, "\t"))
}

func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// when shows a time for people: exact, in UTC.
func when(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// more tells how to see the next page.
func (o *operate) more(next string) {
	if next != "" && o.output != "json" {
		fmt.Fprintf(o.err, "There are more; go on with --after %s\n", next)
	}
}

// notFound names what is not there, and where to look.
func notFound(err error, what, id, list string) error {
	if p, ok := errors.AsType[*protocol.Problem](err); ok && p.Code == protocol.CodeNotFound {
		return fmt.Errorf("there is no %s %s; see: sentinel-server %s", what, plain(id), list)
	}
	return err
}

// counted is a number with its noun.
func counted(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
