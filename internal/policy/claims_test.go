package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
)

func TestClaims(t *testing.T) {
	key := edSigner(t, "a")
	app := bankApp(t, jwksOf(t, key))
	app.Claims = map[string]Claim{
		"tier":      {Type: ClaimString},
		"vip":       {Path: "https://bank.example/vip", Type: ClaimBoolean},
		"roles":     {Path: "/realm_access/roles", Type: ClaimStrings},
		"level":     {Path: "/realm_access/a~1b/~0", Type: ClaimInteger},
		"score":     {Type: ClaimNumber},
		"since":     {Type: ClaimTime},
		"top_level": {Path: "/top", Type: ClaimString},
	}
	a := mustNew(t, Config{Apps: []App{app}})
	many := func(n int, s string) string { return `["` + strings.Repeat(s+`","`, n-1) + s + `"]` }
	for _, tc := range []struct {
		claim, value string
		want         map[string]any // nil: refused
		field        string
	}{
		{"acr", `"urn:mace:incommon:iap:silver"`, map[string]any{"acr": "urn:mace:incommon:iap:silver"}, ""},
		{"acr", `""`, map[string]any{"acr": ""}, ""},
		{"acr", `1`, nil, "acr"},
		{"acr", `null`, nil, "acr"},
		{"acr", `["a"]`, nil, "acr"},
		{"acr", quote(strings.Repeat("a", 1024)), map[string]any{"acr": strings.Repeat("a", 1024)}, ""},
		{"acr", quote(strings.Repeat("a", 1025)), nil, "acr"},
		{"ACR", `"a"`, nil, "acr"},
		{"amr", `["pwd","otp"]`, map[string]any{"amr": []string{"pwd", "otp"}}, ""},
		{"amr", `"pwd"`, map[string]any{"amr": []string{"pwd"}}, ""},
		{"amr", `[]`, map[string]any{"amr": []string{}}, ""},
		{"amr", `["pwd",1]`, nil, "amr"},
		{"amr", `["pwd",null]`, nil, "amr"},
		{"amr", `{}`, nil, "amr"},
		{"amr", many(257, "a"), nil, "amr"},
		{"amr", `["` + strings.Repeat("a", 1025) + `"]`, nil, "amr"},
		{"Amr", `[]`, nil, "amr"},
		{"auth_time", at(-time.Minute), map[string]any{"auth_time": start().Add(-time.Minute)}, ""},
		{"auth_time", `"1"`, nil, "auth_time"},
		{"auth_time", `-1`, nil, "auth_time"},
		{"Auth_time", `1`, nil, "auth_time"},
		{"azp", `"app"`, map[string]any{"azp": "app"}, ""},
		{"azp", `["app"]`, nil, "azp"},
		{"client_id", `"app"`, map[string]any{"client_id": "app"}, ""},
		{"client_id", `7`, nil, "client_id"},
		{"scope", `"openid  pix:write "`, map[string]any{"scope": []string{"openid", "pix:write"}}, ""},
		{"scope", `""`, map[string]any{"scope": []string{}}, ""},
		{"scope", `["openid","pix:write"]`, map[string]any{"scope": []string{"openid", "pix:write"}}, ""},
		{"scope", quote(strings.TrimSpace(strings.Repeat("0123456 ", 256))), map[string]any{"scope": slices.Repeat([]string{"0123456"}, 256)}, ""},
		{"scope", quote(strings.Repeat("a ", 257)), nil, "scope"},
		{"scope", `null`, nil, "scope"},
		{"scope", `{}`, nil, "scope"},
		{"SCOPE", `"admin"`, nil, "scope"},

		{"tier", `"gold"`, map[string]any{"tier": "gold"}, ""},
		{"tier", `null`, nil, "tier"},
		{"Tier", `"gold"`, nil, "tier"},
		{"https://bank.example/vip", `true`, map[string]any{"vip": true}, ""},
		{"https://bank.example/vip", `false`, map[string]any{"vip": false}, ""},
		{"https://bank.example/vip", `"true"`, nil, "vip"},
		{"https://bank.example/vip", `1`, nil, "vip"},
		{"https://bank.example/VIP", `true`, nil, "vip"},
		{"realm_access", `{"roles":["a"],"a/b":{"~":7}}`, map[string]any{"roles": []string{"a"}, "level": int64(7)}, ""},
		{"realm_access", `{}`, map[string]any{}, ""},
		{"realm_access", `{"x":{"roles":1}}`, map[string]any{}, ""},
		{"realm_access", `{"Roles":["a"]}`, nil, "roles"},
		{"realm_access", `{"roles":["a"],"ROLES":["b"]}`, nil, "roles"},
		{"realm_access", `{"roles":{"0":"a"}}`, nil, "roles"},
		{"realm_access", `["roles"]`, nil, ""},
		{"realm_access", `null`, nil, ""},
		{"realm_access", `"roles"`, nil, ""},
		{"Realm_access", `{}`, nil, ""},
		{"realm_access", `{"a/b":{"~":7.0}}`, nil, "level"},
		{"realm_access", `{"a/b":{"~":7e0}}`, nil, "level"},
		{"realm_access", `{"a/b":{"~":"7"}}`, nil, "level"},
		{"realm_access", `{"a/b":{"~":-9007199254740992}}`, map[string]any{"level": int64(-1 << 53)}, ""},
		{"realm_access", `{"a/b":{"~":9007199254740993}}`, nil, "level"},
		{"realm_access", `{"a/b":{"~":18446744073709551617}}`, nil, "level"},
		{"realm_access", `{"a/b":[7]}`, nil, "level"},
		{"realm_access", `{"A/b":{"~":7}}`, nil, "level"},
		{"score", `0.5`, map[string]any{"score": 0.5}, ""},
		{"score", `-1e3`, map[string]any{"score": -1000.0}, ""},
		{"score", `1e999`, nil, "score"},
		{"score", `"1"`, nil, "score"},
		{"score", `true`, nil, "score"},
		{"since", `0`, map[string]any{"since": time.Unix(0, 0).UTC()}, ""},
		{"since", `"2026-01-01"`, nil, "since"},
		{"top", `"x"`, map[string]any{"top_level": "x"}, ""},
		{"other", `null`, map[string]any{}, ""},
	} {
		t.Run(tc.claim+" "+tc.value[:min(len(tc.value), 40)], func(t *testing.T) {
			token := key.token(body(map[string]string{tc.claim: tc.value}))
			got, err := bearer(t.Context(), a, token)
			if tc.want == nil {
				if e := (*selo.Error)(nil); tc.field == "" && errors.As(err, &e) { // one of the two that are in realm_access
					tc.field = e.Field
				}
				wantRefused(t, got, err, selo.ReasonCallerUnauthenticated, tc.field, token, tc.value)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got.Claims); diff != "" && len(tc.want)+len(got.Claims) > 0 {
				t.Error(diff)
			}
		})
	}
}

