package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/store"
)

// FuzzAuthenticate: nothing authenticates but what we signed or issued, byte for byte.
func FuzzAuthenticate(f *testing.F) {
	key, second := edSigner(f, "a"), p256Signer(f, "b")
	a := mustNew(f, Config{Apps: []App{bankApp(f, jwksOf(f, key, second))}})
	s := openStore(f)
	a.UseStore(s)
	_, apiKey := added(f, s, store.Credential{Kind: store.CredentialService, Name: "backend", App: "bank", Scopes: []string{ScopeSessionsOpen}})
	ours := map[string]bool{apiKey: true, key.token(body(nil)): true, second.token(body(nil)): true}
	for credential := range ours {
		f.Add("Bearer " + credential)
		f.Add("bearer " + credential + "=")
	}
	for _, s := range []string{
		"", "Bearer ", "Bearer selo_sk_", "Bearer a.b.c", "Bearer ..", "Bearer {}", "Basic x",
		"Bearer " + b64([]byte(`{"alg":"none"}`)) + "." + b64([]byte(body(nil))) + ".",
		"Bearer " + key.raw(`{"alg":"EdDSA","kid":"a","crit":["b64"],"b64":false}`, body(nil)),
		"Bearer " + embedded(edSigner(f, "c")),
		"Bearer " + key.token(body(map[string]string{"exp": "1"})),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, authorization string) {
		caller, err := a.Authenticate(t.Context(), authorization)
		if (caller == nil) == (err == nil) {
			t.Fatalf("got %v and %v", caller, err)
		}
		scheme, credential, _ := strings.Cut(authorization, " ")
		if caller != nil && (!ours[credential] || !strings.EqualFold(scheme, "Bearer")) {
			t.Fatalf("authenticated %q", authorization)
		}
		checkRefusal(t, err, credential)
	})
}

// FuzzSigned: what a careless or hostile issuer may sign. Whoever gets in is who another JSON reader would
// say it is.
func FuzzSigned(f *testing.F) {
	key := edSigner(f, "a")
	a := mustNew(f, Config{Apps: []App{bankApp(f, jwksOf(f, key))}})
	good := `{"alg":"EdDSA","kid":"a","typ":"JWT"}`
	for _, replace := range []map[string]string{
		nil, {"aud": `["bank-app"]`}, {"cpf": ""}, {"cpf": `"1"`}, {"exp": "1e300"}, {"nbf": "-1"}, {"SUB": "1"}, {"x": `{"a":[1,{}]}`},
	} {
		f.Add(good, body(replace))
	}
	f.Add(`{"alg":"EdDSA"}`, "null")
	f.Add(`{"alg":"EdDSA","jwk":{},"x5c":["AAAA"]}`, body(nil))
	f.Fuzz(func(t *testing.T, header, payload string) {
		token := key.raw(header, payload)
		caller, err := bearer(t.Context(), a, token)
		if (caller == nil) == (err == nil) {
			t.Fatalf("got %v and %v", caller, err)
		}
		checkRefusal(t, err, token)
		if caller == nil {
			return
		}
		var h, p map[string]any
		if json.Unmarshal([]byte(header), &h) != nil || json.Unmarshal([]byte(payload), &p) != nil {
			t.Fatal("authenticated what is not JSON")
		}
		exp, _ := p["exp"].(float64)
		if h["alg"] != "EdDSA" || p["iss"] != testIssuer || p["sub"] != caller.Subject.ID || caller.Subject.ID == "" ||
			caller.Subject.Issuer != testIssuer || exp <= float64(start().Unix()) {
			t.Fatalf("authenticated %s . %s as %+v", header, payload, caller)
		}
		if _, there := p["cpf"]; there != (!caller.CPF.IsZero() || caller.CPFFault != nil) || !caller.CPF.IsZero() && caller.CPFFault != nil {
			t.Fatalf("CPF of %s is %v", payload, caller.CPF)
		}
	})
}

func checkRefusal(t *testing.T, err error, credential string) {
	t.Helper()
	if err == nil {
		return
	}
	var e *selo.Error
	if !errors.As(err, &e) || e.Reason != selo.ReasonCallerUnauthenticated || e.Err != nil {
		t.Fatalf("got %#v", err)
	}
	if len(credential) >= 24 && strings.Contains(fmt.Sprint(err), credential) {
		t.Fatalf("the error repeats the credential: %v", err)
	}
}

