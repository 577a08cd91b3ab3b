package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/api"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/sandbox"
	"github.com/selo-id/selo/internal/transcript"
)

// The tests of this file and of oidc_provider_test.go run selo serve against an identity provider that nobody
// here wrote, oidc-provider, and sign in there as a mobile app does.

// What tokens are asked for at the provider; testdata/oidc-provider/server.mjs has the aud of each.
const (
	forApp        = "urn:bank:app"
	forOpaqueApp  = "urn:bank:app-opaque" // whose access tokens are opaque
	forAnotherApp = "urn:bank:another-app"
)

func TestOIDCLogin(t *testing.T) {
	idp := startOIDCProvider(t)
	s := serveOIDC(t, idp)
	tokens := idp.login(t, "ana", forApp)
	ana, bruno := "Bearer "+tokens.Access, "Bearer "+idp.login(t, "bruno", forApp).Access

	id, mobile := s.open(t, ana, liveness, "login")
	wantReasons(t, s.call(t, "GET", s.urls.API+"/v1/sessions/"+id, bruno, ""), 404, "session_unknown")
	signed := s.sdk(t, liveness, mobile, "ana", "approve")
	wantReasons(t, s.respond(t, bruno, id, signed), 404, "session_unknown")

	_, mobile = s.open(t, bruno, liveness, "login")
	brunos := s.sdk(t, liveness, mobile, "bruno", "approve")
	wantReasons(t, s.respond(t, ana, id, brunos), 403, "subject_mismatch")

	// The response is about the CPF that the access token has.
	if a := s.respond(t, ana, id, signed); a.status != 200 || a.text("receipt") == "" {
		t.Errorf("got %d %v, want a grant", a.status, a.body["reasons"])
	}

	s.wantRefused(t, idp.login(t, "ana", forAnotherApp).Access, "aud")
	s.wantRefused(t, tokens.ID, "aud") // it is for the app on the phone
	idp.wantFetches(t, 1)
}

func TestOIDCAlgorithms(t *testing.T) {
	idp := startOIDCProvider(t)
	s := serveOIDC(t, idp)
	for _, wanted := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		t.Run(wanted, func(t *testing.T) {
			idp.tell(t, "alg "+wanted)
			token := idp.login(t, "ana", forApp).Access
			if alg, _ := headerOf(t, token)["alg"].(string); alg != wanted {
				t.Fatalf("signed with %q", alg)
			}
			id, mobile := s.open(t, "Bearer "+token, liveness, "login")
			if a := s.respond(t, "Bearer "+token, id, s.sdk(t, liveness, mobile, "ana", "approve")); a.status != 200 {
				t.Errorf("got %d %v, want a grant", a.status, a.body["reasons"])
			}
		})
	}
	idp.wantFetches(t, 1) // all of them are published together
}

// The provider changes its keys twice, once as it should and once as after a theft.
func TestOIDCRotation(t *testing.T) {
	idp := startOIDCProvider(t)
	clock := &testClock{at: time.Now()}
	s := serveOIDCAt(t, idp, clock.now)

	first := idp.login(t, "ana", forApp).Access
	s.open(t, "Bearer "+first, liveness, "login")
	idp.wantFetches(t, 1)

	idp.tell(t, "rotate keep")
	second := idp.login(t, "ana", forApp).Access
	s.wantRefused(t, second, "kid") // an unknown key has the set fetched, but not within 30 seconds of the last time
	idp.wantFetches(t, 1)
	clock.advance(30 * time.Second)
	s.open(t, "Bearer "+second, liveness, "login")
	s.open(t, "Bearer "+first, liveness, "login")
	idp.wantFetches(t, 2)

	idp.tell(t, "rotate drop")
	third := idp.login(t, "ana", forApp).Access
	s.open(t, "Bearer "+second, liveness, "login") // nobody has looked yet
	clock.advance(30 * time.Second)
	s.open(t, "Bearer "+third, liveness, "login")
	idp.wantFetches(t, 3)
	for range 10 {
		s.wantRefused(t, first, "kid")
		s.wantRefused(t, second, "kid")
	}
	s.open(t, "Bearer "+third, liveness, "login")
	idp.wantFetches(t, 3) // however often they come

	clock.advance(time.Hour) // the life of an access token
	s.wantRefused(t, third, "exp")
	idp.wantFetches(t, 4) // the set is old too
}

