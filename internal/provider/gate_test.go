package provider

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/selo-id/selo"
)

func (b *bench) wantLogged(t *testing.T, warnings, infos int, when string) {
	t.Helper()
	w, i := strings.Count(b.log.String(), "level=WARN"), strings.Count(b.log.String(), "level=INFO")
	if w != warnings || i != infos {
		t.Errorf("%s: %d warnings and %d infos logged, want %d and %d:\n%s", when, w, i, warnings, infos, b.log)
	}
}

func TestBreaker(t *testing.T) {
	for _, lane := range []string{"exchange", "smart-auth", "faces"} {
		t.Run(lane, func(t *testing.T) {
			b := newBench(t)
			ask := func() error { _, err := calls[lane](t.Context(), b.Client); return err }
			well := func() {
				t.Helper()
				b.caf.says(good[lane])
				if err := ask(); err != nil {
					t.Fatal(err)
				}
			}
			fail := func(n int) {
				t.Helper()
				b.caf.status(401)
				for range n {
					wantRetryAfter(t, wantUnavailable(t, ask(), detailRefused, "answered 401"), 0)
				}
			}
			open := func(left time.Duration) {
				t.Helper()
				for range 3 {
					wantRetryAfter(t, wantUnavailable(t, ask(), detailBreaker, "circuit breaker is open"), left)
				}
				b.caf.wantHits(t, 0, "the breaker is open")
			}

			// Only failures in a row count.
			for range 3 {
				fail(failuresToOpen - 1)
				well()
			}
			b.wantLogged(t, 0, 0, "never five in a row")
			fail(failuresToOpen)
			b.caf.wantHits(t, 3*failuresToOpen+failuresToOpen, "closed")
			b.wantLogged(t, 1, 0, "opened")
			open(openFor)
			b.clock.advance(openFor - time.Millisecond)
			open(time.Millisecond)

			// The probe fails: another 10 seconds, and no retry.
			b.clock.advance(time.Millisecond)
			b.caf.status(500)
			wantRetryAfter(t, wantUnavailable(t, ask(), detailError, "answered 500"), 0)
			b.caf.wantHits(t, 1, "the probe")
			open(openFor)
			b.wantLogged(t, 1, 0, "still open")

			// The probe succeeds.
			b.clock.advance(openFor)
			well()
			b.caf.wantHits(t, 1, "the probe")
			b.wantLogged(t, 1, 1, "closed")
			fail(failuresToOpen - 1)
			well()
			b.caf.wantHits(t, failuresToOpen, "closed again")

			// The kinds do not share it.
			fail(failuresToOpen)
			b.wantLogged(t, 2, 1, "opened again")
			for other, answer := range good {
				if other != lane {
					b.caf.says(answer)
					if _, err := calls[other](t.Context(), b.Client); err != nil {
						t.Errorf("%s: %v", other, err)
					}
				}
			}
			if !strings.Contains(b.log.String(), "call="+lane+" failures=5 for=10s error=\"answered 401, want 200\"") {
				t.Errorf("logged %s", b.log)
			}
		})
	}
}

// Every kind of failure opens it.
func TestWhatOpensTheBreaker(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"500": statusOf(500), "401": statusOf(401), "hang-up": hangUp, "shape": body200(`{}`), "redirect": statusOf(302), "long": body200(strings.Repeat(" ", 2*maxAnswer)),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.caf.set(answer)
			for range failuresToOpen {
				_, err := calls["faces"](t.Context(), b.Client)
				wantRetryAfter(t, err, 0)
			}
			_, err := calls["faces"](t.Context(), b.Client)
			wantRetryAfter(t, wantUnavailable(t, err, detailBreaker, ""), openFor)
		})
	}
}

