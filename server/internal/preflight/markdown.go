package preflight

import (
	"fmt"
	"strings"
)

// Markdown is docs/production-profile.md: every point, from the checks themselves.
func Markdown() []byte {
	var b strings.Builder
	b.WriteString(markdownHead)
	total := map[Weight]int{}
	for _, s := range Sections() {
		fmt.Fprintf(&b, "\n## %s\n", s.Title)
		for _, c := range s.Checks {
			total[c.Weight]++
			fmt.Fprintf(&b, "\n### %s\n\n**%s** (%s)\n", c.ID, c.Title, c.Weight)
			paragraph(&b, c.Why)
			if c.Later != "" {
				paragraph(&b, "N"+strings.TrimPrefix(c.lacking(), "n")+".")
				continue
			}
			paragraph(&b, "To do: "+c.Change+".")
		}
	}
	fmt.Fprintf(&b, "\n%d points: %d that stop a start, %d more musts, %d shoulds.\n",
		total[Should]+total[Must]+total[MustToStart], total[MustToStart], total[Must], total[Should])
	return []byte(b.String())
}

const markdownHead = `# The production profile

<!-- Made from the checks by "make generate"; do not change it here. -->

What must hold before real devices are let in. ` + "`sentinel-server preflight`" + ` checks each point against
the real deployment and says what it found and what to do; [the guide](production.md) gets there step
by step.

- A **must** that fails makes preflight end with exit code 1.
- A **must to start** also stops a server with ` + "`SENTINEL_PROFILE=production`" + `. These are what somebody
  decided or forgot: what only time changes, or only a running server can mend, never stops a start.
- A **should** that fails is a warning.
- A point whose system is not there yet is "not in effect".
`

// String is the weight in words.
func (w Weight) String() string {
	switch w {
	case MustToStart:
		return "must to start"
	case Must:
		return "must"
	default:
		return "should"
	}
}

// paragraph writes text in lines of at most 100 bytes.
func paragraph(b *strings.Builder, text string) {
	const width = 100
	b.WriteByte('\n')
	at := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case at == 0:
		case at+1+len(word) > width:
			b.WriteByte('\n')
			at = 0
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += len(word)
	}
	b.WriteByte('\n')
}
