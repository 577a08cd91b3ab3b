package broker_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/keyring"
	"github.com/selo-id/selo/internal/provider"
	"github.com/selo-id/selo/internal/transcript"
)

const (
	smartAuth = "caf/smart-auth"
	documents = "caf/document-detection"
	policyID  = "policy-of-these-tests"
)

var apiToken = plant(randomHex())

// caf answers calls as a test says. What comes out of it is taken by the real client over real HTTP.
type caf struct {
	mu sync.Mutex
	// answers by path, "*" for all others; status 200 unless the text begins with "!404 " or the like.
	answers map[string]string
	calls   []string // path and, after a space, whether it was authorised: ours or not
	before  func()   // runs within a call
}

func (c *caf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	answer, ok := c.answers[r.URL.Path]
	if !ok {
		answer, ok = c.answers["*"]
	}
	credential := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	c.calls = append(c.calls, r.URL.Path)
	before := c.before
	c.mu.Unlock()
	if before != nil {
		before()
	}
	switch {
	case credential != string(apiToken) && strings.Count(credential, ".") != 2:
		http.Error(w, "", http.StatusUnauthorized)
	case !ok:
		http.Error(w, "", http.StatusNotFound)
	case strings.HasPrefix(answer, "!"):
		if answer == "!429" {
			w.Header().Set("Retry-After", "7")
		}
		http.Error(w, "", map[string]int{"!400": 400, "!401": 401, "!403": 403, "!404": 404, "!429": 429, "!500": 500}[answer])
	default:
		_, _ = w.Write([]byte(strings.ReplaceAll(answer, "{credential}", credential)))
	}
}

func (c *caf) say(path, answer string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[path] = answer
}

func (c *caf) called() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls)
}

// cafHouse is a house whose bank has every product: the faces exchanged or not, Smart Auth, documents; and a provider
// that can be asked everything.
func cafHouse(t testing.TB, change ...func(*broker.Config)) (*house, *caf) {
	t.Helper()
	c := &caf{answers: make(map[string]string)}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	clock := &clock{now: start}
	client, err := provider.New(provider.Config{SessionURL: server.URL, IdentityURL: server.URL, FacesURL: server.URL, APIToken: apiToken, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	all := func(cfg *broker.Config) {
		cfg.Keys = ring(t, append(defaultKeys(),
			key("sbx-smart", selo.EnvironmentSandbox, smartAuth), key("sbx-documents", selo.EnvironmentSandbox, documents))...)
		cfg.Providers, cfg.Now = map[selo.Environment]*provider.Client{selo.EnvironmentSandbox: client}, clock.Now
		bank := &cfg.Apps[0]
		bank.Products = []string{liveness, faceAuth, smartAuth, documents}
		bank.PolicyID = policyID
		bank.Purposes = map[string]broker.Purpose{
			"login": {Assurance: selo.AssurancePresence}, "new-device": {Assurance: selo.AssuranceMatch},
			"pay":      {Assurance: selo.AssuranceKnownContext, PolicyID: "policy-of-payments"},
			"transfer": {Assurance: selo.AssuranceReauthenticated}, "audit": {Assurance: selo.AssurancePresence, Recheck: broker.RecheckAlways},
			"offline": {Assurance: selo.AssurancePresence, Recheck: broker.RecheckNever}, "onboarding": {Capture: true},
		}
	}
	h := newHouse(t, append([]func(*broker.Config){all}, change...)...)
	h.clock = clock
	return h, c
}

func exchanged(products ...string) func(*broker.Config) {
	return func(cfg *broker.Config) { cfg.Apps[0].Exchanged = products }
}

// attestation is an approval by Smart Auth after a challenge, made now.
func (h *house) attestation(cpf selo.CPF) payload {
	now := h.clock.Now().Unix()
	return payload{"attemptId": string(randomHex()[:24]), "peopleId": cpf.Digits(), "policyId": policyID,
		"isAuthorized": true, "isNewContext": true, "iat": now, "exp": now + 120}
}

// record is what Smart Auth's own record says, with a face check that matched.
func record(cpf selo.CPF, change ...func(map[string]any)) string {
	r := map[string]any{
		"status": "approved", "identity": map[string]any{"personId": cpf.Digits()}, "policy": map[string]any{"policyId": policyID},
		"authenticationMethods": map[string]any{"face_authentication": map[string]any{"attempts": []any{
			map[string]any{"liveness": map[string]any{"isAlive": true}, "faceMatch": map[string]any{"isMatch": true}},
		}}},
	}
	for _, c := range change {
		c(r)
	}
	text, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func (h *house) faceRecord(id string, cpf selo.CPF, match bool) string {
	text, err := json.Marshal(map[string]any{"requestId": "r", "data": map[string]any{"id": id, "createdAt": h.clock.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		"personId": cpf.Digits(), "liveness": map[string]any{"isAlive": true}, "faceMatch": map[string]any{"isFaceMatch": match}, "isMatch": match}})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// answerWith is decide for an answer in another form.
func (h *house) answerWith(id string, a broker.Answer) (*broker.Session, error) {
	h.t.Helper()
	s, err := h.Decide(context.Background(), ana(), id, a, thisTest)
	if (s == nil) == (err == nil) {
		h.t.Fatalf("exactly one of session and error must be nil: %v, %v", s != nil, err)
	}
	return s, transcript.Error(err)
}

func cafKey(clientID string) keyring.Key {
	for _, k := range append(defaultKeys(), key("sbx-smart", selo.EnvironmentSandbox, smartAuth)) {
		if k.ClientID == clientID {
			return k
		}
	}
	panic(clientID)
}