// What whoever picks the attempt can bring about neither opens nor closes it; a 404 is a good answer.
func TestWhatDoesNotOpenTheBreaker(t *testing.T) {
	elses := body200(`{"data":{"id":"another","isMatch":true}}`)
	for name, answer := range map[string]http.HandlerFunc{"404": statusOf(404), "400": statusOf(400), "403": statusOf(403),
		"no decision": body200(data(`"personId":"` + ana + `"`)), "no boolean": body200(data(`"isMatch":"true"`)), "another attempt": elses, "no CPF": body200(data(`"isMatch":true,"personId":"x"`))} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.caf.set(answer)
			for range 3 * failuresToOpen {
				_, err := calls["faces"](t.Context(), b.Client)
				wantRetryAfter(t, err, 0)
				if err != nil && !slices.Equal(selo.ReasonsOf(err), []selo.Reason{selo.ReasonNotFinal}) {
					t.Fatalf("%v: want what counts as an attempt, or asking would cost nothing", err)
				}
			}
			b.caf.wantHits(t, 3*failuresToOpen, "always asked")
		})
	}
	b := newBench(t)
	ask := func() error { _, err := calls["faces"](t.Context(), b.Client); return err }
	b.caf.status(401)
	for range failuresToOpen {
		_ = ask()
	}
	b.clock.advance(openFor)
	b.caf.set(elses)
	for range 3 { // each the one probe
		wantRefused(t, ask(), selo.ReasonNotFinal, detailNoRecord, "another attempt")
	}
	b.wantLogged(t, 1, 0, "probes that say nothing")
	b.caf.status(404)
	wantRefused(t, ask(), selo.ReasonNotFinal, "", "")
	b.wantLogged(t, 1, 1, "a 404")
}

func TestTooManyRequests(t *testing.T) {
	b := newBench(t)
	ask := func() error { _, err := calls["exchange"](t.Context(), b.Client); return err }
	b.caf.set(statusOf(429, "Retry-After", "30"))
	wantRetryAfter(t, wantUnavailable(t, ask(), detailWait, "answered 429"), 30*time.Second)
	b.caf.wellExchanging()
	b.clock.advance(29 * time.Second)
	wantRetryAfter(t, wantUnavailable(t, ask(), detailWait, "answered 429 before"), time.Second)
	b.caf.wantHits(t, 1, "not called before")
	b.caf.says(good["faces"])
	if _, err := calls["faces"](t.Context(), b.Client); err != nil {
		t.Errorf("another kind: %v", err)
	}
	b.caf.wellExchanging()
	b.clock.advance(time.Second)
	if err := ask(); err != nil {
		t.Error(err)
	}
	b.caf.wantHits(t, 2, "called then")

	b.caf.set(statusOf(429, "Retry-After", start().Add(time.Hour).Format(http.TimeFormat)))
	wantRetryAfter(t, ask(), maxRetryAfter)
	b.clock.advance(maxRetryAfter - 1)
	wantRetryAfter(t, ask(), 1)
	b.caf.wantHits(t, 1, "capped")

	// A clock that was wrong and was set back does not keep everybody out.
	b.clock.advance(-24 * time.Hour)
	b.caf.wellExchanging()
	if err := ask(); err != nil {
		t.Error(err)
	}
	// Nor do five of these open the breaker.
	b.caf.status(429)
	for range 2 * failuresToOpen {
		b.clock.advance(time.Second)
		wantUnavailable(t, ask(), detailWait, "answered 429")
	}
	b.caf.wantHits(t, 1+2*failuresToOpen, "a 429 each")
	b.wantLogged(t, 0, 0, "429")
}

// pipes is a network inside one process, so that a synctest bubble can tell when everybody waits.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// inBubble runs f with a provider in a synctest bubble, with the bubble's clock. The bubble fails if f leaves
// a goroutine behind.
func inBubble(t *testing.T, timeout time.Duration, f func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := make(pipes)
		b := &bench{caf: &caf{}}
		srv := &http.Server{Handler: b.caf}
		done := make(chan struct{})
		go func() { defer close(done); _ = srv.Serve(network) }()
		transport := newTransport(timeout)
		transport.DisableKeepAlives = true
		transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			network <- theirs
			return ours, nil
		}
		b.Client = mustNew(t, Config{
			SessionURL: "http://localhost", IdentityURL: "http://localhost", FacesURL: "http://localhost", APIToken: []byte(apiToken),
			Transport: transport, Timeout: timeout,
		})
		b.jitter = func(time.Duration) time.Duration { b.pauses++; return 100 * time.Millisecond }
		f(t, b)
		synctest.Wait()
		close(network)
		<-done
		_ = srv.Close()
	})
}

