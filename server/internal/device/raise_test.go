package device_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/db/dbtest"
	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/device"
)

// crowd is so many devices and the first beat of each.
func crowd(t testing.TB, d *db.DB, n int) []device.Beat {
	t.Helper()
	in, err := d.Instance(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	beats := make([]device.Beat, n)
	err = d.Write(t.Context(), func(ctx context.Context, tx db.Tx) error {
		for i := range beats {
			b := device.Beat{DeviceID: fmt.Sprintf("edge-%05d", i), EnrollmentID: fmt.Sprintf("0198f000-0000-7000-8000-%012d", i),
				Fingerprint: fmt.Sprintf("%064d", i), Counter: 1, Epoch: in.Epoch, BootID: "0198f000-0000-7000-8000-000000000000", NonceFor: -1, At: tx.At()}
			one := &device.Device{DeviceID: b.DeviceID, EnrollmentID: b.EnrollmentID, State: device.Active, Facts: "{}"}
			if err := device.Add(ctx, tx, one, nil, b.Fingerprint, in.Epoch); err != nil {
				return err
			}
			beats[i] = b
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return beats
}

// HBT-01: whatever the size of a batch, and whether its statement was compiled
// before or not, each of its beats counts once and no other device's does.
func TestABatchOfAnySizeIsRaised(t *testing.T) {
	t.Parallel()
	dbtest.Both(t, func(t *testing.T, url string) {
		d := open(t, url)
		beats := crowd(t, d, 1100)
		counter := int64(1)
		for _, prepared := range []bool{false, true} {
			if prepared {
				if err := device.Prepare(t.Context(), d); err != nil {
					t.Fatal(err)
				}
			}
			for _, n := range []int{1, 2, 8, 9, 128, 129, 512, 513, 1100} {
				counter++
				for i := range beats {
					beats[i].Counter = counter
				}
				write(t, d, func(ctx context.Context, tx db.Tx) error {
					accepted, err := device.Raise(ctx, tx, beats[:n])
					if err == nil && len(accepted) != n {
						t.Errorf("%d of %d were accepted", len(accepted), n)
					}
					return err
				})
				raised, err := d.Read().NewSelect().Table("device_counters").Where("counter = ?", counter).Count(t.Context())
				if err != nil || raised != int64(n) {
					t.Errorf("a batch of %d raised %d, %v", n, raised, err)
				}
			}
		}
	})
}

func BenchmarkRaise(b *testing.B) {
	for _, n := range []int{1, 32, 128} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := open(b, "sqlite:"+dbtest.SQLitePath(b))
			beats := crowd(b, d, 10_000)
			if err := device.Prepare(b.Context(), d); err != nil {
				b.Fatal(err)
			}
			batch, counter := make([]device.Beat, n), int64(0)
			for b.Loop() {
				counter++
				for i := range batch {
					batch[i] = beats[(int(counter)*n+i*37)%len(beats)]
					batch[i].Counter = counter + 1
				}
				err := d.Batch(b.Context(), func(ctx context.Context, tx db.Tx) error {
					_, err := device.Raise(ctx, tx, batch)
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "us/beat")
		})
	}
}
