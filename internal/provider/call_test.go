package provider

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/selo-id/selo"
)

// hangUp closes the connection without an answer.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// inTurn answers one after the other, and with the last from then on.
func inTurn(answers ...http.HandlerFunc) http.HandlerFunc {
	turn := make(chan http.HandlerFunc, len(answers))
	for _, a := range answers[:len(answers)-1] {
		turn <- a
	}
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case a := <-turn:
			a(w, r)
		default:
			answers[len(answers)-1](w, r)
		}
	}
}

func TestStatuses(t *testing.T) {
	elsewhere := &caf{}
	elsewhere.wellExchanging()
	other := httptest.NewServer(elsewhere)
	defer other.Close()
	gzipped := func(body string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(body))
		_ = z.Close()
		return b.Bytes()
	}
	endless := func(w http.ResponseWriter, _ *http.Request) {
		for chunk := bytes.Repeat([]byte(" "), 1<<15); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10000")
		_, _ = w.Write([]byte(good["exchange"]))
	}
	raw := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = conn.Write([]byte(answer))
				_ = conn.Close()
			}
		}
	}
	all := []string{"exchange", "smart-auth", "faces"}
	rechecks := all[1:]
	const unjudgedHere, countsHere = 0, 1
	for _, tc := range []struct {
		name          string
		lanes         []string
		answer        http.HandlerFunc
		reason        selo.Reason
		detail, cause string
		hits          int
		failures      int
		after         time.Duration
	}{
		{name: "500", lanes: all, answer: statusOf(500), detail: detailError, cause: "answered 500", hits: 2, failures: countsHere},
		{name: "502", lanes: all, answer: statusOf(502), detail: detailError, cause: "answered 502", hits: 2, failures: countsHere},
		{name: "503 with Retry-After", lanes: all, answer: statusOf(503, "Retry-After", "60"), detail: detailError, cause: "answered 503", hits: 2, failures: countsHere},
		{name: "599", lanes: all, answer: statusOf(599), detail: detailError, cause: "answered 599", hits: 2, failures: countsHere},
		{name: "hang-up", lanes: all, answer: hangUp, detail: detailUnreachable, cause: "hung up", hits: 2, failures: countsHere},
		{name: "cut", lanes: all, answer: cut, detail: detailUnreachable, cause: "hung up", hits: 2, failures: countsHere},
		{name: "no HTTP", lanes: all, answer: raw(said + "\r\n\r\n"), detail: detailUnreachable, cause: "did not speak HTTP", hits: 2, failures: countsHere},
		{name: "huge header", lanes: all, answer: statusOf(200, "X", strings.Repeat("a", 1<<20)), detail: detailUnreachable, cause: "did not speak HTTP", hits: 2, failures: countsHere},

		{name: "401", lanes: all, answer: statusOf(401), detail: detailRefused, cause: "answered 401", hits: 1, failures: countsHere},
		{name: "403 to an exchange", lanes: all[:1], answer: statusOf(403), detail: detailRefused, cause: "answered 403", hits: 1, failures: countsHere},
		{name: "403", lanes: rechecks, answer: statusOf(403), reason: selo.ReasonNotFinal, detail: detailNoRecord, cause: "answered 403", hits: 1, failures: unjudgedHere},
		{name: "404 to an exchange", lanes: all[:1], answer: statusOf(404), detail: detailError, cause: "answered 404", hits: 1, failures: countsHere},
		{name: "404", lanes: rechecks, answer: statusOf(404), reason: selo.ReasonNotFinal, detail: detailNoAttempt, hits: 1, failures: unjudgedHere},
		{name: "400 to an exchange", lanes: all[:1], answer: statusOf(400), detail: detailError, cause: "answered 400", hits: 1, failures: countsHere},
		{name: "400", lanes: rechecks, answer: statusOf(400), reason: selo.ReasonNotFinal, detail: detailNoRecord, cause: "answered 400", hits: 1, failures: unjudgedHere},
		{name: "410", lanes: rechecks, answer: statusOf(410), reason: selo.ReasonNotFinal, detail: detailNoRecord, cause: "answered 410", hits: 1, failures: unjudgedHere},
		{name: "408", lanes: all, answer: statusOf(408), detail: detailError, cause: "answered 408", hits: 1, failures: countsHere},
		{name: "429", lanes: all, answer: statusOf(429), detail: detailWait, cause: "answered 429", hits: 1, failures: unjudgedHere, after: time.Second},

		{name: "301", lanes: all, answer: statusOf(301, "Location", other.URL), detail: detailRedirect, cause: "answered 301", hits: 1, failures: countsHere},
		{name: "302", lanes: all, answer: statusOf(302, "Location", "/elsewhere"), detail: detailRedirect, cause: "answered 302", hits: 1, failures: countsHere},
		{name: "307 to nowhere", lanes: all, answer: statusOf(307, "Location", "http://%zz"), detail: detailRedirect, cause: "answered 307", hits: 1, failures: countsHere},
		{name: "308", lanes: all, answer: statusOf(308, "Location", other.URL), detail: detailRedirect, cause: "answered 308", hits: 1, failures: countsHere},
		{name: "304", lanes: all, answer: statusOf(304), detail: detailRedirect, cause: "answered 304", hits: 1, failures: countsHere},
		{name: "201", lanes: all, answer: statusOf(201), detail: detailError, cause: "answered 201", hits: 1, failures: countsHere},
		{name: "204", lanes: all, answer: statusOf(204), detail: detailError, cause: "answered 204", hits: 1, failures: countsHere},
		{name: "101", lanes: all, answer: raw("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), detail: detailError, cause: "answered 101", hits: 1, failures: countsHere},

		{name: "too long", lanes: all, answer: body200(`{"x":"` + strings.Repeat("a", maxAnswer) + `"}`), detail: detailUnusable, cause: "longer than 65536", hits: 1, failures: countsHere},
		{name: "endless", lanes: all, answer: endless, detail: detailUnusable, cause: "longer than 65536", hits: 1, failures: countsHere},
		{name: "gzip", lanes: all, answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(gzipped(good["exchange"]))
		}, detail: detailUnusable, cause: "content encoding", hits: 1, failures: countsHere},
		{name: "gzip unsaid", lanes: all, answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(gzipped(good["exchange"])) },
			detail: detailUnusable, cause: "strict JSON object", hits: 1, failures: countsHere},
	} {
		for _, kind := range tc.lanes {
			t.Run(tc.name+"/"+kind, func(t *testing.T) {
				b := newBench(t)
				b.caf.set(tc.answer)
				if tc.reason == "" {
					tc.reason = selo.ReasonProviderUnavailable
				}
				_, err := calls[kind](t.Context(), b.Client)
				wantRetryAfter(t, wantRefused(t, err, tc.reason, tc.detail, tc.cause), tc.after)
				b.caf.wantHits(t, tc.hits, "one call")
				if b.pauses != tc.hits-1 {
					t.Errorf("%d pauses", b.pauses)
				}
				for name, l := range map[string]*lane{"exchange": b.exchange, "smart-auth": b.smartAuth, "faces": b.faces} {
					want := 0
					if name == kind {
						want = tc.failures
					}
					if l.failures != want || l.inFlight != 0 {
						t.Errorf("%s: %d failures counted, want %d; %d in flight", name, l.failures, want, l.inFlight)
					}
				}
			})
		}
	}
	elsewhere.wantHits(t, 0, "where the redirects point")
}

