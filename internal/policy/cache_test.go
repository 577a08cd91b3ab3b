package policy

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/store"
)

func TestVerifiedTokensAreRemembered(t *testing.T) {
	key := edSigner(t, "a")
	app := bankApp(t, jwksOf(t, key))
	clock := newClock()
	a := mustNew(t, Config{Apps: []App{app}, Now: clock.now})
	token := key.token(body(map[string]string{"scope": `"a b"`, "cpf": `"1"`}))
	authorization := "Bearer " + token
	known := func(want bool, when string) {
		t.Helper()
		if got := a.Recognise(t.Context(), authorization); got != want {
			t.Errorf("%s: recognised %v", when, got)
		}
	}
	ask := func(hits, misses uint64, when string) *Caller {
		t.Helper()
		got, err := a.Authenticate(t.Context(), authorization)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if h, m, entries := a.CacheStats(); h != hits || m != misses || entries != 1 {
			t.Errorf("%s: %d hits, %d misses, %d entries; want %d, %d and 1", when, h, m, entries, hits, misses)
		}
		return got
	}
	known(false, "at first")
	first := ask(0, 1, "first")
	known(true, "then")

	// What a receiver does to a Caller is nobody else's matter.
	first.Claims["scope"] = "everything"
	first.CPFFault.Detail = "changed"
	first.App = "other"
	second := ask(1, 1, "second")
	if second.App != "bank" || fmt.Sprint(second.Claims) != "map[scope:[a b]]" || second.CPFFault.Detail == "changed" {
		t.Errorf("got %+v", second)
	}
	second.Claims["more"] = true
	if third := ask(2, 1, "third"); len(third.Claims) != 1 {
		t.Errorf("got %+v", third)
	}

	clock.advance(time.Minute - 1)
	known(true, "within a minute")
	ask(3, 1, "within a minute")
	clock.advance(1)
	known(true, "after a minute") // to be let past a throttle, and verified anew
	ask(3, 2, "after a minute")
	clock.advance(-time.Second)
	known(true, "before it was verified")
	ask(3, 3, "before it was verified")

	for _, other := range []string{"", "Bearer", "Bearer ", "Basic " + token, token, authorization + " ", "Bearer  " + token, authorization[:len(authorization)-1]} {
		if a.Recognise(t.Context(), other) {
			t.Errorf("recognises %q", other)
		}
	}
	if authorization = "bEARER " + token; !a.Recognise(t.Context(), authorization) {
		t.Error("does not recognise the scheme in another case")
	}
}

func TestRememberedTokenExpires(t *testing.T) {
	key := edSigner(t, "a")
	clock := newClock()
	a := mustNew(t, Config{Apps: []App{bankApp(t, jwksOf(t, key))}, Now: clock.now})
	token := key.token(body(map[string]string{"exp": at(20 * time.Second)}))
	clock.advance(10 * time.Second)
	if _, err := bearer(t.Context(), a, token); err != nil {
		t.Fatal(err)
	}
	clock.advance(10*time.Second - 1)
	if !a.Recognise(t.Context(), "Bearer "+token) {
		t.Error("is not remembered to the end")
	}
	clock.advance(1)
	if a.Recognise(t.Context(), "Bearer "+token) {
		t.Error("is recognised after its exp")
	}
	caller, err := bearer(t.Context(), a, token)
	wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "exp", token)
	if _, _, entries := a.CacheStats(); entries != 0 {
		t.Error("is still there")
	}
}

