package store

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkJourney/selo opens a session and has it granted, two durable transactions of some seven rows.
// BenchmarkJourney/floor is what the disk asks for one: a transaction of one bare row in the same kind of
// database. The journey cannot take less than two floors, nor can a session that is reserved first; an event takes one, and so
// does an opening, under one limit or under every.
func BenchmarkJourney(b *testing.B) {
	b.Run("floor", func(b *testing.B) {
		s := openBench(b)
		if _, err := s.write.ExecContext(b.Context(), `CREATE TABLE floor (id INTEGER PRIMARY KEY, value TEXT) STRICT`); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := s.write.ExecContext(b.Context(), `INSERT INTO floor (value) VALUES ('a row')`); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "inserts/s")
	})
	b.Run("selo", func(b *testing.B) {
		s := openBench(b)
		i := 0
		for b.Loop() {
			journey(b.Context(), b, s, i)
			i++
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "journeys/s")
	})
	b.Run("reserved", func(b *testing.B) { // two transactions
		s := openBench(b)
		i := 0
		for b.Loop() {
			id := fmt.Sprint("ses-", i)
			act := opening(id, fmt.Sprint("subject ", i%1000), limited(1<<30, time.Hour), repeatable(id))
			err := tryReserve(b.Context(), s, act)
			if err == nil {
				err = s.OpenReserved(b.Context(), finishedAt(act, noon))
			}
			if err != nil {
				b.Fatal(err)
			}
			i++
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sessions/s")
	})
	for name, all := range map[string][]Limit{"opening": everyLimit(1 << 30)[:1], "opening, every limit": everyLimit(1 << 30)} {
		b.Run(name, func(b *testing.B) { // one transaction; a session a second, so that buckets fill and pass
			s := openBench(b)
			i := 0
			for b.Loop() {
				act := opening(fmt.Sprint("ses-", i), fmt.Sprint("subject ", i%1000), at(time.Duration(i)*time.Second), byService("backend"), limits(all...))
				if _, err := s.Open(b.Context(), act); err != nil {
					b.Fatal(err)
				}
				i++
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sessions/s")
		})
	}
	b.Run("event", func(b *testing.B) { // one transaction: two ids, of which one is a session's
		s := openBench(b)
		for i := range 100 {
			journey(b.Context(), b, s, i)
		}
		i := 0
		for b.Loop() {
			id := fmt.Sprint("ses-", i%100)
			got, err := s.RecordEvent(b.Context(), happening(fmt.Sprint("evt-", i), VerdictApproved, id, fmt.Sprint("other-", i)))
			if err != nil || !got.New || len(got.Sessions) != 1 {
				b.Fatal(got, err)
			}
			i++
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("parallel", func(b *testing.B) {
		s := openBench(b)
		var n atomic.Int64
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				journey(b.Context(), b, s, int(n.Add(1)))
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "journeys/s")
	})
}

func openBench(b *testing.B) *Store {
	b.Helper()
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "selo.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	tested{b, s}.registerPeppers()
	return s
}

// journey is one of a thousand subjects', so that there is an earlier session now and then, and a limit to count for.
func journey(ctx context.Context, b *testing.B, s *Store, i int) {
	id := fmt.Sprint("ses-", i)
	if err := tryOpen(ctx, s, opening(id, fmt.Sprint("subject ", i%1000), limited(1<<30, time.Hour))); err != nil {
		b.Error(err)
		return
	}
	d, err := s.Decide(ctx, deciding(id, StateGranted, id, id+"'"))
	if err != nil || len(d.Reasons) > 0 {
		b.Error(d, err)
	}
}
