package policy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"math/big"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/store"
	"github.com/selo-id/selo/internal/transcript"
)

func openStore(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "selo.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// added adds a credential with an API key and returns both.
func added(t testing.TB, s *store.Store, c store.Credential) (store.Credential, string) {
	t.Helper()
	key := ""
	if c.Certificate == "" {
		key = transcript.Secret(NewAPIKey(c.Kind))
		var err error
		if c.KeyHash, c.ID, err = HashAPIKey(key); err != nil {
			t.Fatal(err)
		}
	}
	c.CreatedAt = start()
	if err := s.AddCredential(t.Context(), c, store.Audit{}); err != nil {
		t.Fatal(err)
	}
	return c, key
}

func TestAPIKeys(t *testing.T) {
	s, clock := openStore(t), newClock()
	a := mustNew(t, Config{Apps: []App{bankApp(t, jwksOf(t, edSigner(t, "a")))}, Now: clock.now})
	year := start().Add(365 * 24 * time.Hour)
	service := func(name string, mapped bool, scopes ...string) store.Credential {
		return store.Credential{Kind: store.CredentialService, Name: name, App: "bank", Scopes: scopes, MapSubjects: mapped, ExpiresAt: year}
	}
	backend, backendKey := added(t, s, service("backend", false, ScopeSessionsOpen))
	_, second := added(t, s, service("backend", false, ScopeSessionsRead))
	_, mapped := added(t, s, service("mapped", true, ScopeSessionsOpen))
	elsewhere := service("lost", false, ScopeSessionsOpen)
	elsewhere.App = "gone"
	_, lost := added(t, s, elsewhere)
	operator := store.Credential{Kind: store.CredentialOperator, Name: "maria", Scopes: []string{ScopeOperator}, ExpiresAt: start().Add(time.Hour)}
	_, maria := added(t, s, operator)

	if _, err := bearer(t.Context(), a, backendKey); err == nil {
		t.Error("authenticated without a store")
	}
	a.UseStore(s)
	for key, want := range map[string]Caller{
		backendKey: {Kind: KindService, App: "bank", Issuer: testIssuer, Name: "backend", Scopes: []string{ScopeSessionsOpen}},
		second:     {Kind: KindService, App: "bank", Issuer: testIssuer, Name: "backend", Scopes: []string{ScopeSessionsRead}},
		mapped:     {Kind: KindService, App: "bank", Issuer: testIssuer, Name: "mapped", Scopes: []string{ScopeSessionsOpen}, MapSubjects: true},
		maria:      {Kind: KindOperator, Name: "maria", Scopes: []string{ScopeViewer, ScopeOperator}},
	} {
		got, err := bearer(t.Context(), a, key)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&want, got, cmp.Comparer(func(a, b selo.CPF) bool { return a == b })); diff != "" {
			t.Error(diff)
		}
		if want.Kind == KindService {
			issuer := map[bool]string{true: testIssuer, false: "service:" + want.Name}[want.MapSubjects]
			if got.SubjectIssuer() != issuer {
				t.Errorf("SubjectIssuer is %q, want %q", got.SubjectIssuer(), issuer)
			}
		}
		if !a.Recognise(t.Context(), "Bearer "+key) {
			t.Errorf("%s is not recognised", want.Name)
		}
	}

	refused := func(name, key, why string) {
		t.Helper()
		caller, err := bearer(t.Context(), a, key)
		wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "authorization", key)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", name, err, why)
		}
		if a.Recognise(t.Context(), "Bearer "+key) {
			t.Errorf("%s is recognised", name)
		}
	}
	mistyped := strings.Replace(backendKey, backendKey[20:21], map[bool]string{true: "B", false: "A"}[backendKey[20] == 'A'], 1)
	posing := operatorPrefix + backendKey[8:len(backendKey)-8]
	refused("never issued", NewAPIKey(store.CredentialService), "nobody has this API key")
	refused("mistyped", mistyped, "not a whole API key")
	refused("cut", backendKey[:len(backendKey)-1], "not a whole API key")
	refused("the other prefix", posing+checksum(posing), "nobody has this API key")
	refused("of an app that is gone", lost, "not configured any more")

	if _, err := s.RevokeCredential(t.Context(), store.CredentialService, backend.ID, clock.now(), store.Audit{}); err != nil {
		t.Fatal(err)
	}
	refused("revoked", backendKey, "was revoked")
	if _, err := bearer(t.Context(), a, second); err != nil {
		t.Errorf("the other key of the same service: %v", err)
	}
	clock.advance(time.Hour - time.Second)
	if _, err := bearer(t.Context(), a, maria); err != nil {
		t.Error(err)
	}
	clock.advance(time.Second)
	refused("expired", maria, "has expired")

	// When they were used is written by Run, and once more at its end.
	a.writeUses(t.Context())
	all, err := s.Credentials(t.Context(), store.CredentialOperator)
	if err != nil || len(all) != 1 || !all[0].LastUsedAt.Equal(start().Add(time.Hour-time.Second)) {
		t.Errorf("last used %v, %v", all[0].LastUsedAt, err)
	}
	// A store that cannot be asked lets nobody in, and it is our fault.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = bearer(t.Context(), a, second)
	var e *selo.Error
	if !errors.As(err, &e) || e.Err == nil || e.Reason != selo.ReasonCallerUnauthenticated {
		t.Errorf("without a store: %v", err)
	}
}