func TestClaimsThatCannotBe(t *testing.T) {
	app := bankApp(t, jwksOf(t, edSigner(t, "a")))
	for _, tc := range []struct {
		name  string
		claim Claim
		want  string // empty: good
	}{
		{"tier", Claim{Type: ClaimString}, ""},
		{"a", Claim{Path: "/a/b~0~1", Type: ClaimTime}, ""},
		{"a", Claim{Path: "sub", Type: ClaimString}, ""},
		{"a" + strings.Repeat("1", 63), Claim{Type: ClaimTime}, ""},
		{"a" + strings.Repeat("1", 64), Claim{Type: ClaimTime}, "must be a-z"},
		{"", Claim{Path: "a", Type: ClaimTime}, "must be a-z"},
		{"Tier", Claim{Type: ClaimString}, "must be a-z"},
		{"1", Claim{Type: ClaimString}, "must be a-z"},
		{"a\n", Claim{Path: "a", Type: ClaimString}, "must be a-z"},
		{"scope", Claim{Type: ClaimStrings}, "is there already"},
		{"azp", Claim{Path: "x", Type: ClaimString}, "is there already"},
		{"tier", Claim{}, "has no type"},
		{"tier", Claim{Type: "String"}, "has no type"},
		{"tier", Claim{Path: "/", Type: ClaimString}, "no JSON pointer"},
		{"tier", Claim{Path: "/a/", Type: ClaimString}, "no JSON pointer"},
		{"tier", Claim{Path: "/a//b", Type: ClaimString}, "no JSON pointer"},
		{"tier", Claim{Path: "/a~", Type: ClaimString}, "no JSON pointer"},
		{"tier", Claim{Path: "/~2", Type: ClaimString}, "no JSON pointer"},
		{"tier", Claim{Path: "/~~01", Type: ClaimString}, "no JSON pointer"},
		{"tier", Claim{Path: strings.Repeat("/a", 32), Type: ClaimString}, "more than 31 steps"},
		{"tier", Claim{Path: "a\x00", Type: ClaimString}, "control characters"},
		{"tier", Claim{Path: "cpf", Type: ClaimString}, "is the CPF"},
		{"tier", Claim{Path: "/cpf", Type: ClaimString}, "is the CPF"},
		{"tier", Claim{Path: "Scope", Type: ClaimString}, `differs only in case from "scope"`},
		{"tier", Claim{Path: "/ISS/a", Type: ClaimString}, "differs only in case from iss"},
		{"tier", Claim{Path: "Cpf", Type: ClaimString}, `differs only in case from "cpf"`},
	} {
		app.Claims = map[string]Claim{tc.name: tc.claim}
		_, err := New(t.Context(), Config{Apps: []App{app}})
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q %v: got %v, want %q", tc.name, tc.claim, err, tc.want)
		}
	}
	app.Claims = map[string]Claim{"a": {Path: "/x/y", Type: ClaimString}, "b": {Path: "/x/Y/z", Type: ClaimString}}
	if _, err := New(t.Context(), Config{Apps: []App{app}}); err == nil || !strings.Contains(err.Error(), `claims: "b" differs only in case from "a"`) {
		t.Errorf("got %v", err)
	}
}

