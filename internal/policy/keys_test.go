package policy

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

// issuer is an identity provider that publishes its keys, well or badly, and counts how often it is asked.
type issuer struct {
	mu     sync.Mutex
	hits   int
	answer http.HandlerFunc
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.hits++
	answer := i.answer
	i.mu.Unlock()
	answer(w, r)
}

func (i *issuer) set(answer http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = answer
}

func (i *issuer) publish(document []byte) {
	i.set(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(document) })
}

func (i *issuer) down() {
	i.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
}

func (i *issuer) wantHits(t *testing.T, want int, when string) {
	t.Helper()
	if got := i.count(); got != want {
		t.Errorf("%s: %d fetches, want %d", when, got, want)
	}
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.hits
}

// remote is an Authenticator with one app whose keys are at an issuer over real HTTP.
type remote struct {
	*Authenticator
	issuer *issuer
	clock  *fakeClock
	log    *bytes.Buffer
	keys   *remoteKeys
}

func newRemote(t *testing.T) *remote {
	t.Helper()
	r := &remote{issuer: &issuer{}, clock: newClock(), log: &bytes.Buffer{}}
	r.issuer.down()
	srv := httptest.NewServer(r.issuer)
	t.Cleanup(srv.Close)
	r.Authenticator = mustNew(t, Config{
		Apps: []App{{Name: "bank", Issuer: testIssuer, Audience: "bank-app", JWKSURL: srv.URL + "/jwks"}},
		Now:  r.clock.now, Log: slog.New(slog.NewTextHandler(transcript.LogTo(r.log), nil)),
	})
	r.keys = r.apps[0].keys.(*remoteKeys)
	return r
}

// settle waits for a fetch that nobody waits for.
func (r *remote) settle() {
	r.keys.mu.Lock()
	flight := r.keys.flight
	r.keys.mu.Unlock()
	if flight != nil {
		<-flight
	}
}

func (r *remote) wantOK(t *testing.T, s *signer, when string) {
	t.Helper()
	if _, err := bearer(t.Context(), r.Authenticator, s.token(body(nil))); err != nil {
		t.Errorf("%s: %v", when, err)
	}
	r.settle()
}

func (r *remote) wantUnavailable(t *testing.T, s *signer, cause string) {
	t.Helper()
	token := s.token(body(nil))
	caller, err := bearer(t.Context(), r.Authenticator, token)
	e := wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "authorization", token)
	if e.Detail != "the issuer's keys are not available" || e.Err == nil || !strings.Contains(e.Err.Error(), cause) {
		t.Errorf("got %v; want the cause %q", e, cause)
	}
	r.settle()
}

func (r *remote) wantUnknown(t *testing.T, s *signer) {
	t.Helper()
	caller, err := bearer(t.Context(), r.Authenticator, s.token(body(nil)))
	wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "kid")
}

func TestKeysAreFetchedWhenNeeded(t *testing.T) {
	r := newRemote(t)
	key, next := edSigner(t, "one"), edSigner(t, "two")
	r.issuer.publish(jwksOf(t, key))
	r.issuer.wantHits(t, 0, "after New")

	// Whoever is not of this issuer does not make us ask it.
	for _, token := range []string{"x", "a.b.c", key.token(body(map[string]string{"aud": `"x"`})), key.raw(`{"alg":"HS256"}`, body(nil))} {
		if _, err := bearer(t.Context(), r.Authenticator, token); err == nil {
			t.Error("authenticated")
		}
	}
	r.issuer.wantHits(t, 0, "after tokens of nobody")

	r.wantOK(t, key, "first")
	r.clock.advance(10*time.Minute - 1)
	r.wantOK(t, key, "a little less than 10 minutes later")
	r.issuer.wantHits(t, 1, "before 10 minutes")

	r.issuer.publish(jwksOf(t, next))
	r.clock.advance(1)
	r.wantOK(t, key, "withdrawn, by the request that finds the set old")
	r.wantUnknown(t, key)
	r.issuer.wantHits(t, 2, "after 10 minutes")
	r.wantOK(t, next, "rotated")
}

