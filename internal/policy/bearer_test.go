package policy

import (
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
)

func at(d time.Duration) string { return fmt.Sprint(start().Add(d).Unix()) }

func TestEndUser(t *testing.T) {
	rs, private := rsaSigner(t, "rsa")
	es, ed, es384 := p256Signer(t, "ec"), edSigner(t, "ed"), ecSigner(t, "ec384", elliptic.P384(), "P-384")
	rs384, rs512, ps := rsaFor(t, "384", "RS384", private), rsaFor(t, "512", "RS512", private), rsaFor(t, "ps", "PS256", private)
	a := mustNew(t, Config{Apps: []App{bankApp(t, jwksOf(t, rs, es, ed, es384, rs384, rs512, ps))}})
	cpf, err := selo.ParseCPF(testCPF)
	if err != nil {
		t.Fatal(err)
	}
	head := func(more string) string { return `{"alg":"EdDSA","kid":"ed"` + more + `}` }
	for _, tc := range []struct {
		name, authorization string
		sub                 string // "" = testSub
		noCPF               bool
	}{
		{name: "RS256", authorization: "Bearer " + rs.token(body(nil))},
		{name: "ES256", authorization: "Bearer " + es.token(body(nil))},
		{name: "RS384", authorization: "Bearer " + rs384.token(body(nil))},
		{name: "RS512", authorization: "Bearer " + rs512.token(body(nil))},
		{name: "PS256", authorization: "Bearer " + ps.token(body(nil))},
		{name: "ES384", authorization: "Bearer " + es384.token(body(nil))},
		{name: "EdDSA", authorization: "Bearer " + ed.token(body(nil))},
		{name: "scheme in other case", authorization: "bEARER " + ed.token(body(nil))},
		{name: "no typ", authorization: "Bearer " + ed.raw(head(""), body(nil))},
		{name: "typ jwt", authorization: "Bearer " + ed.raw(head(`,"typ":"jwt"`), body(nil))},
		{name: "typ AT+JWT", authorization: "Bearer " + ed.raw(head(`,"typ":"AT+JWT"`), body(nil))},
		{name: "other header parameters", authorization: "Bearer " + ed.raw(head(`,"x5t":"abc","jku":"https://evil.example/jwks","x5u":"https://evil.example/"`), body(nil))},
		{name: "aud array", authorization: "Bearer " + ed.token(body(map[string]string{"aud": `["account","bank-app","bank-app"]`}))},
		{name: "no iat", authorization: "Bearer " + ed.token(body(map[string]string{"iat": ""}))},
		{name: "expires in a second", authorization: "Bearer " + ed.token(body(map[string]string{"exp": at(time.Second)}))},
		{name: "fraction", authorization: "Bearer " + ed.token(body(map[string]string{"exp": at(time.Hour) + ".75"}))},
		{name: "nbf and iat within the skew", authorization: "Bearer " + ed.token(body(map[string]string{"nbf": at(30 * time.Second), "iat": at(30 * time.Second)}))},
		{name: "nbf in 1970", authorization: "Bearer " + ed.token(body(map[string]string{"nbf": "0"}))},
		{name: "punctuated CPF", authorization: "Bearer " + ed.token(body(map[string]string{"cpf": `"529.982.247-25"`}))},
		{name: "no CPF", authorization: "Bearer " + ed.token(body(map[string]string{"cpf": ""})), noCPF: true},
		{name: "longest sub", authorization: "Bearer " + ed.token(body(map[string]string{"sub": quote(strings.Repeat("s", 255))})), sub: strings.Repeat("s", 255)},
		{name: "other scripts in sub", authorization: "Bearer " + ed.token(body(map[string]string{"sub": `"jos\u00e9 \ud83e\udd9c"`})), sub: "josé 🦜"},
		{name: "other claims", authorization: "Bearer " + ed.token(body(map[string]string{"realm_access": `{"roles":["a",{"b":null}]}`, "issuer": "1"}))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := &Caller{Kind: KindEndUser, App: "bank", Issuer: testIssuer, CPF: cpf,
				Subject: selo.Subject{Issuer: testIssuer, ID: tc.sub}}
			if tc.sub == "" {
				want.Subject.ID = testSub
			}
			if tc.noCPF {
				want.CPF = selo.CPF{}
			}
			got, err := a.Authenticate(t.Context(), tc.authorization)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b selo.CPF) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEndUserRefused(t *testing.T) {
	rs, private := rsaSigner(t, "rsa")
	es, ed := p256Signer(t, "ec"), edSigner(t, "ed")
	stranger := edSigner(t, "ed")
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	rs512, ps := rsaFor(t, "512", "RS512", private), rsaFor(t, "ps", "PS256", private)
	es384 := ecSigner(t, "ec384", elliptic.P384(), "P-384")
	a := mustNew(t, Config{Apps: []App{bankApp(t, jwksOf(t, rs, es, ed, rs512, ps, es384))}})

	good := ed.token(body(nil))
	segments := strings.Split(good, ".")
	as := func(s *signer, alg, kid string) *signer { return &signer{kid, alg, s.jwk, s.sign} }
	head := func(more string) string { return ed.raw(`{"alg":"EdDSA","kid":"ed"`+more+`}`, body(nil)) }
	claim := func(name, value string) string { return ed.token(body(map[string]string{name: value})) }
	type refusal struct{ name, authorization, field string }
	table := []refusal{
		{"nothing", "", "authorization"},
		{"scheme alone", "Bearer", "authorization"},
		{"scheme and space", "Bearer ", "authorization"},
		{"no scheme", good, "authorization"},
		{"basic", "Basic dXNlcjpwYXNz", "authorization"},
		{"DPoP", "DPoP " + good, "authorization"},
		{"two spaces", "Bearer  " + good, "authorization"},
		{"tab", "Bearer\t" + good, "authorization"},
		{"leading space", " Bearer " + good, "authorization"},
		{"trailing space", "Bearer " + good + " ", "authorization"},
		{"line break", "Bearer " + good + "\r\n", "authorization"},
		{"line break inside", "Bearer " + good[:9] + "\n" + good[9:], "authorization"},
		{"second credential", "Bearer " + good + ", Bearer " + good, "authorization"},
		{"quoted", `Bearer "` + good + `"`, "authorization"},
		{"Kelvin sign", "Bearer " + good + "\u212a", "authorization"},
		{"huge", "Bearer " + strings.Repeat("a", 100<<20), "authorization"},
	}
	for _, tc := range []refusal{
		{"too long", good + strings.Repeat("A", selo.MaxTokenSize+1-len(good)), "authorization"},
		{"one segment", "abc", "authorization"},
		{"two segments", segments[0] + "." + segments[1], "authorization"},
		{"four segments", good + ".", "authorization"},
		{"five segments (JWE)", "a.b.c.d.e", "authorization"},
		{"only dots", "..", "authorization"},
		{"empty payload", segments[0] + ".." + segments[2], "authorization"},
		{"empty signature", segments[0] + "." + segments[1] + ".", "authorization"},
		{"spare bits in the signature", spareBits(good), "authorization"},
		{"impossible length", segments[0] + "." + segments[1] + ".AAAAA", "authorization"},
		{"JWS in JSON", b64([]byte(`{"payload":"e30"}`)), "authorization"},

		{"header: not JSON", ed.raw(`{"alg":"EdDSA"`, body(nil)), "header"},
		{"header: array", ed.raw(`["EdDSA"]`, body(nil)), "header"},
		{"header: null", ed.raw(`null`, body(nil)), "header"},
		{"header: duplicate", head(`,"kid":"ed"`), "header"},
		{"header: trailing", ed.raw(`{"alg":"EdDSA","kid":"ed"} {}`, body(nil)), "header"},
		{"header: deep", head(`,"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40)), "header"},
		{"header: bad UTF-8", head(",\"x\":\"\xff\""), "header"},
		{"no alg", ed.raw(`{"kid":"ed"}`, body(nil)), "alg"},
		{"alg a number", ed.raw(`{"alg":1,"kid":"ed"}`, body(nil)), "alg"},
		{"Alg", ed.raw(`{"Alg":"EdDSA","kid":"ed"}`, body(nil)), "alg"},
		{"alg and ALG", head(`,"ALG":"none"`), "alg"},
		{"alg none", segments[0] + "x", "authorization"},
		{"alg none, signed", as(ed, "none", "ed").token(body(nil)), "alg"},
		{"alg none, unsigned", b64([]byte(`{"alg":"none"}`)) + "." + segments[1] + ".", "authorization"},
		{"alg None", as(ed, "None", "ed").token(body(nil)), "alg"},
		{"alg eddsa", as(ed, "eddsa", "ed").token(body(nil)), "alg"},
		{"HS256 with the RSA public key in PEM", hmacSigner(publicPEM, "rsa").token(body(nil)), "alg"},
		{"HS256 with the RSA public key in DER", hmacSigner(der, "rsa").token(body(nil)), "alg"},
		{"HS256 called RS256", as(hmacSigner(publicPEM, ""), "RS256", "rsa").token(body(nil)), "signature"},
		{"PS256", as(rs, "PS256", "rsa").token(body(nil)), "alg"},
		{"RS512", as(rs, "RS512", "rsa").token(body(nil)), "alg"},
		{"ES256 with the kid of the RSA key", as(es, "ES256", "rsa").token(body(nil)), "alg"},
		{"RS256 with the kid of the EC key", as(rs, "RS256", "ec").token(body(nil)), "alg"},
		{"EdDSA with the kid of the EC key", as(ed, "EdDSA", "ec").token(body(nil)), "alg"},
		{"EdDSA called ES256", as(ed, "ES256", "ec").token(body(nil)), "signature"},
		{"PS256 with the kid of the RS256 key", as(ps, "PS256", "rsa").token(body(nil)), "alg"},
		{"RS256 with the kid of the PS256 key", as(rs, "RS256", "ps").token(body(nil)), "alg"},
		{"RS512 with the kid of the RS256 key", as(rs512, "RS512", "rsa").token(body(nil)), "alg"},
		{"RS256 called PS256", as(rs, "PS256", "ps").token(body(nil)), "signature"},
		{"PS256 called RS256", as(ps, "RS256", "rsa").token(body(nil)), "signature"},
		{"HS256 with the RSA public key and the kid of the PS256 key", hmacSigner(publicPEM, "ps").token(body(nil)), "alg"},
		{"ES384 with the kid of the P-256 key", as(es384, "ES384", "ec").token(body(nil)), "alg"},
		{"ES256 with the kid of the P-384 key", as(es384, "ES256", "ec384").token(body(nil)), "alg"},
		{"ES256 called ES384", as(es, "ES384", "ec384").token(body(nil)), "signature"},
		{"ES384 called ES256", as(es384, "ES256", "ec").token(body(nil)), "signature"},
		{"PS512", as(ps, "PS512", "ps").token(body(nil)), "alg"},
		{"no kid among three keys", ed.raw(`{"alg":"EdDSA"}`, body(nil)), "kid"},
		{"unknown kid", as(ed, "EdDSA", "nope").token(body(nil)), "kid"},
		{"empty kid", as(ed, "EdDSA", "").token(body(nil)), "kid"},
		{"kid a number", ed.raw(`{"alg":"EdDSA","kid":1}`, body(nil)), "kid"},
		{"kid as a path", as(ed, "EdDSA", "../../etc/passwd").token(body(nil)), "kid"},
		{"KID", ed.raw(`{"alg":"EdDSA","KID":"ed"}`, body(nil)), "kid"},
		{"crit", head(`,"crit":["exp"]`), "crit"},
		{"crit, empty", head(`,"crit":[]`), "crit"},
		{"b64 true", head(`,"b64":true`), "b64"},
		{"b64 false", head(`,"b64":false,"crit":["b64"]`), "b64"},
		{"B64", head(`,"B64":false`), "b64"},
		{"zip", head(`,"zip":"DEF"`), "zip"},
		{"enc", head(`,"enc":"A128GCM"`), "enc"},
		{"a stranger's key embedded", embedded(stranger), "signature"},
		{"typ of a receipt", head(`,"typ":"selo-receipt+jwt"`), "typ"},
		{"typ of a logout token", head(`,"typ":"logout+jwt"`), "typ"},
		{"typ of a DPoP proof", head(`,"typ":"dpop+jwt"`), "typ"},
		{"typ of a security event", head(`,"typ":"secevent+jwt"`), "typ"},
		{"typ empty", head(`,"typ":""`), "typ"},
		{"typ null", head(`,"typ":null`), "typ"},
		{"typ a number", head(`,"typ":7`), "typ"},
		{"typ with a Kelvin-like letter", head(`,"typ":"J\u0460T"`), "typ"},
		{"Typ", head(`,"Typ":"JWT"`), "typ"},

		{"signed by a stranger", stranger.token(body(nil)), "signature"},
		{"payload of another token", segments[0] + "." + strings.Split(claim("sub", `"admin"`), ".")[1] + "." + segments[2], "signature"},
		{"signature cut", good[:len(good)-2], "signature"},

		{"payload: not JSON", ed.token(`hello`), "payload"},
		{"payload: array", ed.token(`[` + body(nil) + `]`), "payload"},
		{"payload: null", ed.token(`null`), "payload"},
		{"payload: trailing", ed.token(body(nil) + body(nil)), "payload"},
		{"payload: cut", ed.token(strings.TrimSuffix(body(nil), "}")), "payload"},
		{"payload: duplicate", ed.token(`{"sub":"a",` + body(nil)[1:]), "payload"},
		{"payload: duplicate, escaped", ed.token(`{"s\u0075b":"a",` + body(nil)[1:]), "payload"},
		{"payload: duplicate deep inside", claim("x", `{"a":1,"a":2}`), "payload"},
		{"payload: bad UTF-8", claim("x", "\"\xc3\x28\""), "payload"},
		{"payload: lone surrogate", claim("x", `"\ud800"`), "payload"},
		{"payload: comment", ed.token(body(nil)[:1] + "/**/" + body(nil)[1:]), "payload"},
		{"payload: byte order mark", ed.token("\ufeff" + body(nil)), "payload"},
		{"payload: deep", claim("x", strings.Repeat(`{"a":`, 40)+"1"+strings.Repeat("}", 40)), "payload"},

		{"no iss", claim("iss", ""), "iss"},
		{"iss a number", claim("iss", "1"), "iss"},
		{"iss null", claim("iss", "null"), "iss"},
		{"another issuer, right key", claim("iss", `"https://evil.example"`), "iss"},
		{"iss with a slash more", claim("iss", quote(testIssuer+"/")), "iss"},
		{"iss in other case", claim("iss", quote(strings.ToUpper(testIssuer))), "iss"},
		{"ISS beside iss", claim("ISS", quote(testIssuer)), "iss"},
		{"i\u017fs beside iss", claim("i\u017fs", quote(testIssuer)), "iss"},
		{"no aud", claim("aud", ""), "aud"},
		{"aud a number", claim("aud", "1"), "aud"},
		{"aud null", claim("aud", "null"), "aud"},
		{"aud an object", claim("aud", `{"bank-app":true}`), "aud"},
		{"aud with a number", claim("aud", `["bank-app",1]`), "aud"},
		{"aud nested", claim("aud", `[["bank-app"]]`), "aud"},
		{"aud empty", claim("aud", `[]`), "aud"},
		{"another audience", claim("aud", `"bank-web"`), "aud"},
		{"audience in other case", claim("aud", `"Bank-App"`), "aud"},
		{"audiences in one string", claim("aud", `"bank-app other"`), "aud"},
		{"Aud beside aud", claim("Aud", `"bank-app"`), "aud"},
		{"no sub", claim("sub", ""), "sub"},
		{"sub empty", claim("sub", `""`), "sub"},
		{"sub a number", claim("sub", "42"), "sub"},
		{"sub null", claim("sub", "null"), "sub"},
		{"sub an array", claim("sub", `["a"]`), "sub"},
		{"sub too long", claim("sub", quote(strings.Repeat("s", 256))), "sub"},
		{"sub with a line break", claim("sub", `"a\nb"`), "sub"},
		{"sub with NUL", claim("sub", `"a\u0000"`), "sub"},
		{"sub with C1", claim("sub", `"a\u0085"`), "sub"},
		{"SUB beside sub", claim("SUB", `"admin"`), "sub"},
		{"Sub instead of sub", ed.token(body(map[string]string{"sub": "", "Sub": `"a"`})), "sub"},
		{"no exp", claim("exp", ""), "exp"},
		{"exp now", claim("exp", at(0)), "exp"},
		{"exp a second ago", claim("exp", at(-time.Second)), "exp"},
		{"exp now and a fraction", claim("exp", at(0)+".9"), "exp"},
		{"exp a string", claim("exp", `"`+at(time.Hour)+`"`), "exp"},
		{"exp null", claim("exp", "null"), "exp"},
		{"exp negative", claim("exp", "-1"), "exp"},
		{"exp zero", claim("exp", "0"), "exp"},
		{"exp too large", claim("exp", "9007199254740993e1"), "exp"},
		{"exp wraps int64", claim("exp", "18446744073709551616"), "exp"},
		{"exp beyond float64", claim("exp", "1e999"), "exp"},
		{"Exp beside exp", claim("Exp", at(time.Hour)), "exp"},
		{"nbf beyond the skew", claim("nbf", at(31*time.Second)), "nbf"},
		{"nbf a string", claim("nbf", `"0"`), "nbf"},
		{"nbf null", claim("nbf", "null"), "nbf"},
		{"nbf wraps int64", claim("nbf", "18446744073709551616"), "nbf"},
		{"NBF", claim("NBF", "0"), "nbf"},
		{"iat beyond the skew", claim("iat", at(31*time.Second)), "iat"},
		{"iat a boolean", claim("iat", "true"), "iat"},
		{"Iat beside iat", claim("Iat", at(0)), "iat"},
		{"cnf of DPoP", claim("cnf", `{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}`), "cnf"},
		{"cnf of mutual TLS", claim("cnf", `{"x5t#S256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}`), "cnf"},
		{"cnf null", claim("cnf", "null"), "cnf"},
		{"CNF", claim("CNF", "{}"), "cnf"},
		{"CPF beside cpf", claim("CPF", quote(testCPF)), "cpf"},
		{"CPF instead of cpf", ed.token(body(map[string]string{"cpf": "", "Cpf": quote(testCPF)})), "cpf"},
	} {
		tc.authorization = "Bearer " + tc.authorization
		table = append(table, tc)
	}
	for _, tc := range table {
		t.Run(tc.name, func(t *testing.T) {
			caller, err := a.Authenticate(t.Context(), tc.authorization)
			token := strings.TrimPrefix(tc.authorization, "Bearer ")
			e := wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, tc.field, token)
			if e.Err != nil {
				t.Errorf("has a cause: %v", e.Err)
			}
		})
	}
	if _, err := bearer(t.Context(), a, good); err != nil {
		t.Errorf("the token that the others vary is not good: %v", err)
	}
}

// spareBits changes the last character of a 64-byte signature in bits that decode to nothing.
func spareBits(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(token) - 1
	return token[:last] + string(alphabet[strings.IndexByte(alphabet, token[last])|1])
}

// embedded is a token that brings the key that verifies it along, in every way there is.
func embedded(s *signer) string {
	return s.raw(fmt.Sprintf(`{"alg":"EdDSA","kid":"ed","jwk":{"kty":"OKP","crv":"Ed25519","x":%q},"jku":"https://evil.example/jwks"}`,
		s.jwk["x"]), body(nil))
}

func TestCPFClaim(t *testing.T) {
	key := edSigner(t, "a")
	app := bankApp(t, jwksOf(t, key))
	for _, name := range []string{"", "https://bank.example/cpf", "document_number"} {
		app.CPFClaim = name
		a := mustNew(t, Config{Apps: []App{app}})
		claim := name
		if name == "" {
			claim = "cpf"
		}
		base := map[string]string{"cpf": ""}
		with := func(value string) string {
			base[claim] = value
			return key.token(body(base))
		}
		got, err := bearer(t.Context(), a, with(quote(testCPF)))
		if err != nil || got.CPF.Digits() != testCPF {
			t.Errorf("%s: got %v, %v", claim, got, err)
		}
		for _, bad := range []string{
			`52998224725`, `null`, `true`, `["52998224725"]`, `{}`, `""`, `"52998224724"`, `"11111111111"`,
			`" 52998224725"`, `"5299822472"`, `"529982247-25"`,
		} {
			token := with(bad)
			caller, err := bearer(t.Context(), a, token)
			if err != nil || !caller.CPF.IsZero() || caller.CPFFault == nil || caller.CPFFault.Reason != selo.ReasonCPFInvalid || caller.CPFFault.Field != claim {
				t.Errorf("%s of %s: got %+v, %v", claim, bad, caller, err)
			}
		}
		// What an unproven token carries is no matter of CPFs.
		forged := with(`"1"`)
		caller, err := bearer(t.Context(), a, forged[:len(forged)-8]+"AAAAAAAA")
		wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "signature")
	}
	// The claim of another app is only some claim.
	app.CPFClaim = "document_number"
	a := mustNew(t, Config{Apps: []App{app}})
	got, err := bearer(t.Context(), a, key.token(body(map[string]string{"cpf": `"1"`})))
	if err != nil || !got.CPF.IsZero() {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestAppsAreApart(t *testing.T) {
	one, two, other := edSigner(t, "k"), edSigner(t, "k"), edSigner(t, "k")
	a := mustNew(t, Config{Apps: []App{
		{Name: "one", Issuer: testIssuer, Audience: "aud-one", JWKSFile: writeFile(t, jwksOf(t, one))},
		{Name: "two", Issuer: testIssuer, Audience: "aud-two", JWKSFile: writeFile(t, jwksOf(t, two))},
		{Name: "other", Issuer: "https://other.example", Audience: "aud-one", JWKSFile: writeFile(t, jwksOf(t, other))},
	}})
	claim := func(iss, aud string) string { return body(map[string]string{"iss": quote(iss), "aud": aud}) }
	for _, tc := range []struct {
		name    string
		signer  *signer
		payload string
		app     string
		field   string
	}{
		{"one", one, claim(testIssuer, `"aud-one"`), "one", ""},
		{"two", two, claim(testIssuer, `["aud-two","aud-three"]`), "two", ""},
		{"other", other, claim("https://other.example", `["aud-one","aud-two"]`), "other", ""},
		{"two apps in one token", one, claim(testIssuer, `["aud-one","aud-two"]`), "", "aud"},
		{"key of the other app", two, claim(testIssuer, `"aud-one"`), "", "signature"},
		{"key of the other issuer", other, claim(testIssuer, `"aud-one"`), "", "signature"},
		{"pair that is not configured", other, claim("https://other.example", `"aud-two"`), "", "aud"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			token := tc.signer.token(tc.payload)
			caller, err := bearer(t.Context(), a, token)
			if tc.app == "" {
				wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, tc.field, token)
			} else if err != nil || caller.App != tc.app || caller.Subject.Issuer != caller.Issuer {
				t.Errorf("got %+v, %v", caller, err)
			}
		})
	}
}

// A receipt is signed with EdDSA, has iss, aud and sub, and its keys are published as a JWKS: everything but
// its typ would do. The same payload under the typ of an access token is the control.
func TestReceiptIsNoCredential(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := selo.ParseReceiptKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := key.Public().JWKS()
	if err != nil {
		t.Fatal(err)
	}
	app := bankApp(t, jwks)
	a := mustNew(t, Config{Apps: []App{app}})
	receipt, err := key.Sign(selo.Receipt{
		Issuer: testIssuer, App: "bank-app", Subject: selo.Subject{Issuer: testIssuer, ID: testSub}, Session: "s",
		Product: "caf/face-liveness", Purpose: "login", Assurance: selo.AssuranceMatch, ID: "j",
		IssuedAt: start(), ExpiresAt: start().Add(time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	caller, err := bearer(t.Context(), a, receipt)
	wantRefused(t, caller, err, selo.ReasonCallerUnauthenticated, "typ", receipt)

	control := &signer{alg: "EdDSA", sign: func(b []byte) []byte { return ed25519.Sign(private, b) }}
	if _, err := bearer(t.Context(), a, control.raw(`{"alg":"EdDSA"}`, body(nil))); err != nil {
		t.Errorf("the control: %v", err)
	}
}

func TestErrorIsNilOrNot(t *testing.T) {
	key := edSigner(t, "a")
	a := mustNew(t, Config{Apps: []App{bankApp(t, jwksOf(t, key))}})
	if _, err := bearer(t.Context(), a, key.token(body(nil))); err != nil {
		t.Errorf("a typed nil: %#v", err)
	}
	_, err := bearer(t.Context(), a, "x")
	if !errors.Is(err, selo.ReasonCallerUnauthenticated) {
		t.Errorf("got %v", err)
	}
}

// Some issuers have the CPF in sub and nowhere else.
func TestCPFInSub(t *testing.T) {
	key := edSigner(t, "a")
	app := bankApp(t, jwksOf(t, key))
	app.CPFClaim = "sub"
	a := mustNew(t, Config{Apps: []App{app}})
	got, err := bearer(t.Context(), a, key.token(body(map[string]string{"sub": quote(testCPF)})))
	if err != nil || got.CPF.Digits() != testCPF || got.Subject.ID != testCPF {
		t.Errorf("got %v, %v", got, err)
	}
	got, err = bearer(t.Context(), a, key.token(body(nil)))
	if err != nil || !got.CPF.IsZero() || got.CPFFault == nil {
		t.Errorf("a sub that is no CPF: got %v, %v", got, err)
	}
}
