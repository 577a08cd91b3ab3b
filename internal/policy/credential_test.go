package policy

import (
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

func TestServices(t *testing.T) {
	var services []Service
	var keys []string
	for i, name := range []string{"backend", "reader", "mapped"} {
		key, err := NewAPIKey()
		if err != nil {
			t.Fatal(err)
		}
		hash, err := HashAPIKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256([]byte(key)); string(hash) != string(sum[:]) {
			t.Error("HashAPIKey is not SHA-256")
		}
		keys = append(keys, transcript.Secret(key))
		services = append(services, Service{Name: name, App: "bank", KeySHA256: hash,
			Scopes: []string{ScopeSessionsOpen, ScopeSessionsRead}[i%2 : i%2+1], MapSubjects: name == "mapped"})
	}
	a := mustNew(t, Config{Apps: []App{bankApp(t, jwksOf(t, edSigner(t, "a")))}, Services: services})
	services[0].Scopes[0] = "changed after New"
	services[0].KeySHA256[0] ^= 1

	for i, want := range []Caller{
		{Kind: KindService, App: "bank", Issuer: testIssuer, Name: "backend", Scopes: []string{ScopeSessionsOpen}},
		{Kind: KindService, App: "bank", Issuer: testIssuer, Name: "reader", Scopes: []string{ScopeSessionsRead}},
		{Kind: KindService, App: "bank", Issuer: testIssuer, Name: "mapped", Scopes: []string{ScopeSessionsOpen}, MapSubjects: true},
	} {
		for range 2 { // the second time to see that a caller cannot change the next
			got, err := bearer(t.Context(), a, keys[i])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&want, got, cmp.Comparer(func(a, b selo.CPF) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
			issuer := map[bool]string{true: testIssuer, false: "service:" + want.Name}[want.MapSubjects]
			if got.SubjectIssuer() != issuer {
				t.Errorf("SubjectIssuer is %q, want %q", got.SubjectIssuer(), issuer)
			}
			if got.Has(ScopeSessionsOpen) == got.Has(ScopeSessionsRead) || got.Has("") || got.Has("admin") {
				t.Errorf("wrong answers of Has for %q", got.Scopes)
			}
			got.Scopes[0] = "admin"
		}
	}

	other, err := NewAPIKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]string{
		"another key":    other,
		"last character": keys[0][:len(keys[0])-1] + map[bool]string{true: "B", false: "A"}[keys[0][len(keys[0])-1] == 'A'],
		"cut":            keys[0][:len(keys[0])-1],
		"longer":         keys[0] + "A",
		"short":          "selo_sk_" + strings.Repeat("a", 31),
		"too long":       "selo_sk_" + strings.Repeat("a", 257),
		"dot":            keys[0] + ".a.b",
		"other case":     "SELO" + keys[0][4:],
		"the hash":       "selo_sk_" + b64(services[1].KeySHA256),
		"prefix alone":   "selo_sk_",
	} {
		t.Run(name, func(t *testing.T) {
			caller, err := bearer(t.Context(), a, key)
			wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "authorization", key, key[8:])
		})
	}
}

func TestAPIKeyShape(t *testing.T) {
	seen := make(map[string]bool)
	for range 100 {
		key, err := NewAPIKey()
		if err != nil {
			t.Fatal(err)
		}
		if len(key) != len("selo_sk_")+43 || seen[key] {
			t.Fatal("NewAPIKey makes keys of another length, or one twice")
		}
		seen[key] = true
	}
	for _, key := range []string{
		"", "selo_sk_", strings.Repeat("a", 60), "selo_sk_" + strings.Repeat("a", 31), "selo_sk_" + strings.Repeat("a", 257),
		"selo_sk_" + strings.Repeat("a", 40) + "\n", " selo_sk_" + strings.Repeat("a", 40), "selo_sk_" + strings.Repeat("é", 20),
		"selo_sk_" + strings.Repeat("a", 40) + "=", "Selo_sk_" + strings.Repeat("a", 40),
	} {
		if hash, err := HashAPIKey(key); err == nil || hash != nil || len(key) > 10 && strings.Contains(err.Error(), key) {
			t.Errorf("%q: got %x, %v", key, hash, err)
		}
	}
	for _, n := range []int{32, 43, 256} {
		if _, err := HashAPIKey("selo_sk_" + strings.Repeat("-", n)); err != nil {
			t.Error(err)
		}
	}
}

func TestEndUserHasNoScopes(t *testing.T) {
	key := edSigner(t, "a")
	a := mustNew(t, Config{Apps: []App{bankApp(t, jwksOf(t, key))}})
	got, err := bearer(t.Context(), a, key.token(body(map[string]string{"scope": `"sessions:read"`, "scopes": `["sessions:read"]`})))
	if err != nil {
		t.Fatal(err)
	}
	if got.Has(ScopeSessionsRead) || got.Has(ScopeSessionsOpen) || got.SubjectIssuer() != testIssuer {
		t.Errorf("got %+v", got)
	}
}
