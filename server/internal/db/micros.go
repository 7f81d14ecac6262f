package db

import "time"

// Micros is a time in microseconds since 1970-01-01 UTC. Zero means never.
type Micros int64

// At is t, cut to the microsecond.
func At(t time.Time) Micros {
	if t.IsZero() {
		return 0
	}
	return Micros(t.UnixMicro())
}

// Time is m as a time in UTC, or the zero time.
func (m Micros) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(m)).UTC()
}

// Add is the time d later.
func (m Micros) Add(d time.Duration) Micros { return m + Micros(d.Microseconds()) }

// IsZero reports whether m means never. It also serves omitzero in JSON.
func (m Micros) IsZero() bool { return m == 0 }

// MarshalJSON writes RFC 3339, or null for never.
func (m Micros) MarshalJSON() ([]byte, error) {
	if m == 0 {
		return []byte("null"), nil
	}
	return m.Time().MarshalJSON()
}

// Int is m as a plain number, for statements that bun does not build.
func (m Micros) Int() int64 { return int64(m) }

// MarshalText writes RFC 3339.
func (m Micros) MarshalText() ([]byte, error) { return m.Time().MarshalText() }

// UnmarshalText reads RFC 3339.
func (m *Micros) UnmarshalText(text []byte) error {
	var t time.Time
	if err := t.UnmarshalText(text); err != nil {
		return err
	}
	*m = At(t)
	return nil
}