func TestClientCertificates(t *testing.T) {
	s, clock := openStore(t), newClock()
	a := mustNew(t, Config{Apps: []App{bankApp(t, jwksOf(t, edSigner(t, "a")))}, Now: clock.now})
	a.UseStore(s)
	one := store.Credential{ID: "1", Kind: store.CredentialService, Name: "backend", App: "bank", Scopes: []string{ScopeSessionsOpen},
		Certificate: "dns:backend.bank.test", ExpiresAt: start().Add(time.Hour)}
	added(t, s, one)
	one.ID, one.Name, one.Certificate = "2", "batch", "uri:spiffe://bank.test/batch"
	added(t, s, one)
	cert := func(dns []string, uris ...string) *x509.Certificate {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: dns}
		template.Subject.CommonName = "backend.bank.test" // which is never looked at
		for _, u := range uris {
			parsed, err := url.Parse(u)
			if err != nil {
				t.Fatal(err)
			}
			template.URIs = append(template.URIs, parsed)
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for name, tc := range map[string]struct {
		cert *x509.Certificate
		want string // service; "" is nobody
	}{
		"a DNS name":          {cert([]string{"backend.bank.test"}), "backend"},
		"in another case":     {cert([]string{"Backend.Bank.test"}), "backend"},
		"one of several":      {cert([]string{"other.test", "backend.bank.test"}), "backend"},
		"a URI":               {cert(nil, "spiffe://bank.test/batch"), "batch"},
		"of two services":     {cert([]string{"backend.bank.test"}, "spiffe://bank.test/batch"), ""},
		"another name":        {cert([]string{"evil.test"}), ""},
		"a wildcard":          {cert([]string{"*.bank.test"}), ""},
		"a common name alone": {cert(nil), ""},
		"a DNS name as a URI": {cert(nil, "dns:backend.bank.test"), ""},
		"a longer DNS name":   {cert([]string{"backend.bank.test.evil.test"}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := a.AuthenticateCertificate(t.Context(), tc.cert)
			if tc.want == "" {
				wantRefused(t, got, err, selo.ReasonCallerUnauthenticated, "client certificate")
			} else if err != nil || got.Name != tc.want || got.Kind != KindService {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	clock.advance(time.Hour)
	got, err := a.AuthenticateCertificate(t.Context(), cert([]string{"backend.bank.test"}))
	wantRefused(t, got, err, selo.ReasonCallerUnauthenticated, "client certificate")
}

func TestAPIKeyShape(t *testing.T) {
	seen := make(map[string]bool)
	documented := regexp.MustCompile(`^selo_(sk|op)_[A-Z2-7]{52}[0-9a-f]{8}$`)
	for _, kind := range []store.CredentialKind{store.CredentialService, store.CredentialOperator} {
		for range 100 {
			key := NewAPIKey(kind)
			if !documented.MatchString(key) || seen[key] || strings.HasPrefix(key, operatorPrefix) != (kind == store.CredentialOperator) {
				t.Fatal("NewAPIKey makes keys of another shape, or one twice")
			}
			seen[key] = true
			hash, id, err := HashAPIKey(key)
			if sum := sha256.Sum256([]byte(key)); err != nil || !slices.Equal(hash, sum[:]) || len(id) != 12 {
				t.Errorf("%x, %s, %v", hash, id, err)
			}
			// Any one character changed is noticed: a CRC-32 misses no burst of up to 32 bits.
			for i := range key {
				other := []byte(key)
				other[i] ^= 1
				if _, _, err := HashAPIKey(string(other)); err == nil || strings.Contains(err.Error(), key[8:20]) {
					t.Fatalf("with character %d changed: %v", i, err)
				}
			}
		}
	}
	good := NewAPIKey(store.CredentialService)
	for _, key := range []string{"", "selo_sk_", good + "\n", " " + good, strings.ToLower(good), good[:8] + good[9:], strings.Replace(good, "_sk_", "_xx_", 1)} {
		if hash, _, err := HashAPIKey(key); err == nil || hash != nil {
			t.Errorf("%d characters: %x, %v", len(key), hash, err)
		}
	}
}

func TestEndUserHasNoScopes(t *testing.T) {
	key := edSigner(t, "a")
	a := mustNew(t, Config{Apps: []App{bankApp(t, jwksOf(t, key))}})
	got, err := bearer(t.Context(), a, key.token(body(map[string]string{"scope": `"sessions:read admin"`, "scopes": `["sessions:read"]`})))
	if err != nil {
		t.Fatal(err)
	}
	if got.Has(ScopeSessionsRead) || got.Has(ScopeSessionsOpen) || got.Has(ScopeAdmin) || got.SubjectIssuer() != testIssuer {
		t.Errorf("got %+v", got)
	}
}
