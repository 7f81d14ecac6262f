package dashboard

import (
	"fmt"
	"time"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/flow"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/view"
)

// The chart of heartbeats: a day in bars, drawn in these units.
const (
	chartWidth  = 720
	chartHeight = 120
	chartBars   = int(24 * time.Hour / (2 * flow.BeatStretch))
)

// chart is a day of heartbeats, ready to be drawn.
type chart struct {
	Bars         []bar
	Hours        []hour
	Max          int64
	All, Refused int64
	Empty        bool
}

type bar struct {
	X, W               float64
	Y, H               float64 // what was accepted
	RefusedY, RefusedH float64
	Accepted, Refused  int64
	From               string
}

type hour struct {
	X    float64
	Text string
}

// drawBeats puts heartbeats into bars that end with the present one.
func drawBeats(list []view.Beats, now time.Time) chart {
	step := 2 * flow.BeatStretch
	last := now.UTC().Truncate(step)
	first := last.Add(-time.Duration(chartBars-1) * step)
	width := float64(chartWidth) / float64(chartBars)
	c := chart{Bars: make([]bar, chartBars), Max: 1}
	for i := range c.Bars {
		from := first.Add(time.Duration(i) * step)
		c.Bars[i] = bar{X: float64(i)*width + 1, W: width - 2, From: from.Format("15:04")}
		if from.Minute() == 0 && from.Hour()%4 == 0 {
			c.Hours = append(c.Hours, hour{float64(i) * width, from.Format("15:04")})
		}
	}
	for _, b := range list {
		i := int(b.At.Time().Sub(first) / step)
		if b.At.Time().Before(first) || i >= chartBars {
			continue
		}
		c.Bars[i].Accepted += b.Accepted
		c.Bars[i].Refused += b.Refused
		c.All += b.Accepted
		c.Refused += b.Refused
		c.Max = max(c.Max, c.Bars[i].Accepted+c.Bars[i].Refused)
	}
	c.Empty = c.All+c.Refused == 0
	for i := range c.Bars {
		b := &c.Bars[i]
		b.H = chartHeight * float64(b.Accepted) / float64(c.Max)
		b.RefusedH = chartHeight * float64(b.Refused) / float64(c.Max)
		b.Y = chartHeight - b.H
		b.RefusedY = b.Y - b.RefusedH
	}
	return c
}

// Title says a bar in words.
func (b bar) Title() string {
	if b.Refused > 0 {
		return fmt.Sprintf("from %s UTC: %d accepted, %d refused", b.From, b.Accepted, b.Refused)
	}
	return fmt.Sprintf("from %s UTC: %d", b.From, b.Accepted)
}