func TestRotatedKeyIsFound(t *testing.T) {
	r := newRemote(t)
	key, next := edSigner(t, "one"), edSigner(t, "two")
	r.issuer.publish(jwksOf(t, key))
	r.wantOK(t, key, "first")
	r.issuer.publish(jwksOf(t, key, next))
	r.clock.advance(30*time.Second - 1)
	r.wantUnknown(t, next)
	r.issuer.wantHits(t, 1, "within 30 seconds")
	r.clock.advance(1)
	r.wantOK(t, next, "after 30 seconds")
	r.wantOK(t, key, "the older key")
	r.issuer.wantHits(t, 2, "after 30 seconds")
}

func TestStormOfUnknownKeys(t *testing.T) {
	r := newRemote(t)
	key := edSigner(t, "one")
	r.issuer.publish(jwksOf(t, key))
	storm := func() {
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				unknown := &signer{kid: fmt.Sprint("random-", i), alg: "EdDSA", sign: key.sign}
				if caller, err := bearer(t.Context(), r.Authenticator, unknown.token(body(nil))); caller != nil || err == nil {
					t.Error("authenticated")
				}
			})
		}
		wg.Wait()
	}
	for minute := range 5 {
		for range 3 {
			storm()
		}
		r.issuer.wantHits(t, 2*minute+1, "within the first half of a minute")
		r.clock.advance(30 * time.Second)
		storm()
		r.issuer.wantHits(t, 2*minute+2, "within the second half of a minute")
		r.clock.advance(30 * time.Second)
	}
	r.wantOK(t, key, "after the storm")

	r.issuer.down()
	for range 3 {
		storm()
	}
	r.issuer.wantHits(t, 11, "within 30 seconds of an outage")
	r.wantOK(t, key, "in the outage")
}

func TestIssuerDown(t *testing.T) {
	r := newRemote(t)
	key := edSigner(t, "one")

	// From the start: refused, asked at most once in 5 seconds, well again by itself.
	r.wantUnavailable(t, key, "answered 503")
	r.wantUnavailable(t, key, "answered 503")
	r.clock.advance(5*time.Second - 1)
	r.wantUnavailable(t, key, "answered 503")
	r.issuer.wantHits(t, 1, "within 5 seconds of a failure")
	if r.log.Len() > 0 {
		t.Errorf("logged what was returned: %s", r.log)
	}
	r.issuer.publish(jwksOf(t, key))
	r.clock.advance(1)
	r.wantOK(t, key, "well")
	fetched := r.clock.now()

	// Later: the last good set serves for an hour after it was fetched.
	r.issuer.down()
	r.clock.advance(10 * time.Minute)
	for range 3 {
		r.wantOK(t, key, "down for the first time")
	}
	r.issuer.wantHits(t, 3, "down for the first time")
	if !strings.Contains(r.log.String(), "refreshing the issuer's keys failed") {
		t.Errorf("logged only %q", r.log)
	}
	r.clock.advance(5 * time.Second)
	r.wantOK(t, key, "down, tried again")
	r.issuer.wantHits(t, 4, "down, tried again")
	r.clock.advance(fetched.Add(time.Hour - 1).Sub(r.clock.now()))
	r.wantOK(t, key, "down, for almost an hour")
	r.clock.advance(1)
	r.wantUnavailable(t, key, "answered 503")

	r.issuer.publish(jwksOf(t, key))
	r.clock.advance(5 * time.Second)
	r.wantOK(t, key, "well again")
}

// A failed refresh of a fresh set says that we cannot know, not that the key does not exist.
func TestUnknownKeyWhileDown(t *testing.T) {
	r := newRemote(t)
	key, next := edSigner(t, "one"), edSigner(t, "two")
	r.issuer.publish(jwksOf(t, key))
	r.wantOK(t, key, "first")
	r.issuer.down()
	r.clock.advance(time.Minute)
	r.wantUnavailable(t, next, "answered 503")
	r.wantOK(t, key, "a known key")
	r.issuer.publish(jwksOf(t, key, next))
	r.clock.advance(30 * time.Second)
	r.wantOK(t, next, "well again")
}

