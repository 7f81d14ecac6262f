package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// report is what a run found out.
type report struct {
	Devices           int                  `json:"devices"`
	Bad               int                  `json:"bad_devices,omitempty"`
	Enrolled          int                  `json:"enrolled,omitempty"` // in this run
	EnrollSeconds     float64              `json:"enroll_seconds,omitempty"`
	EnrolledPerSecond float64              `json:"enrolled_per_second,omitempty"`
	Seconds           float64              `json:"seconds,omitempty"`
	Heartbeats        int64                `json:"heartbeats"` // accepted
	PerSecond         float64              `json:"heartbeats_per_second"`
	P50               float64              `json:"p50_ms"`
	P99               float64              `json:"p99_ms"`
	Longest           float64              `json:"longest_ms"`
	Errors            map[string]int64     `json:"errors"`
	Storm             *stormReport         `json:"storm,omitempty"`
	BadActs           map[string]*badTally `json:"bad,omitempty"`
	CPU               []cpuReport          `json:"cpu,omitempty"`
	CPUPerHeartbeat   float64              `json:"cpu_us_per_heartbeat,omitempty"` // of all processes named
	OwnCPU            float64              `json:"own_cpu_seconds"`
}

type stormReport struct {
	Devices int     `json:"devices"`
	Back    int     `json:"back"`
	Lost    int     `json:"lost"`
	Seconds float64 `json:"seconds"` // until the last was back
	Rate    float64 `json:"per_second"`
}

type cpuReport struct {
	PID     int     `json:"pid"`
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

func (r *report) fill(f *fleet, took time.Duration) {
	t := f.tally
	for _, d := range f.devices {
		if d.bad != "" {
			r.Bad++
		}
	}
	r.Seconds, r.Heartbeats = took.Seconds(), t.answered.Load()
	r.PerSecond = float64(r.Heartbeats) / r.Seconds
	r.P50, r.P99, r.Longest = ms(t.latencies.quantile(0.5)), ms(t.latencies.quantile(0.99)), ms(time.Duration(t.latencies.most.Load()))
	r.Errors, r.BadActs = t.failures(), t.bad
	if s := &t.storm; !s.began.IsZero() {
		r.Storm = &stormReport{Devices: len(f.devices) - r.Bad, Back: s.back, Lost: len(f.devices) - r.Bad - s.back}
		if s.back > 0 {
			r.Storm.Seconds = s.last.Sub(s.began).Seconds()
			r.Storm.Rate = float64(s.back) / r.Storm.Seconds
		}
	}
}

func (r *report) fillCPU(probes []*probe, beats int64) error {
	var total time.Duration
	for _, p := range probes {
		used, err := p.used()
		if err != nil {
			return err
		}
		total += used
		r.CPU = append(r.CPU, cpuReport{p.pid, p.name, used.Seconds()})
	}
	if beats > 0 && len(probes) > 0 {
		r.CPUPerHeartbeat = total.Seconds() * 1e6 / float64(beats)
	}
	return nil
}

// taken is how often the server accepted what it had to refuse.
func (r *report) taken() (n int64) {
	for _, b := range r.BadActs {
		n += b.Accepted
	}
	return n
}

func (r *report) write(w io.Writer, form string) error {
	if form == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	if r.Enrolled > 0 {
		p("enrolled     %d devices in %.1f s (%.0f/s)", r.Enrolled, r.EnrollSeconds, r.EnrolledPerSecond)
	}
	if r.Seconds == 0 {
		p("devices      %d", r.Devices)
		return nil
	}
	p("devices      %d, %d of them bad", r.Devices, r.Bad)
	p("heartbeats   %d accepted in %.1f s (%.0f/s)", r.Heartbeats, r.Seconds, r.PerSecond)
	p("answered in  %.1f ms (median), %.1f ms (99 %%), %.1f ms (longest)", r.P50, r.P99, r.Longest)
	for _, k := range slices.Sorted(maps.Keys(r.Errors)) {
		p("error        %s: %d", k, r.Errors[k])
	}
	if s := r.Storm; s != nil {
		p("storm        %d of %d devices back within %.1f s (%.0f/s), %d lost", s.Back, s.Devices, s.Seconds, s.Rate, s.Lost)
	}
	for _, k := range slices.Sorted(maps.Keys(r.BadActs)) {
		b := r.BadActs[k]
		p("bad          %s: %d sent, %d accepted, refused %s", k, b.Sent, b.Accepted, counts(b.Refused))
	}
	for _, c := range r.CPU {
		p("CPU          %.2f s of %s (%d)", c.Seconds, c.Name, c.PID)
	}
	if r.CPUPerHeartbeat > 0 {
		p("CPU          %.1f µs a heartbeat, together", r.CPUPerHeartbeat)
	}
	p("own CPU      %.2f s", r.OwnCPU)
	return nil
}

func counts(m map[string]int64) string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(list, ", ")
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