func TestCPFAtAPointer(t *testing.T) {
	key := edSigner(t, "a")
	app := bankApp(t, jwksOf(t, key))
	app.CPFClaim = "/identity/~1docs~0/cpf"
	a := mustNew(t, Config{Apps: []App{app}})
	for _, tc := range []struct {
		name, identity string
		outcome        string // cpf, none, fault or refused
	}{
		{"there", `{"/docs~":{"cpf":"52998224725"}}`, "cpf"},
		{"there among others", `{"a":[1],"/docs~":{"x":null,"cpf":"529.982.247-25"}}`, "cpf"},
		{"nothing", ``, "none"},
		{"empty", `{}`, "none"},
		{"no cpf in it", `{"/docs~":{"a":1}}`, "none"},
		{"one level up", `{"cpf":"52998224725"}`, "none"},
		{"one level down", `{"/docs~":{"x":{"cpf":"52998224725"}}}`, "none"},
		{"escaped name", `{"~1docs~0":{"cpf":"52998224725"}}`, "none"},
		{"no CPF", `{"/docs~":{"cpf":"1"}}`, "fault"},
		{"null", `{"/docs~":{"cpf":null}}`, "fault"},
		{"an object", `{"/docs~":{"cpf":{}}}`, "fault"},
		{"identity null", `null`, "fault"},
		{"identity a string", `"52998224725"`, "fault"},
		{"documents in an array", `{"/docs~":["52998224725"]}`, "fault"},
		{"CPF instead", `{"/docs~":{"CPF":"52998224725"}}`, "refused"},
		{"CPF beside", `{"/docs~":{"cpf":"52998224725","Cpf":"52998224725"}}`, "refused"},
		{"/Docs~ beside", `{"/docs~":{"cpf":"52998224725"},"/Docs~":{}}`, "refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			token := key.token(body(map[string]string{"cpf": "", "identity": tc.identity}))
			got, err := bearer(t.Context(), a, token)
			if tc.outcome == "refused" {
				wantRefused(t, got, err, selo.ReasonCallerUnauthenticated, app.CPFClaim, token)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			outcome := "none"
			if got.CPFFault != nil && got.CPFFault.Field == app.CPFClaim && got.CPF.IsZero() {
				outcome = "fault"
			} else if got.CPF.Digits() == testCPF && got.CPFFault == nil {
				outcome = "cpf"
			}
			if outcome != tc.outcome {
				t.Errorf("got %s (%+v), want %s", outcome, got, tc.outcome)
			}
		})
	}
	caller, err := bearer(t.Context(), a, key.token(body(map[string]string{"Identity": "{}"})))
	wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, app.CPFClaim)

	app.CPFClaim = "/sub"
	a = mustNew(t, Config{Apps: []App{app}})
	got, err := bearer(t.Context(), a, key.token(body(map[string]string{"sub": quote(testCPF)})))
	if err != nil || got.CPF.Digits() != testCPF {
		t.Errorf("in sub: %v, %v", got, err)
	}
}

func TestAuthorizedParties(t *testing.T) {
	key := edSigner(t, "a")
	app := bankApp(t, jwksOf(t, key))
	app.AuthorizedParties = []string{"ios", "android"}
	a := mustNew(t, Config{Apps: []App{app}})
	for _, tc := range []struct{ azp, client, field string }{
		{`"ios"`, ``, ""},
		{``, `"android"`, ""},
		{`"ios"`, `"android"`, ""},
		{``, ``, "azp"},
		{`"web"`, ``, "azp"},
		{``, `"web"`, "client_id"},
		{`"ios"`, `"web"`, "client_id"},
		{`"web"`, `"ios"`, "azp"},
		{`"IOS"`, ``, "azp"},
		{`""`, `"ios"`, "azp"},
		{`["ios"]`, ``, "azp"},
		{`null`, `"ios"`, "azp"},
		{`"ios"`, `null`, "client_id"},
	} {
		t.Run(fmt.Sprint(tc.azp, tc.client), func(t *testing.T) {
			token := key.token(body(map[string]string{"azp": tc.azp, "client_id": tc.client}))
			got, err := bearer(t.Context(), a, token)
			if tc.field != "" {
				wantRefused(t, got, err, selo.ReasonCallerUnauthenticated, tc.field, token)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// The types that rules are compiled against are the ones that tokens are read with.
func TestStandardClaimsAreAllRead(t *testing.T) {
	app := App{CPFClaim: "cpf"}
	places, _ := checkPlaces(&app)
	got := make(map[string]ClaimType)
	for _, p := range places {
		got[p.field] = p.typ
	}
	want := StandardClaims()
	maps.DeleteFunc(got, func(name string, typ ClaimType) bool { return typ == typeCPF })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
