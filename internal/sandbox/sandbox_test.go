package sandbox_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/sandbox"
	"github.com/selo-id/selo/internal/transcript"
)

func TestMain(m *testing.M) {
	transcript.Secret(bothSecret)
	transcript.Secret(smartSecret)
	transcript.Secret(allSecret)
	transcript.Secret(apiToken)
	transcript.Secret(hookSecret)
	transcript.CPF(ana)
	transcript.CPF(bruno)
	os.Exit(transcript.Main(m))
}

const (
	bothClient  = "64b7f3c2a1d0e9f8b7a6c5d4" // activated for both products
	bothSecret  = "a sandbox secret of more than 32 bytes"
	aliveClient = "64b7f3c2a1d0e9f8b7a6c5d5" // activated for face liveness
	aliveSecret = "short one"
	smartClient = "64b7f3c2a1d0e9f8b7a6c5d6" // activated for Smart Auth
	smartSecret = "the secret of the identity key, long enough"
	allClient   = "64b7f3c2a1d0e9f8b7a6c5d7" // activated for everything
	allSecret   = "the secret of the key that may do everything"

	apiToken   = "the API token of the whole account"
	hookSecret = "the secret of the webhook and of nothing else"

	ana   = "52998224725"
	bruno = "11144477735"
)

var at = time.Unix(1700000000, 0)

func testConfig(log *slog.Logger) sandbox.Config {
	return sandbox.Config{
		Keys: []sandbox.Key{
			{ClientID: bothClient, Secret: []byte(bothSecret), Products: []string{"caf/face-liveness", "caf/face-authentication"}},
			{ClientID: aliveClient, Secret: []byte(aliveSecret), Products: []string{"caf/face-liveness"}},
			{ClientID: smartClient, Secret: []byte(smartSecret), Products: []string{"caf/smart-auth"}},
			{ClientID: allClient, Secret: []byte(allSecret), Products: []string{
				"caf/face-liveness", "caf/face-authentication", "caf/document-detection", "caf/smart-auth"}},
		},
		APIToken: []byte(apiToken),
		Now:      func() time.Time { return at },
		Log:      log,
	}
}

// newSandbox returns a sandbox at the fixed time, and what it logs.
func newSandbox(t testing.TB) (*sandbox.Sandbox, *bytes.Buffer) {
	t.Helper()
	return newSandboxWith(t, func(*sandbox.Config) {})
}

func newSandboxWith(t testing.TB, change func(*sandbox.Config)) (*sandbox.Sandbox, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	cfg := testConfig(slog.New(slog.NewJSONHandler(transcript.LogTo(&log), nil)))
	change(&cfg)
	s, err := sandbox.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s, &log
}

func mustCPF(t testing.TB, s string) selo.CPF {
	t.Helper()
	cpf, err := selo.ParseCPF(s)
	if err != nil {
		t.Fatal(err)
	}
	return cpf
}

// payload is {"iss":bothClient,"exp":…} with more, which begins with a comma.
func payload(more string) string {
	return fmt.Sprintf(`{"iss":%q,"exp":%d%s}`, bothClient, at.Unix()+60, more)
}

func sign(payload string) string {
	return sandbox.Sign([]byte(bothSecret), []byte(sandbox.HS256Header), []byte(payload))
}

func body(person string, outcome sandbox.Outcome) string {
	return fmt.Sprintf(`{"personId":%q,"outcome":%q}`, person, outcome)
}

// post sends one request and checks what is so of every answer.
func post(t testing.TB, h http.Handler, path, body string, authorization ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	for _, a := range authorization {
		r.Header.Add("Authorization", a)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	_, _ = transcript.ReplyTo(io.Discard).Write(w.Body.Bytes())
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control = %q, want no-store", got)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type = %q, want application/json", got)
	}
	return w
}

