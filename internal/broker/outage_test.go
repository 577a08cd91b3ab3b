package broker_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
)

// hang has n exchanges wait for a provider that does not answer, until the returned function lets go.
func hang(t testing.TB, h *house, c *caf, n int) (release func()) {
	t.Helper()
	arrived, gate := make(chan struct{}, n), make(chan struct{})
	c.mu.Lock()
	c.before = func() {
		arrived <- struct{}{}
		<-gate
	}
	c.mu.Unlock()
	var wg sync.WaitGroup
	for i := range n {
		who := endUser("bank", fmt.Sprint("customer-", i), anaCPF)
		wg.Go(func() {
			_, _ = h.OpenSession(context.Background(), who, broker.OpenRequest{Product: liveness, Purpose: "login", RequestID: thisTest})
		})
	}
	for range n {
		<-arrived
	}
	return func() {
		close(gate)
		wg.Wait()
	}
}

// While as many exchanges as are let through hang, one more is refused at once, and everything that needs no
// provider goes on: nothing is held while it is asked.
func TestOthersGoOnDuringAnOutage(t *testing.T) {
	t.Parallel()
	h, c := cafHouse(t, exchanged(liveness))
	c.say(exchangePath, answerOf(h.sessionToken()))
	release := hang(t, h, c, 64)
	defer release()
	for i := range 20 {
		s := h.opened(bruno(), faceAuth, "new-device")
		if _, err := h.decide(bruno(), s.SessionID, h.approved(faceAuth, brunoCPF).by("sbx-faceauth")); err != nil {
			t.Fatalf("journey %d: %v", i, err)
		}
	}
	_, err := h.OpenSession(t.Context(), bruno(), broker.OpenRequest{Product: liveness, Purpose: "login", RequestID: thisTest})
	refused(t, err, selo.ReasonProviderUnavailable)
}

// BenchmarkOutage measures the opening of a session of our own while nothing else happens, and while 64
// exchanges hang. p99 is what the issue promises to leave alone.
func BenchmarkOutage(b *testing.B) {
	for _, hanging := range []int{0, 64} {
		b.Run(fmt.Sprintf("hanging-%d", hanging), func(b *testing.B) {
			h, c := cafHouse(b, exchanged(liveness), func(cfg *broker.Config) { cfg.Limits = perSubject(1<<20, time.Hour) })
			c.say(exchangePath, answerOf(h.sessionToken()))
			if hanging > 0 {
				defer hang(b, h, c, hanging)()
			}
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				if _, err := h.OpenSession(context.Background(), bruno(), broker.OpenRequest{Product: faceAuth, Purpose: "login", RequestID: thisTest}); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
		})
	}
}