func FuzzParseKeySet(f *testing.F) {
	f.Add(jwksOf(f, edSigner(f, "a"), p256Signer(f, "b")))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"oct","k":"a"},null]}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		set, err := parseKeySet(document)
		if (set == nil) == (err == nil) {
			t.Fatalf("got %v and %v", set, err)
		}
		if set == nil {
			return
		}
		if _, nameless := set.keys[""]; len(set.keys) > maxKeys || nameless && len(set.keys) > 1 {
			t.Fatalf("%d keys", len(set.keys))
		}
		for kid, key := range set.keys {
			if key.public == nil || key.alg == "" {
				t.Fatalf("key %q is no key", kid)
			}
		}
	})
}

// FuzzIntrospection: whatever an endpoint answers, whoever gets in is who another JSON reader would say it is.
func FuzzIntrospection(f *testing.F) {
	key := edSigner(f, "a")
	app := bankApp(f, jwksOf(f, key))
	app.CPFClaim = "/id/cpf"
	app.Claims = map[string]Claim{"roles": {Path: "/realm/roles", Type: ClaimStrings}}
	app.Introspection = opaqueApp("https://id.bank.example/introspect").Introspection
	a := mustNew(f, Config{Apps: []App{app}})
	for _, replace := range []map[string]string{
		nil, {"active": `"true"`}, {"token_type": `"Bearer"`, "token_use": `"access"`}, {"aud": `["bank-app"]`}, {"iss": quote(testIssuer)},
		{"exp": "1"}, {"cnf": "{}"}, {"realm": `{"roles":["a"]}`, "id": `{"cpf":"52998224725"}`, "scope": `"a b"`, "cpf": ""},
	} {
		f.Add([]byte(active(replace)))
	}
	f.Add([]byte(`{"active":false}`))
	f.Add([]byte(`{"active":false,"active":true}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		caller, exp, refused := readIntrospection(a.opaque.apps, answer, start())
		if (caller == nil) == (refused == nil) {
			t.Fatalf("got %v and %v", caller, refused)
		}
		if caller == nil {
			if refused.Reason != selo.ReasonCallerUnauthenticated || len(answer) >= 24 && strings.Contains(refused.Error(), string(answer)) {
				t.Fatalf("got %v", refused)
			}
			return
		}
		var p map[string]any
		if json.Unmarshal(answer, &p) != nil {
			t.Fatal("authenticated what is not JSON")
		}
		_, bound := p["cnf"]
		_, expires := p["exp"]
		if iss, there := p["iss"]; p["active"] != true || bound || p["sub"] != caller.Subject.ID || there && iss != testIssuer ||
			expires == exp.IsZero() || expires && !exp.After(start()) {
			t.Fatalf("authenticated %s as %+v", answer, caller)
		}
		if id, _ := p["id"].(map[string]any); !caller.CPF.IsZero() && id["cpf"] == nil {
			t.Fatalf("CPF of %s is %v", answer, caller.CPF)
		}
		realm, _ := p["realm"].(map[string]any)
		if _, there := realm["roles"]; there != (caller.Claims["roles"] != nil) {
			t.Fatalf("roles of %s are %v", answer, caller.Claims)
		}
	})
}

// FuzzParsePath: a path that is taken is the one way to write its names, but for the names without a slash in front.
func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"cpf", "https://bank.example/cpf", "/a", "/a/b~0~1", "/", "//", "/~", "/~~01", "/~01", "/é", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		steps, err := parsePath(path)
		if (steps == nil) == (err == nil) {
			t.Fatalf("got %q and %v", steps, err)
		}
		if err != nil {
			return
		}
		if !strings.HasPrefix(path, "/") {
			if len(steps) != 1 || steps[0] != path {
				t.Fatalf("%q is %q", path, steps)
			}
			return
		}
		var again strings.Builder
		for _, s := range steps {
			again.WriteString("/" + strings.ReplaceAll(strings.ReplaceAll(s, "~", "~0"), "/", "~1"))
		}
		if again.String() != path || len(steps) >= maxDepth {
			t.Fatalf("%q is %q", path, steps)
		}
	})
}