func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// after answers like next, but not at once.
func after(d time.Duration, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(d):
			next(w, r)
		case <-r.Context().Done():
		}
	}
}

func TestTimeout(t *testing.T) {
	trickle := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte(" "))
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(100 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
	}
	for _, timeout := range []time.Duration{0, time.Second, maxTimeout} {
		for name, answer := range map[string]http.HandlerFunc{"silent": silent, "trickle": trickle, "late": after(time.Minute, body200(good["faces"]))} {
			t.Run(name, func(t *testing.T) {
				inBubble(t, timeout, func(t *testing.T, b *bench) {
					want := timeout
					if want == 0 {
						want = 5 * time.Second
					}
					b.caf.set(answer)
					for range failuresToOpen {
						began := time.Now()
						_, err := calls["faces"](t.Context(), b.Client)
						wantUnavailable(t, err, detailTimeout, "no complete answer in time")
						if errors.Is(err, context.DeadlineExceeded) {
							t.Error("our own bound looks like the caller's")
						}
						if waited := time.Since(began); waited != want {
							t.Errorf("waited %v, want %v", waited, want)
						}
					}
					_, err := calls["faces"](t.Context(), b.Client)
					wantRetryAfter(t, wantUnavailable(t, err, detailBreaker, ""), openFor)
				})
			})
		}
	}
}

// The caller's deadline ends a call too, and says nothing about the provider.
func TestCallersDeadline(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, b *bench) {
		b.caf.set(silent)
		for range 2 * failuresToOpen {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			_, err := calls["faces"](ctx, b.Client)
			cancel()
			if wantUnavailable(t, err, detailEnded, "deadline exceeded"); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
		}
	})
}

func TestRetryNeedsTime(t *testing.T) {
	// A timeout of 1 s, a pause of 100 ms, and at least 250 ms for the retry.
	for _, tc := range []struct {
		first time.Duration
		hits  int
		want  time.Duration
	}{
		{0, 2, 100 * time.Millisecond},
		{650 * time.Millisecond, 2, 750 * time.Millisecond},
		{651 * time.Millisecond, 1, 651 * time.Millisecond},
		{950 * time.Millisecond, 1, 950 * time.Millisecond},
	} {
		t.Run(tc.first.String(), func(t *testing.T) {
			inBubble(t, time.Second, func(t *testing.T, b *bench) {
				b.caf.set(inTurn(after(tc.first, statusOf(500)), statusOf(500)))
				began := time.Now()
				_, err := calls["faces"](t.Context(), b.Client)
				wantUnavailable(t, err, detailError, "answered 500")
				if waited := time.Since(began); waited != tc.want {
					t.Errorf("took %v, want %v", waited, tc.want)
				}
				b.caf.wantHits(t, tc.hits, "one call")
			})
		})
	}
	t.Run("cancelled in the pause", func(t *testing.T) {
		inBubble(t, time.Second, func(t *testing.T, b *bench) {
			b.caf.set(statusOf(500))
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			_, err := calls["faces"](ctx, b.Client)
			wantUnavailable(t, err, detailEnded, "context canceled")
			b.caf.wantHits(t, 1, "no retry")
			if b.faces.failures != 0 {
				t.Error("it counts")
			}
		})
	})
}