func TestBadAnswers(t *testing.T) {
	key := edSigner(t, "one")
	elsewhere := &issuer{}
	elsewhere.publish(jwksOf(t, key))
	other := httptest.NewServer(elsewhere)
	defer other.Close()
	good := string(jwksOf(t, key))
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		cause  string
	}{
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusFound)
		}, "answered 302"},
		{"redirect with a body that would do", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", other.URL)
			w.WriteHeader(http.StatusPermanentRedirect)
			_, _ = w.Write([]byte(good))
		}, "answered 308"},
		{"created", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(good))
		}, "answered 201"},
		{"no content", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, "answered 204"},
		{"empty", func(http.ResponseWriter, *http.Request) {}, "not a JWKS document"},
		{"garbage", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "not a JWKS document"},
		{"huge", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(good + strings.Repeat(" ", maxKeySetSize)))
		}, "longer than 262144 bytes"},
		{"endless", func(w http.ResponseWriter, _ *http.Request) {
			for chunk := bytes.Repeat([]byte(" "), 1<<16); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, "longer than 262144 bytes"},
		{"huge header", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("a", 1<<20))
			_, _ = w.Write([]byte(good))
		}, "fetching"},
		{"cut", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(good)+1))
			_, _ = w.Write([]byte(good))
		}, "unexpected EOF"},
		{"connection closed", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		{"same kid twice", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(jwksOf(t, key, key)) }, "two keys with kid"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRemote(t)
			r.issuer.set(tc.answer)
			r.wantUnavailable(t, key, tc.cause)
			// Nor does it replace what was good.
			r.issuer.publish(jwksOf(t, key))
			r.clock.advance(5 * time.Second)
			r.wantOK(t, key, "well")
			r.issuer.set(tc.answer)
			r.clock.advance(10 * time.Minute)
			r.wantOK(t, key, "bad again")
			r.issuer.wantHits(t, 3, "bad, good, bad")
		})
	}
	elsewhere.wantHits(t, 0, "where the redirects point")
}

// An issuer that withdraws all its keys is believed: the last good set is for one that cannot be heard.
func TestAllKeysWithdrawn(t *testing.T) {
	r := newRemote(t)
	key := edSigner(t, "one")
	r.issuer.publish(jwksOf(t, key))
	r.wantOK(t, key, "first")
	r.issuer.publish([]byte(`{"keys":[]}`))
	r.clock.advance(10 * time.Minute)
	r.wantOK(t, key, "withdrawn, by the request that finds the set old")
	r.wantUnknown(t, key)
	if !strings.Contains(r.log.String(), "publishes no usable key") {
		t.Errorf("logged only %q", r.log)
	}
}

func TestHTTPS(t *testing.T) {
	key := edSigner(t, "one")
	i := &issuer{}
	i.publish(jwksOf(t, key))
	srv := httptest.NewTLSServer(i)
	defer srv.Close()
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	app := App{Name: "bank", Issuer: testIssuer, Audience: "bank-app", JWKSURL: srv.URL}

	a := mustNew(t, Config{Apps: []App{app}, HTTPClient: srv.Client()})
	if _, err := bearer(t.Context(), a, key.token(body(nil))); err != nil {
		t.Error(err)
	}
	a = mustNew(t, Config{Apps: []App{app}}) // does not know the test's authority
	caller, err := bearer(t.Context(), a, key.token(body(nil)))
	if e := wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "authorization"); e.Err == nil {
		t.Error("no cause")
	}
}

func TestClientGoesNowhereElse(t *testing.T) {
	follows := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}
	for _, c := range []*http.Client{newClient(nil, 0), newClient(&http.Client{}, 1), newClient(follows, 0)} {
		if tr, ok := c.Transport.(*http.Transport); !ok || tr.Proxy != nil {
			t.Error("uses a proxy of the environment")
		}
		if c.CheckRedirect == nil || !errors.Is(c.CheckRedirect(nil, nil), http.ErrUseLastResponse) {
			t.Error("follows redirects")
		}
	}
}

func TestIgnoredKeysAreLoggedWhenTheyChange(t *testing.T) {
	r := newRemote(t)
	key := edSigner(t, "one")
	encryption := edSigner(t, "two").with(map[string]any{"use": "enc"})
	logged := func(want int, when string) {
		t.Helper()
		if got := strings.Count(r.log.String(), "ignoring a key"); got != want {
			t.Errorf("%s: logged %d times, want %d:\n%s", when, got, want, r.log)
		}
	}
	r.issuer.publish(jwksOf(t, key, encryption))
	r.wantOK(t, key, "first")
	logged(1, "first")
	r.clock.advance(10 * time.Minute)
	r.wantOK(t, key, "the same again")
	logged(1, "the same again")
	r.issuer.publish(jwksOf(t, key, encryption, encryption))
	r.clock.advance(10 * time.Minute)
	r.wantOK(t, key, "one more")
	logged(3, "one more")
}
