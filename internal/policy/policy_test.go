package policy

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for digestOf
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/store"
	"github.com/selo-id/selo/internal/transcript"
)

func TestMain(m *testing.M) {
	transcript.CPF(testCPF)
	os.Exit(transcript.Main(m))
}

const (
	testIssuer = "https://id.bank.example"
	testCPF    = "52998224725"
	testSub    = "user-8f14e45f"
)

// start is when the fake clock starts.
func start() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

type fakeClock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *fakeClock { return &fakeClock{t: start()} }

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

// signer is a key of an issuer, which signs whatever a test wants, however wrong.
type signer struct {
	kid, alg string
	jwk      map[string]any
	sign     func(signed []byte) []byte
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func edSigner(t testing.TB, kid string) *signer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{kid, "EdDSA",
		map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(public)},
		func(signed []byte) []byte { return ed25519.Sign(private, signed) },
	}
}

func ecSigner(t testing.TB, kid string, curve elliptic.Curve, crv string) *signer {
	t.Helper()
	private, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	half := len(point) / 2
	alg, hash := "ES256", crypto.SHA256
	if curve == elliptic.P384() {
		alg, hash = "ES384", crypto.SHA384
	}
	return &signer{kid, alg,
		map[string]any{"kty": "EC", "crv": crv, "kid": kid, "x": b64(point[1 : 1+half]), "y": b64(point[1+half:])},
		func(signed []byte) []byte {
			r, s, err := ecdsa.Sign(rand.Reader, private, digestOf(hash, signed))
			if err != nil {
				t.Fatal(err)
			}
			sig := make([]byte, 2*half)
			r.FillBytes(sig[:half])
			s.FillBytes(sig[half:])
			return sig
		},
	}
}

func p256Signer(t testing.TB, kid string) *signer { return ecSigner(t, kid, elliptic.P256(), "P-256") }

func rsaSigner(t testing.TB, kid string) (*signer, *rsa.PrivateKey) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{kid, "RS256", rsaJWK(kid, private.N),
		func(signed []byte) []byte {
			digest := sha256.Sum256(signed)
			sig, err := rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, digest[:])
			if err != nil {
				t.Fatal(err)
			}
			return sig
		},
	}, private
}

// rsaFor is a key for one of the algorithms of RSA, which its JWK names.
func rsaFor(t testing.TB, kid, alg string, private *rsa.PrivateKey) *signer {
	t.Helper()
	hash := map[string]crypto.Hash{"RS256": crypto.SHA256, "RS384": crypto.SHA384, "RS512": crypto.SHA512, "PS256": crypto.SHA256}[alg]
	jwk := rsaJWK(kid, private.N)
	jwk["alg"] = alg
	return &signer{kid, alg, jwk, func(signed []byte) []byte {
		var opts crypto.SignerOpts = hash
		if alg == "PS256" {
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
		}
		sig, err := private.Sign(rand.Reader, digestOf(hash, signed), opts)
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}}
}

func digestOf(hash crypto.Hash, signed []byte) []byte {
	h := hash.New()
	h.Write(signed)
	return h.Sum(nil)
}

func rsaJWK(kid string, n *big.Int) map[string]any {
	return map[string]any{"kty": "RSA", "kid": kid, "n": b64(n.Bytes()), "e": "AQAB"}
}

func hmacSigner(secret []byte, kid string) *signer {
	return &signer{kid: kid, alg: "HS256", sign: func(signed []byte) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write(signed)
		return h.Sum(nil)
	}}
}

// with returns the key's JWK with some members set, or removed when nil.
func (s *signer) with(members map[string]any) map[string]any {
	out := make(map[string]any)
	for k, v := range s.jwk {
		out[k] = v
	}
	for k, v := range members {
		if out[k] = v; v == nil {
			delete(out, k)
		}
	}
	return out
}

