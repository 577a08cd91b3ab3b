package provider

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

// TestMain searches every error and log line of these tests for the values planted here.
func TestMain(m *testing.M) { os.Exit(transcript.Main(m)) }

const ourClientID = "5f2b8a3c9d1e4f6071829304"

var (
	apiToken  = transcript.Secret("a-static-api-token-of-the-provider-tests")
	attemptID = transcript.Secret("attempt-7c1f0a52-not-to-be-logged")
	said      = transcript.Secret("what the provider said, which nobody repeats")
	ourJWT    = transcript.Secret(jwtOf(`{"iss":"`+ourClientID+`","exp":1900000000}`, "our signature"))
	theirJWT  = transcript.Secret(jwtOf(`{"iss":"caf","exp":1772370000,"sid":"1"}`, "their signature"))
	ana       = transcript.CPF("52998224725")
	bruno     = transcript.CPF("11144477735")
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func jwtOf(payload, signature string) string {
	return b64(`{"alg":"HS256","typ":"JWT"}`) + "." + b64(payload) + "." + b64(signature)
}

func start() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

type fakeClock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *fakeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// caf is a provider that answers well or badly, and counts how often it is asked.
type caf struct {
	mu     sync.Mutex
	hits   int
	last   *http.Request
	answer http.HandlerFunc
}

func (p *caf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.hits++
	p.last = r
	answer := p.answer
	p.mu.Unlock()
	answer(w, r)
}

func (p *caf) set(answer http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func (p *caf) says(body string)  { p.set(body200(body)) }
func (p *caf) status(status int) { p.set(statusOf(status)) }
func (p *caf) wellExchanging()   { p.says(`{"requestId":"1","sessionToken":"` + theirJWT + `"}`) }

func (p *caf) wantHits(t *testing.T, want int, when string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hits != want {
		t.Errorf("%s: %d requests, want %d", when, p.hits, want)
	}
	p.hits = 0
}

func (p *caf) request() *http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

func body200(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
}

// statusOf answers a status and a text that must not come through.
func statusOf(status int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		if status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified {
			_, _ = w.Write([]byte(`{"message":"` + said + `"}`))
		}
	}
}

// bench is a Client with a provider over real HTTP.
type bench struct {
	*Client
	caf    *caf
	clock  *fakeClock
	log    *bytes.Buffer
	pauses int // how many retries were put off
}

func newBench(t testing.TB, change ...func(*Config)) *bench {
	t.Helper()
	b := &bench{caf: &caf{}, clock: &fakeClock{t: start()}, log: &bytes.Buffer{}}
	b.caf.status(http.StatusTeapot)
	srv := httptest.NewUnstartedServer(b.caf)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	srv.Start()
	t.Cleanup(srv.Close) // which waits for every request, and so finds one that never ends
	config := Config{
		SessionURL: srv.URL, IdentityURL: srv.URL + "/", FacesURL: srv.URL, APIToken: []byte(apiToken),
		Now: b.clock.now, Log: slog.New(slog.NewTextHandler(transcript.LogTo(b.log), nil)),
	}
	for _, f := range change {
		f(&config)
	}
	b.Client = mustNew(t, config)
	b.jitter = func(most time.Duration) time.Duration {
		if most != maxPause {
			t.Errorf("asked for a part of %v", most)
		}
		b.pauses++
		return 0
	}
	return b
}

func mustNew(t testing.TB, config Config) *Client {
	t.Helper()
	c, err := New(config)
	if transcript.Error(err) != nil {
		t.Fatal(err)
	}
	return c
}

// The three calls as the tests make them, by the name of their lane.
var calls = map[string]func(context.Context, *Client) (any, error){
	"exchange": func(ctx context.Context, c *Client) (any, error) {
		st, err := c.Exchange(ctx, ourJWT)
		return result(st, transcript.Error(err))
	},
	"smart-auth": func(ctx context.Context, c *Client) (any, error) {
		a, err := c.SmartAuth(ctx, ourJWT, attemptID)
		return result(a, transcript.Error(err))
	},
	"faces": func(ctx context.Context, c *Client) (any, error) {
		a, err := c.Face(ctx, attemptID)
		return result(a, transcript.Error(err))
	},
}

// good is an answer that each call takes.
var good = map[string]string{
	"exchange":   `{"requestId":"1","sessionToken":"` + theirJWT + `"}`,
	"smart-auth": `{"id":"` + attemptID + `","status":"approved"}`,
	"faces":      `{"data":{"id":"` + attemptID + `","isMatch":true}}`,
}

// result holds everybody to returning a result or an error and never both.
func result[T any](got *T, err error) (any, error) {
	if (got == nil) == (err == nil) {
		panic(fmt.Sprintf("got %v and %v", got != nil, err))
	}
	if got == nil {
		return nil, err
	}
	return got, nil
}

// wantRefused checks an error and returns it.
func wantRefused(t testing.TB, err error, reason selo.Reason, detail, cause string) *selo.Error {
	t.Helper()
	var e *selo.Error
	if !errors.As(err, &e) || e.Reason != reason || !strings.Contains(e.Detail, detail) || !strings.Contains(fmt.Sprint(e.Err), cause) {
		t.Fatalf("got %v; want %s, %q, and the cause %q", err, reason, detail, cause)
	}
	return e
}

func wantUnavailable(t testing.TB, err error, detail, cause string) *selo.Error {
	t.Helper()
	return wantRefused(t, err, selo.ReasonProviderUnavailable, detail, cause)
}

func wantRetryAfter(t testing.TB, err error, want time.Duration) {
	t.Helper()
	var ra *RetryAfter
	switch found := errors.As(err, &ra); {
	case want == 0 && found:
		t.Errorf("%v: has a RetryAfter", err)
	case want != 0 && (!found || ra.After != want):
		t.Errorf("%v: want a RetryAfter of %v", err, want)
	}
}