func TestLongestAnswer(t *testing.T) {
	b := newBench(t)
	for _, lane := range []string{"exchange", "smart-auth", "faces"} {
		b.caf.says(good[lane] + strings.Repeat(" ", maxAnswer-len(good[lane])))
		if _, err := calls[lane](t.Context(), b.Client); err != nil {
			t.Errorf("%s: %v", lane, err)
		}
	}
}

// endlessBody counts what is read of it.
type endlessBody struct {
	read   int
	closed bool
}

func (b *endlessBody) Read(p []byte) (int, error) { b.read += len(p); return len(p), nil }
func (b *endlessBody) Close() error               { b.closed = true; return nil }

func TestNoMoreIsReadThanNeeded(t *testing.T) {
	for status, most := range map[int]int{200: maxAnswer + 1, 404: maxAnswer, 401: 0, 302: 0, 429: 0} {
		body := &endlessBody{}
		b := newBench(t, func(c *Config) {
			c.Transport = roundTripper(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: status, Body: body}, nil
			})
		})
		_, _ = calls["faces"](t.Context(), b.Client)
		if body.read > most || !body.closed {
			t.Errorf("%d: read %d bytes, want at most %d; closed %v", status, body.read, most, body.closed)
		}
	}
}

func TestRetryMendsWhatPasses(t *testing.T) {
	for _, lane := range []string{"exchange", "smart-auth", "faces"} {
		for name, first := range map[string]http.HandlerFunc{"503": statusOf(503), "hang-up": hangUp, "cut": statusOf(200, "Content-Length", "9999")} {
			t.Run(lane+"/"+name, func(t *testing.T) {
				b := newBench(t)
				b.caf.set(inTurn(first, body200(good[lane])))
				if _, err := calls[lane](t.Context(), b.Client); err != nil {
					t.Error(err)
				}
				b.caf.wantHits(t, 2, "a failure and its retry")
			})
		}
	}
	t.Run("what the retry finds counts", func(t *testing.T) {
		b := newBench(t)
		b.caf.set(inTurn(statusOf(500), statusOf(404), statusOf(500), statusOf(429, "Retry-After", "7")))
		_, err := calls["faces"](t.Context(), b.Client)
		wantRefused(t, err, selo.ReasonNotFinal, detailNoAttempt, "")
		_, err = calls["faces"](t.Context(), b.Client)
		wantRetryAfter(t, wantUnavailable(t, err, detailWait, "answered 429"), 7*time.Second)
		b.caf.wantHits(t, 4, "two calls")
	})
}