func TestOIDCOpaqueToken(t *testing.T) {
	idp := startOIDCProvider(t)
	s := serveOIDC(t, idp)
	ana := idp.login(t, "ana", forOpaqueApp).Access
	if strings.Contains(ana, ".") {
		t.Fatal("is not opaque")
	}
	id, mobile := s.open(t, "Bearer "+ana, liveness, "login")
	bruno := "Bearer " + idp.login(t, "bruno", forOpaqueApp).Access
	wantReasons(t, s.call(t, "GET", s.urls.API+"/v1/sessions/"+id, bruno, ""), 404, "session_unknown")
	// The response is about the CPF that the endpoint tells.
	if a := s.respond(t, "Bearer "+ana, id, s.sdk(t, liveness, mobile, "ana", "approve")); a.status != 200 || a.text("receipt") == "" {
		t.Errorf("got %d %v, want a grant", a.status, a.body["reasons"])
	}
	s.wantRefused(t, idp.login(t, "ana", "").Access, "aud") // for the provider's own userinfo, and so for no app
	s.wantRefused(t, ana[:len(ana)-1]+"_x", "active")       // of nobody
	idp.wantFetches(t, 0)
}

// oidcConfig is the selo.yaml of a bank whose users sign in at a provider.
const oidcConfig = `
listen: 127.0.0.1:0
issuer: https://selo.bank.example
database: selo.db
receipt_key_file: receipt-key.pem
kek: {file: kek}
apps:
  - name: bank-app
    issuer: ISSUER
    audience: bank-app
    environment: sandbox
    products: [caf/face-liveness]
    purposes: {login: {assurance: presence}}
  - name: bank-app-opaque
    issuer: ISSUER
    audience: bank-app-opaque
    INTROSPECTION
    environment: sandbox
    products: [caf/face-liveness]
    purposes: {login: {assurance: presence}}
`

// writeOIDCConfig writes it and its secrets, and returns its path.
func writeOIDCConfig(t *testing.T, idp *oidcProvider) string {
	t.Helper()
	key, err := selo.GenerateReceiptKey()
	if err != nil {
		t.Fatal(err)
	}
	pem, err := key.PEM()
	if err != nil {
		t.Fatal(err)
	}
	introspection := "introspection: {url: " + idp.metadata.Introspection + ", client_id: selo, client_secret_file: introspection}"
	dir := t.TempDir()
	for name, content := range map[string]string{
		"selo.yaml":       strings.NewReplacer("ISSUER", idp.metadata.Issuer, "INTROSPECTION", introspection).Replace(oidcConfig),
		"receipt-key.pem": string(pem),
		"kek":             transcript.Secret(randomHex(32)),
		"keys.yaml":       "access_keys:\n  - {client_id: 64b7f3c2a1d0e9f8b7a6c5d4, secret_file: caf, environment: sandbox, products: [caf/face-liveness]}\n",
		"caf":             transcript.Secret(randomHex(32)),
		"introspection":   idp.secret,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "selo.yaml")
}