// Only what is good is remembered, and only under the whole of it.
func TestRefusalsAreNotRemembered(t *testing.T) {
	key := edSigner(t, "a")
	clock := newClock()
	a := mustNew(t, Config{Apps: []App{bankApp(t, jwksOf(t, key))}, Now: clock.now})
	s := openStore(t)
	a.UseStore(s)
	_, apiKey := added(t, s, store.Credential{Kind: store.CredentialService, Name: "backend", App: "bank", Scopes: []string{ScopeSessionsOpen}})
	early := key.token(body(map[string]string{"nbf": at(time.Minute)}))
	good := key.token(body(nil))
	for _, token := range []string{early, good[:len(good)-4] + "AAAA", "x"} {
		caller, err := bearer(t.Context(), a, token)
		if caller != nil || err == nil || a.Recognise(t.Context(), "Bearer "+token) {
			t.Errorf("got %v, %v", caller, err)
		}
	}
	if _, err := bearer(t.Context(), a, apiKey); err != nil {
		t.Errorf("an API key: %v", err)
	}
	if hits, misses, entries := a.CacheStats(); hits != 0 || misses != 3 || entries != 0 {
		t.Errorf("%d, %d, %d", hits, misses, entries)
	}
	clock.advance(time.Minute)
	if _, err := bearer(t.Context(), a, early); err != nil {
		t.Errorf("when its time has come: %v", err)
	}
	// A signature that is not the one that was verified is verified.
	if _, err := bearer(t.Context(), a, good); err != nil {
		t.Error(err)
	}
	caller, err := bearer(t.Context(), a, good[:len(good)-4]+"AAAA")
	wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "signature", good)
}

func TestRememberedTokenDiesWithItsKey(t *testing.T) {
	rs, private := rsaSigner(t, "k")
	key := edSigner(t, "k")
	for _, tc := range []struct {
		name   string
		signer *signer
		after  []byte
		field  string
	}{
		{"withdrawn", key, jwksOf(t, edSigner(t, "other")), "kid"},
		{"all withdrawn", key, []byte(`{"keys":[]}`), "kid"},
		{"another key under its kid", key, jwksOf(t, edSigner(t, "k")), "signature"},
		{"another kind of key under its kid", key, jwksOf(t, p256Signer(t, "k")), "alg"},
		{"same key for another algorithm", rs, jwksOf(t, rsaFor(t, "k", "PS256", private)), "alg"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRemote(t)
			r.issuer.publish(jwksOf(t, tc.signer))
			token := tc.signer.token(body(nil))
			ask := func() (*Caller, error) {
				got, err := bearer(t.Context(), r.Authenticator, token)
				r.settle()
				return got, err
			}
			if _, err := ask(); err != nil {
				t.Fatal(err)
			}
			r.clock.advance(10*time.Minute - 30*time.Second)
			if _, err := ask(); err != nil {
				t.Fatal(err)
			}
			r.issuer.publish(tc.after)
			r.clock.advance(30 * time.Second)
			if _, err := ask(); err != nil { // answered from the cache, and sees that the set is old
				t.Fatal(err)
			}
			if hits, _, _ := r.CacheStats(); hits != 1 {
				t.Errorf("%d hits", hits)
			}
			r.issuer.wantHits(t, 2, "after 10 minutes")
			if r.Recognise(t.Context(), "Bearer "+token) {
				t.Error("is recognised without its key")
			}
			caller, err := ask()
			wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, tc.field, token)
			if _, _, entries := r.CacheStats(); entries != 0 {
				t.Error("is still there")
			}
		})
	}
	t.Run("set too old", func(t *testing.T) {
		r := newRemote(t)
		r.issuer.publish(jwksOf(t, key))
		r.wantOK(t, key, "first")
		r.issuer.down()
		r.clock.advance(time.Hour - time.Second)
		token := key.token(body(nil))
		if _, err := bearer(t.Context(), r.Authenticator, token); err != nil {
			t.Fatal(err)
		}
		r.settle()
		r.clock.advance(time.Second)
		if r.Recognise(t.Context(), "Bearer "+token) {
			t.Error("is recognised by a set that is too old")
		}
		r.wantUnavailable(t, key, "answered 503")
	})
}

func TestRecogniseAsksNobody(t *testing.T) {
	r := newRemote(t)
	key := edSigner(t, "a")
	r.issuer.publish(jwksOf(t, key))
	r.clock.advance(9*time.Minute + 30*time.Second)
	r.wantOK(t, key, "first")
	r.clock.advance(9*time.Minute + 30*time.Second)
	token := key.token(body(nil))
	if _, err := bearer(t.Context(), r.Authenticator, token); err != nil {
		t.Fatal(err)
	}
	r.clock.advance(30 * time.Second)
	if !r.Recognise(t.Context(), "Bearer "+token) {
		t.Error("not recognised")
	}
	r.settle()
	r.issuer.wantHits(t, 1, "after Recognise with an old set")
}