func TestSlowProviderPilesNothingUp(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, b *bench) {
		gate := make(chan struct{})
		b.caf.set(func(w http.ResponseWriter, r *http.Request) { <-gate; body200(good["faces"])(w, r) })
		var wg sync.WaitGroup
		for range maxInFlight {
			wg.Go(func() {
				if _, err := calls["faces"](t.Context(), b.Client); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // now all of them wait
		for range 100 {
			began := time.Now()
			_, err := calls["faces"](t.Context(), b.Client)
			wantRetryAfter(t, wantUnavailable(t, err, detailBusy, "in flight"), 0)
			if time.Since(began) != 0 {
				t.Error("waited")
			}
		}
		// The kinds do not share the bound.
		var other sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		other.Go(func() {
			_, err := calls["exchange"](ctx, b.Client)
			wantUnavailable(t, err, detailEnded, "")
		})
		synctest.Wait()
		cancel()
		other.Wait()
		b.caf.wantHits(t, maxInFlight+1, "at once")
		close(gate)
		wg.Wait()
		if _, err := calls["faces"](t.Context(), b.Client); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestOneProbeAtATime(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, b *bench) {
		b.caf.status(500)
		for range failuresToOpen {
			_, _ = calls["faces"](t.Context(), b.Client)
		}
		time.Sleep(openFor)
		b.caf.wantHits(t, 2*failuresToOpen, "with retries")

		probe := func(answer http.HandlerFunc) (gate chan struct{}, wait func() error) {
			gate = make(chan struct{})
			b.caf.set(func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-gate:
					answer(w, r)
				case <-r.Context().Done():
				}
			})
			var err error
			var wg sync.WaitGroup
			wg.Go(func() { _, err = calls["faces"](t.Context(), b.Client) })
			synctest.Wait()
			for range 100 {
				_, err := calls["faces"](t.Context(), b.Client)
				wantRetryAfter(t, wantUnavailable(t, err, detailBreaker, "is open"), probeWait)
			}
			b.caf.wantHits(t, 1, "one probe")
			return gate, func() error { wg.Wait(); return err }
		}
		// One whose time runs out keeps it open.
		_, wait := probe(silent)
		wantUnavailable(t, wait(), detailTimeout, "")
		_, err := calls["faces"](t.Context(), b.Client)
		wantRetryAfter(t, err, openFor)
		time.Sleep(openFor)

		// One whose caller leaves makes room for the next.
		ctx, cancel := context.WithCancel(t.Context())
		b.caf.set(silent)
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := calls["faces"](ctx, b.Client)
			wantUnavailable(t, err, detailEnded, "")
		})
		synctest.Wait()
		cancel()
		wg.Wait()
		b.caf.wantHits(t, 1, "a probe that was left")

		gate, wait := probe(body200(good["faces"]))
		close(gate)
		if err := wait(); err != nil {
			t.Error(err)
		}
		for range 10 {
			if _, err := calls["faces"](t.Context(), b.Client); err != nil {
				t.Error(err)
			}
		}
	})
}

// Calls that began before the breaker opened, or closed, are no news when they end after.
func TestOldNews(t *testing.T) {
	clock := &fakeClock{t: start()}
	g := newBench(t).exchange
	g.now = clock.now
	enter := func() pass {
		t.Helper()
		p, refused := g.enter()
		if refused != nil {
			t.Fatal(refused.cause)
		}
		return p
	}
	leave := func(p pass, v verdict) { g.leave(t.Context(), p, v, 0, errBusy) }
	var old []pass
	for range 20 {
		old = append(old, enter())
	}
	for _, p := range old[:10] {
		leave(p, failed)
	}
	if !g.open || g.failures != 0 {
		t.Errorf("open %v, %d failures", g.open, g.failures)
	}
	leave(old[10], answered)
	if !g.open {
		t.Error("a call from before the outage closed it")
	}
	clock.advance(openFor)
	probe := enter()
	leave(old[11], answered)
	leave(old[12], failed)
	if _, refused := g.enter(); refused == nil || refused.after != probeWait {
		t.Error("a second probe")
	}
	leave(probe, answered)

	// Of two answers of 429 the longer wait counts, whichever comes last.
	long, short := enter(), enter()
	g.leave(t.Context(), long, unjudged, time.Minute, nil)
	g.leave(t.Context(), short, unjudged, time.Second, nil)
	if _, refused := g.enter(); refused == nil || refused.after != time.Minute {
		t.Errorf("got %+v, want to wait for a minute", refused)
	}
	for _, p := range old[13:] {
		leave(p, failed)
	}
	if g.open || g.failures != 0 || g.inFlight != 0 {
		t.Errorf("calls from before the outage count after it: open %v, %d failures, %d in flight", g.open, g.failures, g.inFlight)
	}
}