func TestNobodyListens(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	c := mustNew(t, Config{SessionURL: "http://" + gone.Addr().String()})
	pauses := 0
	c.jitter = func(time.Duration) time.Duration { pauses++; return 0 }
	_, err = calls["exchange"](t.Context(), c)
	wantUnavailable(t, err, detailUnreachable, "connection refused")
	if pauses != 1 {
		t.Errorf("%d retries", pauses)
	}
}

func TestReadRetryAfter(t *testing.T) {
	now := start()
	for value, want := range map[string]time.Duration{
		"": time.Second, "0": time.Second, "1": time.Second, "30": 30 * time.Second, "300": 5 * time.Minute, "301": 5 * time.Minute,
		"99999999999999999999999": 5 * time.Minute, "18446744073709551615": 5 * time.Minute, "-5": time.Second, "1.5": time.Second, " 9": time.Second, "soon": time.Second,
		now.Add(time.Minute).Format(http.TimeFormat):  time.Minute,
		now.Add(time.Hour).Format(http.TimeFormat):    5 * time.Minute,
		now.Add(-time.Minute).Format(http.TimeFormat): time.Second,
		now.Add(time.Minute).Format(time.RFC850):      time.Minute,
		now.Add(time.Minute).Format(time.RFC3339):     time.Second,
	} {
		if got := readRetryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func TestCallerEndsTheCall(t *testing.T) {
	for _, lane := range []string{"exchange", "smart-auth", "faces"} {
		t.Run(lane, func(t *testing.T) {
			b := newBench(t)
			asked := make(chan struct{})
			b.caf.set(func(_ http.ResponseWriter, r *http.Request) { asked <- struct{}{}; <-r.Context().Done() })
			for range 2 * failuresToOpen {
				ctx, cancel := context.WithCancelCause(t.Context())
				go func() { <-asked; cancel(errors.New(said)) }()
				_, err := calls[lane](ctx, b.Client)
				if wantUnavailable(t, err, detailEnded, "context canceled"); !errors.Is(err, context.Canceled) {
					t.Error("not context.Canceled")
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := calls[lane](ctx, b.Client)
			wantUnavailable(t, err, detailEnded, "context canceled")
			b.caf.wantHits(t, 2*failuresToOpen, "none for a context that has ended")

			b.caf.says(good[lane])
			if _, err := calls[lane](t.Context(), b.Client); err != nil {
				t.Errorf("the breaker counted what was not the provider's fault: %v", err)
			}
		})
	}
}

// Whatever a call met, nothing of it is left when its connections are closed.
func TestNoGoroutineIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("calls", func(t *testing.T) {
		b := newBench(t)
		b.caf.set(inTurn(statusOf(500), hangUp, statusOf(404), body200(good["faces"]), statusOf(302), body200(strings.Repeat(" ", 2*maxAnswer)), statusOf(429)))
		for range 8 {
			_, _ = calls["faces"](t.Context(), b.Client)
		}
		b.transport.(*http.Transport).CloseIdleConnections()
	})
	// Closing is not instant. Yielding and not sleeping; a leak makes this end by the deadline of go test.
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
		runtime.Gosched()
	}
}

// No error repeats what was sent or answered, in whatever way a program prints it; TestMain searches. This
// shows that there was something to repeat.
func TestErrorsRepeatNothing(t *testing.T) {
	b := newBench(t, func(c *Config) {
		inner := newTransport(time.Second)
		c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := inner.RoundTrip(r)
			if err != nil {
				return nil, fmt.Errorf("%s %s %q: %w", r.Method, r.URL, r.Header, err)
			}
			return resp, nil
		})
	})
	b.caf.set(hangUp)
	for lane, planted := range map[string][]string{"exchange": {ourJWT}, "smart-auth": {ourJWT, attemptID}, "faces": {apiToken, attemptID}} {
		_, err := calls[lane](t.Context(), b.Client)
		wantUnavailable(t, err, detailUnreachable, "hung up")
		req := b.caf.request()
		would := fmt.Sprintf("%s %s %q", req.Method, req.URL, req.Header)
		for _, secret := range planted {
			if !strings.Contains(would, secret) {
				t.Error("the positive control does not find what was sent")
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
				t.Error("the error repeats what was sent")
			}
		}
	}
	for _, body := range []string{said, `{"sessionToken":"` + said + `"}`, `{"` + said + `":` + ana} {
		b.caf.says(body)
		for lane := range calls {
			_, err := calls[lane](t.Context(), b.Client)
			wantUnavailable(t, err, detailUnusable, "")
			if !strings.Contains(body, said) || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), said) {
				t.Error("the error repeats the answer")
			}
		}
	}
}
