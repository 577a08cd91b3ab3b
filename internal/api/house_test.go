package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/api"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/keyring"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/provider"
	"github.com/selo-id/selo/internal/sandbox"
	"github.com/selo-id/selo/internal/seal"
	"github.com/selo-id/selo/internal/store"
	"github.com/selo-id/selo/internal/transcript"
)

const (
	issuer   = "https://sign-in.bank.test"
	audience = "bank-app"
	seloIss  = "https://selo.bank.test"

	panicMessage = "the clock fell off the wall"
)

var start = time.Date(2026, 1, 2, 15, 4, 5, 123456000, time.UTC)

// clock stands still until a test moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// house is the API on a real port, with everything that it stands on and talks to.
type house struct {
	t        *testing.T
	path     string // of the database
	url      string
	handler  http.Handler
	clock    *clock
	store    *store.Store
	broken   atomic.Bool // the broker's clock panics
	provider *sandbox.Sandbox
	cafURL   string // of provider
	idps     map[string]*sandbox.IdentityProvider
	lab      *lab
	client   *http.Client
}

type settings struct {
	limits   []store.Limit            // nil: the default
	products map[string][]store.Limit // of the bank
	daily    map[string]int
	trusted  []string // proxies
	attempts int
}

func newHouse(t *testing.T, s settings) *house {
	t.Helper()
	dir := t.TempDir()
	h := &house{t: t, path: filepath.Join(dir, "selo.db"), clock: &clock{now: start}, idps: make(map[string]*sandbox.IdentityProvider)}
	log := slog.New(slog.NewJSONHandler(transcript.Log(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	// Two issuers' apps, and who is not theirs: one signs for another audience, one with another key. The keys
	// of far cannot be had.
	users := map[string]sandbox.User{"ana": {CPF: anaCPF}, "bruno": {CPF: brunoCPF}, "carla": {}}
	for name, aud := range map[string]string{"bank": audience, "other audience": "other-app", "impostor": audience, "shop": "shop-app", "far": "far-app", "neo": "neo-app"} {
		iss := issuer
		if name == "far" {
			iss = "https://far.bank.test"
		}
		idp, err := sandbox.NewIdentityProvider(sandbox.IdentityProviderConfig{Issuer: iss, Audience: aud, Users: users, Now: h.clock.Now})
		must(err)
		h.idps[name] = idp
	}
	app := func(name, aud, idp string) policy.App {
		file := filepath.Join(dir, name+".json")
		must(os.WriteFile(file, call(h.idps[idp], "GET", "/idp/jwks.json", "", ""), 0o600))
		return policy.App{Name: name, Issuer: issuer, Audience: aud, JWKSFile: file}
	}
	h.lab = newLab(t, h.clock.Now)
	labCallers, labApp := h.lab.app()
	callers, err := policy.New(ctx, policy.Config{
		Apps: []policy.App{app("bank", audience, "bank"), app("shop", "shop-app", "shop"), app("neo", "neo-app", "neo"), labCallers,
			{Name: "far", Issuer: "https://far.bank.test", Audience: "far-app", JWKSURL: "http://127.0.0.1:1/jwks.json"}},
		Now: h.clock.Now, Log: log,
	})
	must(err)

	const liveness, faceAuth, smartAuth, documents = "caf/face-liveness", "caf/face-authentication", "caf/smart-auth", "caf/document-detection"
	h.provider, err = sandbox.New(sandbox.Config{Now: h.clock.Now, Log: log, APIToken: sandbox.APIToken(cafToken), Keys: []sandbox.Key{
		{ClientID: "client-liveness", Secret: livenessSecret, Products: []string{liveness}},
		{ClientID: "client-faceauth", Secret: faceAuthSecret, Products: []string{faceAuth}},
		{ClientID: "client-smart", Secret: smartSecret, Products: []string{smartAuth}},
		{ClientID: "client-documents", Secret: documentSecret, Products: []string{documents}},
	}})
	must(err)
	served := httptest.NewUnstartedServer(h.provider)
	served.Config.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	served.Start()
	t.Cleanup(served.Close)
	h.cafURL = served.URL
	client, err := provider.New(provider.Config{SessionURL: h.cafURL, IdentityURL: h.cafURL, FacesURL: h.cafURL, APIToken: cafToken,
		Timeout: time.Second, Now: h.clock.Now, Log: log})
	must(err)
	hook, err := selo.NewSecret(webhookSecret)
	must(err)
	h.store, err = store.Open(ctx, h.path)
	must(err)
	kek, err := seal.NewKEK(kekMaterial)
	must(err)
	keeper, err := seal.NewKeeper(kek)
	must(err)
	must(keyring.ImportPepper(ctx, h.store, keeper, 1, bytes.Clone(pepper), store.Audit{At: start}))
	ring, peppers, err := keyring.Open(ctx, h.store, keeper)
	must(err)
	accessKey := func(id string, raw []byte, env selo.Environment, product string) {
		k := store.AccessKey{ClientID: id, Environment: env, Products: []string{product}, State: store.KeyActive, CreatedAt: start, ActivatedAt: start}
		must(ring.SealKey(ctx, &k, bytes.Clone(raw)))
		must(h.store.AddKey(ctx, k, store.Audit{}))
	}
	accessKey("client-liveness", livenessSecret, selo.EnvironmentSandbox, liveness)
	accessKey("client-faceauth", faceAuthSecret, selo.EnvironmentSandbox, faceAuth)
	accessKey("client-smart", smartSecret, selo.EnvironmentSandbox, smartAuth)
	accessKey("client-documents", documentSecret, selo.EnvironmentSandbox, documents)
	accessKey("client-shop", shopSecret, selo.EnvironmentProduction, liveness)
	t.Cleanup(func() { _ = h.store.Close() })
	for _, s := range []struct {
		name, app string
		mapped    bool
		scopes    []string
	}{
		{"backend", "bank", false, []string{policy.ScopeSessionsOpen, policy.ScopeSessionsRead}},
		{"opener", "bank", false, []string{policy.ScopeSessionsOpen}},
		{"reader", "bank", false, []string{policy.ScopeSessionsRead}},
		{"mapped", "bank", true, []string{policy.ScopeSessionsOpen}},
		{"shop-backend", "shop", false, []string{policy.ScopeSessionsOpen, policy.ScopeSessionsRead}},
		{"lab-backend", "lab", true, []string{policy.ScopeSessionsOpen}},
	} {
		h.grant(store.CredentialService, s.name, s.app, apiKeys[s.name], s.mapped, s.scopes...)
	}
	for _, name := range policy.Scopes(store.CredentialOperator) {
		h.grant(store.CredentialOperator, name, "", apiKeys[name], false, name)
	}
	callers.UseStore(h.store)
	trusted, err := api.ParseTrustedProxies(s.trusted)
	must(err)

	all := []string{liveness, faceAuth, smartAuth, documents}
	purposes := map[string]broker.Purpose{"login": {Assurance: selo.AssurancePresence}, "new-device": {Assurance: selo.AssuranceMatch},
		"pay": {Assurance: selo.AssuranceKnownContext}, "transfer": {Assurance: selo.AssuranceReauthenticated},
		"confirmed": {Assurance: selo.AssurancePresence, Recheck: broker.RecheckAlways}, "documents": {Capture: true}}
	b, err := broker.New(ctx, broker.Config{
		Issuer: seloIss,
		Apps: []broker.App{
			{Name: "bank", Environment: selo.EnvironmentSandbox, Products: all, PolicyID: "policy-1", Purposes: purposes, Limits: s.products},
			labApp,
			{Name: "neo", Environment: selo.EnvironmentSandbox, Products: []string{liveness, faceAuth, documents},
				Exchanged: []string{liveness, faceAuth, documents}, Purposes: map[string]broker.Purpose{"login": purposes["login"], "new-device": {}, "documents": {Capture: true}}},
			{Name: "shop", Environment: selo.EnvironmentProduction, Products: []string{liveness}, Purposes: map[string]broker.Purpose{"login": {Assurance: selo.AssurancePresence}}},
		},
		Providers: map[selo.Environment]*provider.Client{selo.EnvironmentSandbox: client},
		Webhooks:  []broker.Webhook{{Name: "console", Environment: selo.EnvironmentSandbox, Secret: hook}},
		Keys:      ring, Peppers: peppers, ReceiptKey: receiptKey, Store: h.store,
		MaxAttempts: s.attempts, Limits: s.limits, Daily: s.daily, Log: log,
		Now: func() time.Time {
			if h.broken.Load() {
				panic(panicMessage)
			}
			return h.clock.Now()
		},
	})
	must(err)
	h.handler, err = api.New(api.Config{Broker: b, Callers: callers, ReceiptKeys: receiptKey.Public(), TrustedProxies: trusted, Now: h.clock.Now, Log: log})
	must(err)
	server := httptest.NewUnstartedServer(h.handler)
	server.Config.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	server.Start()
	t.Cleanup(server.Close)
	h.url = server.URL
	h.client = transcript.Client(&http.Client{
		Transport:     &checked{t: t, base: &http.Transport{MaxIdleConnsPerHost: 64}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	return h
}

// call asks a handler in this process; its answer is not the API's and so is not recorded.
func call(handler http.Handler, method, path, authorization, body string) []byte {
	r := httptest.NewRequestWithContext(context.Background(), method, path, strings.NewReader(body))
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		panic(fmt.Sprintf("%s %s: %d %s", method, path, w.Code, w.Body))
	}
	return w.Body.Bytes()
}

func field(document []byte, name string) string {
	var m map[string]any
	if err := json.Unmarshal(document, &m); err != nil {
		panic(err)
	}
	return m[name].(string)
}

// credential is the Authorization header of a caller by name.
func (h *house) credential(who string) string {
	if key, ok := apiKeys[who]; ok {
		return "Bearer " + key
	}
	user, idp, _ := strings.Cut(who, "@")
	if idp == "" {
		idp = "bank"
	}
	provider, ok := h.idps[strings.ReplaceAll(idp, "-", " ")]
	if !ok {
		h.t.Fatalf("no caller %q", who)
	}
	return "Bearer " + field(call(provider, "POST", "/idp/token", "", `{"user":"`+user+`"}`), "access_token")
}

// sdk runs the SDK on the phone of somebody.
func (h *house) sdk(mobileToken, product string, cpf selo.CPF, outcome string) string {
	return field(call(h.provider, "POST", "/sdk/"+product, mobileToken, `{"personId":"`+cpf.Digits()+`","outcome":"`+outcome+`"}`), "signedResponse")
}

// answer is what came back over HTTP.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) text() string {
	var b bytes.Buffer
	_ = a.header.Write(&b)
	return b.String() + string(a.body)
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(a.body, &m); err != nil {
		t.Fatalf("the body is no JSON object: %v\n%s", err, a.body)
	}
	return m
}

// send sends one request. who "" sends no credential.
func (h *house) send(method, path, who, body string, header http.Header) answer {
	h.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	if who != "" {
		r.Header.Set("Authorization", h.credential(who))
	}
	return h.do(r)
}

func (h *house) do(r *http.Request) answer {
	h.t.Helper()
	resp, err := h.client.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		h.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, b.Bytes()}
}

// opened opens a session and returns its id and mobile token.
func (h *house) opened(who, product, purpose string) (id, mobile string) {
	h.t.Helper()
	body := map[string]string{"product": product, "purpose": purpose}
	if _, service := apiKeys[who]; service {
		body["subject"], body["cpf"] = "customer-81", anaCPF.Digits()
	}
	text, err := json.Marshal(body)
	if err != nil {
		h.t.Fatal(err)
	}
	a := h.send("POST", "/v1/sessions", who, string(text), nil)
	if a.status != http.StatusCreated {
		h.t.Fatalf("opening: %d %s", a.status, a.body)
	}
	m := a.json(h.t)
	return m["session_id"].(string), m["tokens"].(map[string]any)["mobile"].(string)
}
