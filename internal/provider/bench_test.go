package provider

import (
	"testing"
	"time"

	"github.com/selo-id/selo/internal/transcript"
)

// BenchmarkBreakerOpen is what a call costs while the provider is down.
func BenchmarkBreakerOpen(b *testing.B) {
	c := newBench(b)
	c.caf.status(403)
	for range failuresToOpen {
		if _, err := c.Face(b.Context(), attemptID); transcript.Error(err) == nil {
			b.Fatal("no failure")
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Face(b.Context(), attemptID); err == nil {
			b.Fatal("the breaker is closed")
		}
	}
}

// BenchmarkReadSmartAuth is what the strict reading of a whole answer costs.
func BenchmarkReadSmartAuth(b *testing.B) {
	answer := []byte(smartAuthAnswers()[0].answer)
	b.ReportAllocs()
	for b.Loop() {
		if _, f := readSmartAuth(answer, attemptID); f != nil {
			b.Fatal(f.cause)
		}
	}
}

// BenchmarkExchange is a whole call over loopback HTTP.
func BenchmarkExchange(b *testing.B) {
	c := newBench(b, func(config *Config) { config.Timeout = 15 * time.Second })
	c.caf.wellExchanging()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Exchange(b.Context(), ourJWT); err != nil {
			b.Fatal(err)
		}
	}
}