// send sends one request with any headers, given as name and value, and returns any answer.
func send(t testing.TB, h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for header := range slices.Chunk(headers, 2) {
		r.Header.Add(header[0], header[1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK { // records and the mobile API name people when all is well: that is what they are for
		_, _ = transcript.ReplyTo(io.Discard).Write(w.Body.Bytes())
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control = %q, want no-store", got)
	}
	return w
}

// wantOK checks an answer that is JSON and returns it.
func wantOK(t testing.TB, w *httptest.ResponseRecorder) (answer map[string]any) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("got %d %v %s (%v), want 200 and JSON", w.Code, w.Header(), w.Body, err)
	}
	return answer
}

// signAs makes a mobile token of a client, with more, which begins with a comma.
func signAs(client, secret, more string) string {
	return sandbox.Sign([]byte(secret), []byte(sandbox.HS256Header), fmt.Appendf(nil, `{"iss":%q,"exp":%d%s}`, client, at.Unix()+60, more))
}

type refusal struct{ Error, Message string }

func wantRefusal(t testing.TB, w *httptest.ResponseRecorder, status int, code, message string) {
	t.Helper()
	var got refusal
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("answer is not JSON: %v: %s", err, w.Body)
	}
	if w.Code != status || got.Error != code || !strings.Contains(got.Message, message) {
		t.Errorf("got %d %q %q, want %d %q with %q", w.Code, got.Error, got.Message, status, code, message)
	}
}

func TestNewRefusesContradictions(t *testing.T) {
	good := sandbox.Key{ClientID: "one", Secret: []byte("hush-hush"), Products: []string{"caf/face-liveness"}}
	with := func(change func(*sandbox.Key)) []sandbox.Key {
		k := good
		change(&k)
		return []sandbox.Key{k}
	}
	for _, tt := range []struct {
		name string
		keys []sandbox.Key
		want string
	}{
		{"no keys", nil, "Keys is empty"},
		{"same client twice", []sandbox.Key{good, good}, "named twice"},
		{"no client ID", with(func(k *sandbox.Key) { k.ClientID = "" }), "ClientID"},
		{"long client ID", with(func(k *sandbox.Key) { k.ClientID = strings.Repeat("x", 257) }), "ClientID"},
		{"client ID not UTF-8", with(func(k *sandbox.Key) { k.ClientID = "\xff" }), "ClientID"},
		{"no secret", with(func(k *sandbox.Key) { k.Secret = nil }), "Secret is empty"},
		{"no products", with(func(k *sandbox.Key) { k.Products = nil }), "no Products"},
		{"short product name", with(func(k *sandbox.Key) { k.Products = []string{"face-liveness"} }), "is not one of"},
		{"unknown product", with(func(k *sandbox.Key) { k.Products = []string{"caf/smart"} }), "is not one of"},
		{"same product twice", with(func(k *sandbox.Key) { k.Products = []string{"caf/face-liveness", "caf/face-liveness"} }), "named twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := sandbox.New(sandbox.Config{Keys: tt.keys})
			if err == nil || s != nil {
				t.Fatalf("got %v, %v; want an error alone", s, err)
			}
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hush") {
				t.Errorf("error %q: want %q, and no secret", err, tt.want)
			}
		})
	}
	if _, err := sandbox.New(sandbox.Config{Keys: []sandbox.Key{good}}); err != nil {
		t.Errorf("zero Now and Log: %v", err)
	}
}

func TestNewCopiesKeys(t *testing.T) {
	cfg := testConfig(nil)
	s, err := sandbox.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	clear(cfg.Keys[0].Secret)
	clear(cfg.Keys[0].Products)
	if w := post(t, s, "/sdk/caf/face-liveness", body(ana, sandbox.OutcomeApprove), sign(payload(""))); w.Code != http.StatusOK {
		t.Errorf("after the caller wiped its key: %d %s", w.Code, w.Body)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	cfg := testConfig(nil)
	cfg.Webhooks = []sandbox.Webhook{{URL: "http://127.0.0.1:9/", Secret: []byte(hookSecret)}}
	s, err := sandbox.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	// What is remembered of people must not be seen either, nor what waits for them: one event in the queue,
	// one held back.
	queue(t, s, `{"path":"/sdk","fault":"out-of-order"}`)
	for range 2 {
		post(t, s, authentication, body(ana, sandbox.OutcomeApprove), sign(payload("")))
	}
	queue(t, s, `{"path":"/sdk","fault":"out-of-order"}`)
	post(t, s, authentication, body(ana, sandbox.OutcomeApprove), sign(payload("")))
	wantOK(t, send(t, s, "POST", "/faces/register", `{"peopleId":"52998224725","imageUrl":"https://a.invalid/"}`, "Authorization", sign(payload(""))))

	var out bytes.Buffer
	// Bug, found here: of a pointer in an unexported field, fmt shows only the address under %v, but all
	// that it points to under %s and %q.
	holder := struct{ s *sandbox.Sandbox }{s}
	for _, v := range []any{cfg.Keys[0], &cfg.Keys[0], cfg.Keys, cfg.Webhooks[0], cfg.APIToken, cfg, s, *s, holder} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			_, _ = fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
	}
	out.WriteString(cfg.Keys[0].String() + cfg.Webhooks[0].String() + cfg.APIToken.String())
	for _, secret := range []string{bothSecret, smartSecret, apiToken, hookSecret, ana} {
		for _, form := range []string{secret, fmt.Sprintf("%x", secret), strings.Trim(fmt.Sprint([]byte(secret)), "[]"), strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(secret)), "[]byte{"), "}")} {
			if strings.Contains(out.String(), form) {
				t.Errorf("printed as %q", form)
			}
		}
	}
	// The control: what is no secret is there, so a secret would have been seen.
	if !strings.Contains(out.String(), bothClient) || !strings.Contains(out.String(), "http://127.0.0.1:9/") {
		t.Error("nothing at all was printed of what the sandbox holds")
	}
	for _, v := range []interface {
		MarshalBinary() ([]byte, error)
	}{cfg.Keys[0], cfg.Webhooks[0], cfg.APIToken} {
		if b, err := json.Marshal(v); err == nil {
			t.Errorf("marshalled to %s", b)
		}
		if b, err := v.MarshalBinary(); err == nil {
			t.Errorf("marshalled to %q", b)
		}
	}
}

