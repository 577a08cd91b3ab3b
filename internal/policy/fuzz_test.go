package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/selo-id/selo"
)

// FuzzAuthenticate: nothing authenticates but what we signed or issued, byte for byte.
func FuzzAuthenticate(f *testing.F) {
	key, second := edSigner(f, "a"), p256Signer(f, "b")
	apiKey, err := NewAPIKey()
	if err != nil {
		f.Fatal(err)
	}
	hash, err := HashAPIKey(apiKey)
	if err != nil {
		f.Fatal(err)
	}
	a := mustNew(f, Config{
		Apps:     []App{bankApp(f, jwksOf(f, key, second))},
		Services: []Service{{Name: "backend", App: "bank", KeySHA256: hash, Scopes: []string{ScopeSessionsOpen}}},
	})
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