func TestCacheIsBounded(t *testing.T) {
	var c cache
	sum := func(i int) [sha256.Size]byte { return sha256.Sum256([]byte(fmt.Sprint(i))) }
	for i := range 5 * maxCached {
		c.put(sum(i), &verified{})
		c.put(sum(i), &verified{}) // found good by two requests at once
		if n := len(c.young) + len(c.old); n > maxCached {
			t.Fatalf("%d entries", n)
		}
		if i >= maxCached/2 && c.get(sum(i-maxCached/2+1)) == nil {
			t.Fatalf("entry %d is gone too soon", i-maxCached/2+1)
		}
	}
	if n := len(c.young) + len(c.old); n <= maxCached/2 {
		t.Errorf("only %d entries", n)
	}
	if c.get(sum(0)) != nil {
		t.Error("the first entry is still there")
	}
}

func TestCacheInParallel(t *testing.T) {
	key := edSigner(t, "a")
	clock := newClock()
	a := mustNew(t, Config{Apps: []App{bankApp(t, jwksOf(t, key))}, Now: clock.now})
	tokens := make([]string, 8)
	for i := range tokens {
		tokens[i] = key.token(body(map[string]string{"sub": fmt.Sprintf(`"user %d"`, i), "amr": `["pwd"]`}))
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 100 {
				which := (i + n) % len(tokens)
				got, err := bearer(t.Context(), a, tokens[which])
				if err != nil || got.Subject.ID != fmt.Sprint("user ", which) {
					t.Errorf("got %+v, %v", got, err)
					return
				}
				got.Claims["amr"] = n
				a.Recognise(t.Context(), "Bearer "+tokens[which])
				clock.advance(time.Second)
			}
		})
	}
	wg.Wait()
}

// benchToken is of some 700 bytes, as identity providers make them.
func benchToken(b *testing.B) (*Authenticator, string) {
	b.Helper()
	key := p256Signer(b, "2026-03")
	app := bankApp(b, jwksOf(b, key))
	app.Claims = map[string]Claim{"roles": {Path: "/realm_access/roles", Type: ClaimStrings}}
	a := mustNew(b, Config{Apps: []App{app}})
	token := key.token(body(map[string]string{
		"acr": `"1"`, "amr": `["pwd","otp"]`, "azp": `"bank-ios"`, "scope": `"openid profile"`, "auth_time": at(-time.Minute),
		"realm_access": `{"roles":["customer"]}`, "jti": quote(strings.Repeat("j", 36)), "sid": quote(strings.Repeat("s", 22)),
		"preferred_username": `"maria.souza@bank.example"`, "typ": `"Bearer"`,
	}))
	if len(token) < 600 || len(token) > 800 {
		b.Fatalf("the token has %d bytes", len(token))
	}
	return a, token
}

// BenchmarkAuthenticateCached/selo answers a token that was verified before. Its floor is the SHA-256 of the token,
// by which it is found.
func BenchmarkAuthenticateCached(b *testing.B) {
	a, token := benchToken(b)
	var floor float64
	b.Run("floor", func(b *testing.B) {
		for b.Loop() {
			sha256.Sum256([]byte(token))
		}
		floor = float64(b.Elapsed()) / float64(b.N)
	})
	b.Run("selo", func(b *testing.B) {
		authorization := "Bearer " + token
		for b.Loop() {
			if _, err := a.Authenticate(b.Context(), authorization); err != nil {
				b.Fatal(err)
			}
		}
		if floor > 0 {
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/floor, "floors")
		}
	})
}

// BenchmarkAuthenticateCold verifies the same token each time.
func BenchmarkAuthenticateCold(b *testing.B) {
	a, token := benchToken(b)
	sum := sha256.Sum256([]byte(token))
	for b.Loop() {
		a.cache.drop(sum)
		if _, err := bearer(b.Context(), a, token); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
}