func jwksOf(t testing.TB, keys ...any) []byte {
	t.Helper()
	for i, k := range keys {
		if s, ok := k.(*signer); ok {
			keys[i] = s.jwk
		}
	}
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (s *signer) raw(header, payload string) string {
	signed := b64([]byte(header)) + "." + b64([]byte(payload))
	return signed + "." + b64(s.sign([]byte(signed)))
}

func (s *signer) token(payload string) string {
	return s.raw(fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"JWT"}`, s.alg, s.kid), payload)
}

// body is a good payload, with claims replaced by other JSON, or removed when empty.
func body(replace map[string]string) string {
	claims := map[string]string{
		"iss": quote(testIssuer), "aud": `"bank-app"`, "sub": quote(testSub), "cpf": quote(testCPF),
		"exp": fmt.Sprint(start().Add(2 * time.Hour).Unix()), "iat": fmt.Sprint(start().Unix()),
	}
	for k, v := range replace {
		if claims[k] = v; v == "" {
			delete(claims, k)
		}
	}
	var members []string
	for k, v := range claims {
		members = append(members, quote(k)+":"+v)
	}
	return "{" + strings.Join(members, ",") + "}"
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func writeFile(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func bankApp(t testing.TB, jwks []byte) App {
	t.Helper()
	return App{Name: "bank", Issuer: testIssuer, Audience: "bank-app", JWKSFile: writeFile(t, jwks)}
}

func mustNew(t testing.TB, c Config) *Authenticator {
	t.Helper()
	if c.Now == nil {
		c.Now = start
	}
	a, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// wantRefused checks that err refuses for this reason because of this field, and tells nobody anything.
func wantRefused(t testing.TB, caller *Caller, err error, reason selo.Reason, field string, secrets ...string) *selo.Error {
	t.Helper()
	var e *selo.Error
	if caller != nil || !errors.As(err, &e) {
		t.Fatalf("got %+v, %v; want only a *selo.Error", caller, err)
	}
	if e.Reason != reason || e.Field != field || e.Detail == "" {
		t.Errorf("got %v; want %s: %s and a detail", e, reason, field)
	}
	_ = transcript.Error(err)
	text := fmt.Sprintf("%v %+v %#v", err, *e, e)
	for _, secret := range append(secrets, testCPF, testSub, "529.982.247-25") {
		for _, part := range append(strings.Split(secret, "."), secret) {
			if len(part) >= 8 && strings.Contains(text, part) {
				t.Errorf("the error contains %q: %s", part, text)
			}
		}
	}
	return e
}

func bearer(ctx context.Context, a *Authenticator, token string) (*Caller, error) {
	return a.Authenticate(ctx, "Bearer "+token)
}

func TestNewReportsEveryMistake(t *testing.T) {
	good := edSigner(t, "a")
	file := writeFile(t, jwksOf(t, good))
	app := func(change func(*App)) App {
		a := App{Name: "bank", Issuer: testIssuer, Audience: "bank-app", JWKSFile: file}
		change(&a)
		return a
	}
	same := func(*App) {}
	url := func(u string) func(*App) { return func(a *App) { a.JWKSFile, a.JWKSURL = "", u } }
	fileOf := func(content string) func(*App) {
		return func(a *App) { a.JWKSFile = writeFile(t, []byte(content)) }
	}
	for _, tc := range []struct {
		name string
		apps []App
		want []string // none: no error
	}{
		{name: "nothing configured"},
		{name: "one app", apps: []App{app(same)}},
		{name: "https", apps: []App{app(url("https://id.bank.example/jwks?p=b2c"))}},
		{name: "http on localhost", apps: []App{app(url("http://localhost:8080/jwks"))}},
		{name: "http on loopback", apps: []App{app(url("http://127.0.0.9/jwks"))}},
		{name: "http on loopback, IPv6", apps: []App{app(url("http://[::1]:80/jwks"))}},
		{name: "two audiences of one issuer", apps: []App{app(same), app(func(a *App) { a.Name, a.Audience = "other", "other-app" })}},

		{name: "app name", apps: []App{app(func(a *App) { a.Name = "Bank_1" })}, want: []string{`app "Bank_1": name must be`}},
		{name: "long app name", apps: []App{app(func(a *App) { a.Name = strings.Repeat("a", 65) })}, want: []string{"name must be"}},
		{name: "no issuer", apps: []App{app(func(a *App) { a.Issuer = "" })}, want: []string{"issuer must be"}},
		{name: "issuer in the namespace of services", apps: []App{app(func(a *App) { a.Issuer = "service:backend" })}, want: []string{"issuer must not begin"}},
		{name: "no audience", apps: []App{app(func(a *App) { a.Audience = "" })}, want: []string{"audience must be"}},
		{name: "discovery", apps: []App{app(func(a *App) { a.JWKSFile = "" })}},
		{name: "discovery, with a path", apps: []App{app(func(a *App) { a.JWKSFile, a.Issuer = "", "https://id.example/realms/bank/" })}},
		{name: "discovery on loopback", apps: []App{app(func(a *App) { a.JWKSFile, a.Issuer = "", "http://127.0.0.1:9000" })}},
		{name: "discovery over http", apps: []App{app(func(a *App) { a.JWKSFile, a.Issuer = "", "http://id.example" })}, want: []string{`app "bank": issuer must be https`, "set jwks_url or jwks_file instead"}},
		{name: "discovery of what is no URL", apps: []App{app(func(a *App) { a.JWKSFile, a.Issuer = "", "bank" })}, want: []string{"set jwks_url or jwks_file instead"}},
		{name: "discovery with a query", apps: []App{app(func(a *App) { a.JWKSFile, a.Issuer = "", "https://id.example/?" })}, want: []string{"must not have a query"}},
		{name: "discovery with a fragment", apps: []App{app(func(a *App) { a.JWKSFile, a.Issuer = "", "https://id.example/#" })}, want: []string{"must not have a query or fragment"}},
		{name: "discovery with a password", apps: []App{app(func(a *App) { a.JWKSFile, a.Issuer = "", "https://u:hunter2@id.example" })}, want: []string{"must not contain a user"}},
		{name: "authorized parties", apps: []App{app(func(a *App) { a.AuthorizedParties = []string{"a", "b", "a", ""} })}, want: []string{"authorized_parties[2] is there twice", "authorized_parties[3] must be"}},
		{name: "cpf claim with a query", apps: []App{app(func(a *App) { a.CPFClaim = "https://bank.example/cpf" })}},
		{name: "cpf claim, a pointer", apps: []App{app(func(a *App) { a.CPFClaim = "/identity/~0~1/cpf" })}},
		{name: "cpf claim, a pointer to exp", apps: []App{app(func(a *App) { a.CPFClaim = "/exp" })}, want: []string{"cpf_claim must not be exp"}},
		{name: "cpf claim, a pointer through Sub", apps: []App{app(func(a *App) { a.CPFClaim = "/Sub/cpf" })}, want: []string{"cpf_claim must not be sub"}},
		{name: "cpf claim is scope", apps: []App{app(func(a *App) { a.CPFClaim = "scope" })}, want: []string{"cpf_claim must not be scope"}},
		{name: "cpf claim, a bad pointer", apps: []App{app(func(a *App) { a.CPFClaim = "/a/~2" })}, want: []string{"cpf_claim is no JSON pointer"}},
		{name: "two sources", apps: []App{app(func(a *App) { a.JWKSURL = "https://x.example" })}, want: []string{"only one of"}},
		{name: "http", apps: []App{app(url("http://id.bank.example/jwks"))}, want: []string{"jwks_url must be https"}},
		{name: "http on a host that begins like loopback", apps: []App{app(url("http://127.0.0.1.evil.example/"))}, want: []string{"must be https"}},
		{name: "file URL", apps: []App{app(url("file:///etc/jwks"))}, want: []string{"jwks_url must be"}},
		{name: "password in the URL", apps: []App{app(url("https://u:hunter2@x.example"))}, want: []string{"must not contain a user"}},
		{name: "no host", apps: []App{app(url("https:///jwks"))}, want: []string{"with a host"}},
		{name: "fragment", apps: []App{app(url("https://x.example/#a"))}, want: []string{"fragment"}},
		{name: "not a URL", apps: []App{app(url("https://x.example/%zz"))}, want: []string{"is not a URL"}},
		{name: "cpf claim is nearly sub", apps: []App{app(func(a *App) { a.CPFClaim = "Sub" })}, want: []string{"cpf_claim must not be sub"}},
		{name: "no such file", apps: []App{app(func(a *App) { a.JWKSFile = "/nonexistent/jwks" })}, want: []string{"reading jwks_file"}},
		{name: "garbage file", apps: []App{app(fileOf("-----BEGIN hunter2"))}, want: []string{"is not a JWKS document"}},
		{name: "file without keys", apps: []App{app(fileOf(`{"keys":[]}`))}, want: []string{"holds no usable key"}},
		{name: "huge file", apps: []App{app(fileOf(strings.Repeat(" ", maxKeySetSize+1)))}, want: []string{"longer than"}},
		{name: "same name", apps: []App{app(same), app(func(a *App) { a.Audience = "b" })}, want: []string{"two of this name"}},
		{name: "same issuer and audience", apps: []App{app(same), app(func(a *App) { a.Name = "b" })}, want: []string{`app "b": has the issuer and audience of app "bank"`}},

		{
			name: "everything at once",
			apps: []App{app(func(a *App) { a.Name, a.Issuer, a.JWKSFile = "B", "", "/nonexistent" }), app(url("http://x.example"))},
			want: []string{
				`app "B": name must be`, `app "B": issuer must be`, `app "B": reading jwks_file`, `app "bank": jwks_url must be https`,
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, err := New(t.Context(), Config{Apps: tc.apps})
			if (a == nil) == (err == nil) || (err != nil) != (len(tc.want) > 0) {
				t.Fatalf("got %v, %v", a, err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in:\n%v", want, err)
				}
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("repeats a secret: %v", err)
			}
		})
	}
}

func TestNobodyIsConfigured(t *testing.T) {
	a := mustNew(t, Config{})
	caller, err := bearer(t.Context(), a, edSigner(t, "a").token(body(nil)))
	wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "iss")
	key := NewAPIKey(store.CredentialService)
	caller, err = bearer(t.Context(), a, key)
	wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "authorization", key)
}
