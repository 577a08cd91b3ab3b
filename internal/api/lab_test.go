package api_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/store"
)

// lab is an issuer of which these tests hold the keys, so that they can sign whatever they like, and the backend of
// its customer. It is reached over real HTTP, and can be away.
type lab struct {
	t        *testing.T
	now      func() time.Time
	rsa      *rsa.PrivateKey
	ec       *ecdsa.PrivateKey
	url      string // its iss
	mu       sync.Mutex
	down     bool
	kids     []string // kids of the RSA key that are published
	fetches  int
	lookups  string // what the backend answers
	opaque   string // what introspection answers
	asked    int
	lookedUp int
}

// labRSA is made once: it takes its time.
var labRSA = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func newLab(t *testing.T, now func() time.Time) *lab {
	t.Helper()
	l := &lab{t: t, now: now, kids: []string{"r1"}, lookups: `{"cpf":null}`, opaque: `{"active":false}`}
	var err error
	if l.rsa, err = labRSA(); err != nil {
		t.Fatal(err)
	}
	if l.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(l)
	t.Cleanup(server.Close)
	l.url = server.URL
	return l
}

func (l *lab) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	switch {
	case l.down:
		w.WriteHeader(http.StatusInternalServerError)
	case r.URL.Path == "/.well-known/openid-configuration":
		answer(map[string]any{"issuer": l.url, "jwks_uri": l.url + "/keys"})
	case r.URL.Path == "/keys":
		l.fetches++
		n := b64(l.rsa.N.Bytes())
		point, err := l.ec.PublicKey.Bytes()
		if err != nil {
			l.t.Error(err)
		}
		keys := []map[string]string{{"kty": "EC", "crv": "P-256", "kid": "e1", "x": b64(point[1:33]), "y": b64(point[33:])}}
		for _, kid := range l.kids {
			keys = append(keys, map[string]string{"kty": "RSA", "kid": kid, "n": n, "e": "AQAB"})
		}
		answer(map[string]any{"keys": keys})
	case r.URL.Path == "/cpf":
		l.lookedUp++
		_, _ = w.Write([]byte(l.lookups))
	case r.URL.Path == "/introspect":
		l.asked++
		_, _ = w.Write([]byte(l.opaque))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwt signs a payload. how is RS256, PS256, ES256, none, or HS256: an HMAC under the public key, which everybody has.
func (l *lab) jwt(how, kid, payload string) string {
	head := b64([]byte(fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"JWT"}`, how, kid))) + "." + b64([]byte(payload))
	sum := sha256.Sum256([]byte(head))
	var signature []byte
	var err error
	switch how {
	case "none":
	case "HS256":
		public, failed := x509.MarshalPKIXPublicKey(&l.rsa.PublicKey)
		if failed != nil {
			l.t.Fatal(failed)
		}
		mac := hmac.New(sha256.New, public)
		mac.Write([]byte(head))
		signature = mac.Sum(nil)
	case "RS256":
		signature, err = rsa.SignPKCS1v15(nil, l.rsa, crypto.SHA256, sum[:])
	case "PS256":
		signature, err = rsa.SignPSS(rand.Reader, l.rsa, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case "ES256":
		signature = make([]byte, 64)
		x, y, failed := ecdsa.Sign(rand.Reader, l.ec, sum[:])
		if err = failed; err == nil {
			x.FillBytes(signature[:32])
			y.FillBytes(signature[32:])
		}
	default:
		l.t.Fatalf("cannot sign with %s", how)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return head + "." + b64(signature)
}

// user is a payload of somebody's, with some members changed: a JSON object whose nulls take members away.
func (l *lab) user(sub string, cpf selo.CPF, now int64, change string) string {
	claims := map[string]any{"iss": l.url, "aud": "lab-app", "sub": sub, "azp": "lab-mobile", "iat": now, "exp": now + 900,
		"cpf": cpf.Digits(), "acr": "1", "amr": []string{"pwd"}, "auth_time": now}
	var changes map[string]any
	if err := json.Unmarshal([]byte(change), &changes); err != nil {
		l.t.Fatalf("%s: %v", change, err)
	}
	for name, value := range changes {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	text, err := json.Marshal(claims)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(text)
}

// app is the lab's app, which uses everything that there is to say who may ask.
func (l *lab) app() (policy.App, broker.App) {
	lookup, err := policy.NewLookup(policy.LookupConfig{URL: l.url + "/cpf", Secret: lookupSecret, Now: l.now})
	if err != nil {
		l.t.Fatal(err)
	}
	rules, err := policy.CompileRules(policy.RulesConfig{
		Products: []string{"caf/face-liveness", "caf/face-authentication"}, Purposes: []string{"login", "transfer", "onboarding"},
		Claims: map[string]policy.ClaimType{"roles": policy.ClaimStrings},
		Rules: []policy.Rule{
			{Name: "second-factor", Purposes: []string{"transfer"}, Allow: `caller.kind == "service" || amr_has("otp") && signed_in_within("15m")`},
			{Name: "blocked", Deny: `has(claims.roles) && "blocked" in claims.roles`},
			{Name: "tried-out", Deny: `has(claims.roles) && "watched" in claims.roles`, Observe: true},
		},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	caller := policy.App{Name: "lab", Issuer: l.url, Audience: "lab-app", AuthorizedParties: []string{"lab-mobile"},
		Claims:        map[string]policy.Claim{"roles": {Path: "/realm_access/roles", Type: policy.ClaimStrings}},
		Introspection: &policy.Introspection{URL: l.url + "/introspect", ClientID: "selo", ClientSecret: introspectionSecret}}
	return caller, broker.App{Name: "lab", Environment: selo.EnvironmentSandbox, CPFLookup: lookup, Rules: rules,
		Products: []string{"caf/face-liveness", "caf/face-authentication"}, Exchanged: []string{"caf/face-liveness"},
		Purposes: map[string]broker.Purpose{"login": {Assurance: selo.AssurancePresence}, "transfer": {},
			"onboarding": {Assurance: selo.AssurancePresence, SignUp: true}}}
}

// grant adds a credential with a key that the tests know.
func (h *house) grant(kind store.CredentialKind, name, app, key string, mapped bool, scopes ...string) {
	h.t.Helper()
	hash, id, err := policy.HashAPIKey(key)
	if err != nil {
		h.t.Fatal(err)
	}
	err = h.store.AddCredential(context.Background(), store.Credential{ID: id, Kind: kind, Name: name, App: app, Scopes: scopes, MapSubjects: mapped,
		KeyHash: hash, CreatedAt: start, ExpiresAt: start.AddDate(1, 0, 0)}, store.Audit{})
	if err != nil {
		h.t.Fatal(err)
	}
}

// revoke revokes a service's API key.
func (h *house) revoke(name string) {
	_, id, err := policy.HashAPIKey(apiKeys[name])
	if err == nil {
		_, err = h.store.RevokeCredential(context.Background(), store.CredentialService, id, h.clock.Now(), store.Audit{})
	}
	if err != nil {
		h.t.Error(err)
	}
}
