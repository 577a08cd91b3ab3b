package sandbox_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo/internal/sandbox"
)

func newIdentityProvider(t testing.TB) *sandbox.IdentityProvider {
	t.Helper()
	users := sandbox.DemoUsers()
	users["nobody"] = sandbox.User{}
	p, err := sandbox.NewIdentityProvider(sandbox.IdentityProviderConfig{
		Issuer: "https://id.demo.invalid", Audience: "demo-app", Others: []string{"shop-app"}, Users: users,
		Now: func() time.Time { return at }, LookupSecret: []byte(lookupSecret),
	})
	if err != nil {
		t.Fatal(err)
	}
	clear(users) // the provider has its own copy
	return p
}

func get(t testing.TB, h http.Handler, path string, v any) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	if err := json.Unmarshal(w.Body.Bytes(), v); err != nil || w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v %s: %v", w.Code, w.Header(), w.Body, err)
	}
}

func b64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestAccessTokens reads the tokens with the standard library alone, as any customer's server might.
func TestAccessTokens(t *testing.T) {
	p := newIdentityProvider(t)
	var jwks struct{ Keys []map[string]string }
	get(t, p, "/idp/jwks.json", &jwks)
	if len(jwks.Keys) != 1 {
		t.Fatalf("%d keys", len(jwks.Keys))
	}
	jwk := jwks.Keys[0]
	x, y := jwk["x"], jwk["y"]
	thumbprint := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + x + `","y":"` + y + `"}`))
	kid := base64.RawURLEncoding.EncodeToString(thumbprint[:])
	if diff := cmp.Diff(map[string]string{"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "alg": "ES256", "use": "sig"}, jwk); diff != "" {
		t.Errorf("jwk (-want +got):\n%s", diff)
	}
	point := append([]byte{4}, append(b64(t, x), b64(t, y)...)...)
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		t.Fatal(err)
	}

	seen := map[any]bool{}
	for user, cpf := range map[string]any{"ana": ana, "bruno": bruno, "nobody": nil} {
		w := post(t, p, "/idp/token", fmt.Sprintf(`{"user":%q}`, user))
		var answer map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%d %s: %v", w.Code, w.Body, err)
		}
		token, _ := answer["access_token"].(string)
		if diff := cmp.Diff(map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 900.0}, answer); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		segments := strings.Split(token, ".")
		if len(segments) != 3 {
			t.Fatalf("%d segments", len(segments))
		}
		sum := sha256.Sum256([]byte(segments[0] + "." + segments[1]))
		sig := b64(t, segments[2])
		if len(sig) != 64 || !ecdsa.Verify(public, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
			t.Error("wrong signature")
		}
		var header, claims map[string]any
		if err := errors.Join(json.Unmarshal(b64(t, segments[0]), &header), json.Unmarshal(b64(t, segments[1]), &claims)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]any{"alg": "ES256", "kid": kid, "typ": "JWT"}, header); diff != "" {
			t.Errorf("header (-want +got):\n%s", diff)
		}
		want := map[string]any{
			"iss": "https://id.demo.invalid", "aud": "demo-app", "sub": user, "jti": claims["jti"],
			"iat": float64(at.Unix()), "exp": float64(at.Unix() + 900), "auth_time": float64(at.Unix()), "acr": "1", "amr": []any{"pwd"}, "azp": "demo-mobile",
		}
		if cpf != nil {
			want["cpf"] = cpf
		}
		if diff := cmp.Diff(want, claims); diff != "" {
			t.Errorf("claims (-want +got):\n%s", diff)
		}
		if claims["jti"] == "" || seen[claims["jti"]] {
			t.Errorf("jti %v is empty or was used before", claims["jti"])
		}
		seen[claims["jti"]] = true
	}
}

const lookupSecret = "a secret of the backend and of Selo alone"