func TestPathsAndMethods(t *testing.T) {
	s, _ := newSandbox(t)
	for _, tt := range []struct {
		method, path string
		status       int
		code, allow  string
	}{
		{"GET", "/healthz", 200, "", ""},
		{"HEAD", "/healthz", 200, "", ""},
		{"POST", "/healthz", 405, "method_not_allowed", "GET"},
		{"GET", "/sdk/caf/face-liveness", 405, "method_not_allowed", "POST"},
		{"PUT", "/sdk/caf/face-liveness", 405, "method_not_allowed", "POST"},
		{"GET", "/", 404, "not_found", ""},
		{"POST", "/sdk/caf", 404, "not_found", ""},
		{"POST", "/sdk/caf/face-liveness/more", 404, "not_found", ""},
		{"POST", "/sdk/caf/smart", 404, "product_unknown", ""},
		{"POST", "/sdk/caf/smart-auth/1/2", 404, "not_found", ""},
		{"GET", "/sdk/caf/smart-auth/1", 405, "method_not_allowed", "POST"},
		{"POST", "/bff/session-tokens", 405, "method_not_allowed", "GET"},
		{"GET", "/faces/liveness", 405, "method_not_allowed", "POST"},
		{"GET", "/faces", 404, "not_found", ""},
		{"POST", "/authentications/1", 405, "method_not_allowed", "GET"},
		{"GET", "/authentications/", 404, "not_found", ""},
		{"DELETE", "/v1/faces/attempts/1", 405, "method_not_allowed", "GET"},
		{"GET", "/_sandbox/faults", 200, "", ""},
		{"PUT", "/_sandbox/faults", 405, "method_not_allowed", "GET"},
		{"GET", "/_sandbox/reset", 405, "method_not_allowed", "POST"},
		{"POST", "/_sandbox/requests", 405, "method_not_allowed", "GET"},
		{"POST", "/_sandbox/elsewhere", 200, "", ""},
		{"GET", "/_sandbox", 404, "not_found", ""},
		{"POST", "/sdk/caf/Face-Liveness", 404, "product_unknown", ""},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
			if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Allow") != tt.allow {
				t.Errorf("headers %v, want no-store and Allow %q", w.Header(), tt.allow)
			}
			if tt.status == http.StatusOK {
				if diff := cmp.Diff(tt.status, w.Code); diff != "" {
					t.Error(diff)
				}
				return
			}
			wantRefusal(t, w, tt.status, tt.code, "")
		})
	}
}

func TestConcurrentUse(t *testing.T) {
	s, err := sandbox.New(testConfig(nil))
	if err != nil {
		t.Fatal(err)
	}
	p := newIdentityProvider(t)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if w := post(t, s, "/sdk/caf/face-liveness", body(ana, sandbox.OutcomeApprove), sign(payload(""))); w.Code != http.StatusOK {
				t.Errorf("sandbox: %d", w.Code)
			}
			if w := post(t, p, "/idp/token", `{"user":"ana"}`); w.Code != http.StatusOK {
				t.Errorf("identity provider: %d", w.Code)
			}
		})
	}
	all.Wait()
}