// oidcServer is a server of that configuration, with a sandbox for the responses.
func oidcServer(t *testing.T, config string) (*server, *Config) {
	t.Helper()
	cfg, err := readConfig(config)
	if err != nil {
		t.Fatal(transcript.Error(err))
	}
	keys, err := readKeyFile(filepath.Join(filepath.Dir(config), "keys.yaml"))
	if err != nil {
		t.Fatal(transcript.Error(err))
	}
	box, err := keys.sandbox(sandbox.Config{Log: testLog()})
	if err != nil {
		t.Fatal(transcript.Error(err))
	}
	p, err := cfg.build(t.Context(), testLog(), nil, nil)
	if err != nil {
		t.Fatal(transcript.Error(err))
	}
	if _, err := keys.importInto(t.Context(), p); err != nil {
		t.Fatal(transcript.Error(err))
	}
	if err := p.store.Close(); err != nil {
		t.Fatal(err)
	}
	caf := httptest.NewServer(box)
	t.Cleanup(caf.Close)
	s := &server{urls: demoURLs{Sandbox: caf.URL}, client: transcript.Client(&http.Client{Transport: &http.Transport{}, Timeout: oidcTimeout})}
	t.Cleanup(s.client.CloseIdleConnections)
	return s, cfg
}

// serveOIDC runs selo serve.
func serveOIDC(t *testing.T, idp *oidcProvider) *server {
	t.Helper()
	config := writeOIDCConfig(t, idp)
	s, _ := oidcServer(t, config)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	r, w := io.Pipe()
	go func() {
		code := run(ctx, []string{"serve", "--config", config}, streams{strings.NewReader(""), transcript.ReplyTo(io.Discard), transcript.LogTo(w), nil})
		_ = w.Close()
		ended <- code
	}()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != 0 {
			t.Errorf("serve ended with status %d", code)
		}
	})
	var before strings.Builder
	log := bufio.NewReader(io.TeeReader(r, &before))
	for s.urls.API == "" {
		line, err := log.ReadBytes('\n')
		if err != nil {
			t.Fatalf("serve does not listen:\n%s", &before)
		}
		var entry struct {
			Message string `json:"msg"`
			Address string `json:"address"`
		}
		if err := json.Unmarshal(line, &entry); err == nil && entry.Message == "listening" {
			s.urls.API = "http://" + entry.Address
		}
	}
	go func() { _, _ = io.Copy(io.Discard, r) }() // until the server ends
	return s
}

// serveOIDCAt runs what selo serve does, but for the clock by which tokens and keys age.
func serveOIDCAt(t *testing.T, idp *oidcProvider, now func() time.Time) *server {
	t.Helper()
	s, cfg := oidcServer(t, writeOIDCConfig(t, idp))
	log := testLog()
	p, err := cfg.build(t.Context(), log, nil, nil)
	if err != nil {
		t.Fatal(transcript.Error(err))
	}
	var f faults
	_, callers := cfg.apps(&f)
	if p.callers, err = policy.New(t.Context(), policy.Config{Apps: callers, Log: log, Now: now}); err != nil || len(f) > 0 {
		t.Fatal(transcript.Error(errors.Join(append(f, err)...)))
	}
	p.callers.UseStore(p.store)
	key, err := cfg.receiptKey()
	if err != nil {
		t.Fatal(transcript.Error(err))
	}
	handler, err := api.New(api.Config{Broker: p.broker, Callers: p.callers, ReceiptKeys: key.Public(), Log: log})
	if err != nil {
		t.Fatal(transcript.Error(err))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.urls.API = "http://" + l.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(serveHTTP(ctx, l, handler, log, nil), p.store.Close()) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(transcript.Error(err))
		}
	})
	return s
}

// wantRefused opens nothing with a token, because of this part of it.
func (s *server) wantRefused(t *testing.T, token, field string) {
	t.Helper()
	a := s.call(t, "POST", s.urls.API+"/v1/sessions", "Bearer "+token, `{"product":"caf/face-liveness","purpose":"login"}`)
	wantReasons(t, a, 401, "caller_unauthenticated")
	if a.text("field") != field {
		t.Errorf("refused for %q, want %q", a.text("field"), field)
	}
}

// testClock is a clock that is set by hand.
type testClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *testClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *testClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}