// TestIdentityProviderOnRequest: a second factor, another app, and a CPF that only the backend tells.
func TestIdentityProviderOnRequest(t *testing.T) {
	p := newIdentityProvider(t)
	for body, want := range map[string]string{
		`{"user":"ana","mfa":true}`:            `"acr":"2","amr":["pwd","otp"],"cpf":"` + ana + `"`,
		`{"user":"ana","audience":"shop-app"}`: `"aud":"shop-app"`,
		`{"user":"davi"}`:                      `"amr":["pwd"]}`,
		`{"user":"eva","mfa":true}`:            `"amr":["pwd","otp"]}`,
	} {
		var answer map[string]any
		w := post(t, p, "/idp/token", body)
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		token, _ := answer["access_token"].(string)
		if payload := string(b64(t, strings.Split(token+"..", ".")[1])); !strings.Contains(payload, want) {
			t.Errorf("%s: %s, want in it %s", body, payload, want)
		}
	}
	wantRefusal(t, post(t, p, "/idp/token", `{"user":"ana","audience":"nobody's"}`), 400, "request_invalid", "")

	signed := func(secret, body string, when time.Time) *httptest.ResponseRecorder {
		seconds := strconv.FormatInt(when.Unix(), 10)
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(seconds + "." + body))
		r := httptest.NewRequest(http.MethodPost, "/backend/cpf", strings.NewReader(body))
		r.Header.Set("Selo-Signature", "t="+seconds+",v1="+hex.EncodeToString(mac.Sum(nil)))
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		return w
	}
	question := func(subject string) string {
		return fmt.Sprintf(`{"app":"bank","issuer":"https://id.demo.invalid","subject":%q}`, subject)
	}
	for subject, want := range map[string]string{"davi": `{"cpf":"12345678909"}`, "ana": `{"cpf":"` + ana + `"}`, "eva": `{"cpf":null}`, "zoe": `{"cpf":null}`} {
		if w := signed(lookupSecret, question(subject), at); w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %s", subject, w.Code, w.Body)
		}
	}
	wantRefusal(t, signed("another secret", question("davi"), at), 401, "tokenException", "")
	wantRefusal(t, signed(lookupSecret, question("davi"), at.Add(-time.Hour)), 401, "tokenException", "")
	wantRefusal(t, post(t, p, "/backend/cpf", question("davi")), 401, "tokenException", "")
	wantRefusal(t, signed(lookupSecret, `{"app":"bank","issuer":"https://other.invalid","subject":"davi"}`, at), 400, "request_invalid", "")
}

// TestAccessTokenOfLongAgo shows that age gives a token that is over.
func TestAccessTokenOfLongAgo(t *testing.T) {
	w := post(t, newIdentityProvider(t), "/idp/token", `{"user":"ana","age":"1h"}`)
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	var claims struct {
		IssuedAt int64 `json:"iat"`
		Expires  int64 `json:"exp"`
	}
	if err := json.Unmarshal(b64(t, strings.Split(answer.Token, ".")[1]), &claims); err != nil {
		t.Fatal(err)
	}
	if claims.IssuedAt != at.Unix()-3600 || claims.Expires != at.Unix()-2700 {
		t.Errorf("iat %d and exp %d of an hour before %d", claims.IssuedAt, claims.Expires, at.Unix())
	}
}

func TestIdentityProviderRefusals(t *testing.T) {
	p := newIdentityProvider(t)
	for _, tt := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"unknown", `{"user":"stranger"}`, 404, "user_unknown"},
		{"another case", `{"user":"Ana"}`, 404, "user_unknown"},
		{"no user", `{}`, 404, "user_unknown"},
		{"null", `null`, 404, "user_unknown"},
		{"no body", ``, 400, "request_invalid"},
		{"password", `{"user":"ana","password":"x"}`, 400, "request_invalid"},
		{"age to come", `{"user":"ana","age":"-1h"}`, 400, "request_invalid"},
		{"age that is none", `{"user":"ana","age":"old"}`, 400, "request_invalid"},
		{"twice", `{"user":"bruno","user":"ana"}`, 400, "request_invalid"},
		{"too long", `{"user":"` + strings.Repeat("a", 8<<10) + `"}`, 413, "too_large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantRefusal(t, post(t, p, "/idp/token", tt.body), tt.status, tt.code, "")
		})
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/idp/token", nil))
	wantRefusal(t, w, http.StatusMethodNotAllowed, "method_not_allowed", "POST")
	var health map[string]string
	get(t, p, "/healthz", &health)
}

func TestNewIdentityProviderRefusesContradictions(t *testing.T) {
	users := sandbox.DemoUsers()
	for _, tt := range []struct {
		name string
		cfg  sandbox.IdentityProviderConfig
		want string
	}{
		{"no issuer", sandbox.IdentityProviderConfig{Audience: "a", Users: users}, "Issuer and Audience"},
		{"no audience", sandbox.IdentityProviderConfig{Issuer: "i", Users: users}, "Issuer and Audience"},
		{"no users", sandbox.IdentityProviderConfig{Issuer: "i", Audience: "a"}, "Users is empty"},
		{"no name", sandbox.IdentityProviderConfig{Issuer: "i", Audience: "a", Users: map[string]sandbox.User{"": {}}}, "no name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := sandbox.NewIdentityProvider(tt.cfg)
			if err == nil || p != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v; want an error alone with %q", p, err, tt.want)
			}
		})
	}
}
