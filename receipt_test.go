package selo_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/selo-id/selo"
)

const (
	receiptSeed      = "a fake Ed25519 seed of 32 bytes!"
	otherReceiptSeed = "another fake seed of 32 bytes..."
)

func receiptPrivate(seed string) ed25519.PrivateKey { return ed25519.NewKeyFromSeed([]byte(seed)) }

func receiptPublic(seed string) ed25519.PublicKey {
	return receiptPrivate(seed).Public().(ed25519.PublicKey)
}

// receiptKid is the RFC 7638 thumbprint of the key of receiptSeed, computed here on its own.
func receiptKid(seed string) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + segment(receiptPublic(seed)) + `"}`))
	return segment(sum[:])
}

func receiptHeader() string {
	return `{"alg":"EdDSA","kid":"` + receiptKid(receiptSeed) + `","typ":"selo-receipt+jwt"}`
}

var receiptMembers = []member{
	{"iss", `"https://selo.bank.example"`}, {"aud", `"bank-app"`}, {"sub", `"ana"`}, {"sub_iss", `"https://id.bank.example"`},
	{"sid", `"ses_1"`}, {"product", `"caf/face-authentication"`}, {"purpose", `"new-device"`}, {"assurance", `"match"`},
	{"iat", "1700000060"}, {"exp", "1700000120"}, {"jti", `"rct_1"`},
}

func receiptPayload(changes ...string) string { return object(receiptMembers, changes...) }

// signReceipt signs any header and payload with the key of receiptSeed.
func signReceipt(header, payload string) string {
	signed := segment(header) + "." + segment(payload)
	return signed + "." + segment(ed25519.Sign(receiptPrivate(receiptSeed), []byte(signed)))
}

func testReceipt() selo.Receipt {
	return selo.Receipt{
		Issuer: "https://selo.bank.example", App: "bank-app", Subject: selo.Subject{Issuer: "https://id.bank.example", ID: "ana"},
		Session: "ses_1", Product: authentication, Purpose: "new-device", Assurance: selo.AssuranceMatch,
		IssuedAt: testNow, ExpiresAt: testNow.Add(time.Minute), ID: "rct_1",
	}
}

func receiptExpecting(key *selo.ReceiptKey) selo.ReceiptExpectation {
	return selo.ReceiptExpectation{
		Keys: key.Public(), Issuer: "https://selo.bank.example", App: "bank-app",
		Subject: selo.Subject{Issuer: "https://id.bank.example", ID: "ana"}, Purpose: "new-device",
		Once: new(selo.MemoryOnce), Now: testNow.Add(5 * time.Second),
	}
}

func TestReceipt(t *testing.T) {
	key := receiptKeyOf(t, []byte(receiptSeed))
	token, err := key.Sign(testReceipt())
	if err != nil {
		t.Fatal(err)
	}
	if want := signReceipt(receiptHeader(), receiptPayload()); token != want {
		t.Errorf("Sign = %s\nwant %s", token, want)
	}
	if again, err := key.Sign(testReceipt()); err != nil || again != token {
		t.Errorf("signed again: %s, %v", again, err)
	}
	got, err := selo.VerifyReceipt(context.Background(), token, receiptExpecting(key))
	if err != nil {
		t.Fatal(err)
	}
	want := testReceipt()
	if d := cmp.Diff(&want, got); d != "" {
		t.Error(d)
	}
	if strings.Contains(token, testCPF) || strings.Contains(token, segment(testCPF)) {
		t.Error("a receipt names the CPF")
	}
}

// A receipt of somebody who signs up says that no CPF was known, and is taken only where that is said to be enough.
func TestSignUpReceipt(t *testing.T) {
	key := receiptKeyOf(t, []byte(receiptSeed))
	r := testReceipt()
	r.SignUp = true
	if token, err := key.Sign(r); err == nil {
		t.Errorf("signed a sign-up with a match: %s", token)
	}
	r.Assurance = selo.AssurancePresence
	token, err := key.Sign(r)
	if err != nil {
		t.Fatal(err)
	}
	want := receiptExpecting(key)
	want.Assurance = selo.AssurancePresence
	if got, err := selo.VerifyReceipt(context.Background(), token, want); got != nil || !errors.Is(err, selo.ReasonSubjectUnproven) {
		t.Errorf("%v, %v", got, err)
	}
	want.SignUp = true
	if got, err := selo.VerifyReceipt(context.Background(), token, want); err != nil || !got.SignUp {
		t.Errorf("%v, %v", got, err)
	}
}

func TestVerifyReceiptToken(t *testing.T) {
	key := receiptKeyOf(t, []byte(receiptSeed))
	good := signReceipt(receiptHeader(), receiptPayload())
	public := receiptPublic(receiptSeed)
	h := func(header string) string { return signReceipt(header, receiptPayload()) }
	p := func(changes ...string) string { return signReceipt(receiptHeader(), receiptPayload(changes...)) }
	with := func(from, to string) string { return h(strings.Replace(receiptHeader(), from, to, 1)) }
	macced := func(header string, key []byte) string {
		signed := segment(header) + "." + segment(receiptPayload())
		m := hmac.New(sha256.New, key)
		m.Write([]byte(signed))
		return signed + "." + segment(m.Sum(nil))
	}
	byOther := func(header string) string {
		signed := segment(header) + "." + segment(receiptPayload())
		return signed + "." + segment(ed25519.Sign(receiptPrivate(otherReceiptSeed), []byte(signed)))
	}
	const hs = `{"alg":"HS256","kid":"KID","typ":"selo-receipt+jwt"}`
	hsHeader := strings.Replace(hs, "KID", receiptKid(receiptSeed), 1)
	tests := []struct {
		name, token string
		want        selo.Reason // "" is accepted
	}{
		{"good", good, ""},
		{"unknown claim", p("extra", `{"a":[1]}`), ""},
		{"escapes", p("purpose", `"new\u002ddevice"`), ""},
		{"two minutes", p("exp", "1700000180"), ""},
		{"too large", good + strings.Repeat("A", 16384), selo.ReasonTooLarge},
		{"empty", "", selo.ReasonMalformed},
		{"four segments", good + ".", selo.ReasonMalformed},
		{"line break", good + "\n", selo.ReasonMalformed},
		{"other key, kid ours", byOther(receiptHeader()), selo.ReasonSignatureInvalid},
		{"other key, kid its own", byOther(strings.Replace(receiptHeader(), receiptKid(receiptSeed), receiptKid(otherReceiptSeed), 1)), selo.ReasonSignatureInvalid},
		{"other key in the header", byOther(`{"alg":"EdDSA","typ":"selo-receipt+jwt","jwk":{"kty":"OKP","crv":"Ed25519","x":"` + segment(receiptPublic(otherReceiptSeed)) + `"}}`), selo.ReasonSignatureInvalid},
		{"kid unknown", with(receiptKid(receiptSeed), "unknown"), selo.ReasonSignatureInvalid},
		{"kid empty", with(receiptKid(receiptSeed), ""), selo.ReasonSignatureInvalid},
		{"kid missing", h(`{"alg":"EdDSA","typ":"selo-receipt+jwt"}`), selo.ReasonSignatureInvalid},
		{"kid a number", h(`{"alg":"EdDSA","typ":"selo-receipt+jwt","kid":1}`), selo.ReasonHeaderRefused},
		{"typ JWT", with("selo-receipt+jwt", "JWT"), selo.ReasonHeaderRefused},
		{"typ in upper case", with("selo-receipt+jwt", "SELO-RECEIPT+JWT"), selo.ReasonHeaderRefused},
		{"typ with application", with("selo-receipt+jwt", "application/selo-receipt+jwt"), selo.ReasonHeaderRefused},
		{"typ missing", h(`{"alg":"EdDSA","kid":"` + receiptKid(receiptSeed) + `"}`), selo.ReasonHeaderRefused},
		{"HS256 with the public key", macced(hsHeader, public), selo.ReasonAlgorithmRefused},
		{"HS256 with the public key as text", macced(hsHeader, []byte(segment(public))), selo.ReasonAlgorithmRefused},
		{"EdDSA said, HMAC with the public key", macced(receiptHeader(), public), selo.ReasonSignatureInvalid},
		{"alg none", with("EdDSA", "none"), selo.ReasonAlgorithmRefused},
		{"alg none unsigned", segment(strings.Replace(receiptHeader(), "EdDSA", "none", 1)) + "." + segment(receiptPayload()) + ".", selo.ReasonAlgorithmRefused},
		{"alg Ed25519", with("EdDSA", "Ed25519"), selo.ReasonAlgorithmRefused},
		{"alg in lower case", with("EdDSA", "eddsa"), selo.ReasonAlgorithmRefused},
		{"alg missing", with(`"alg":"EdDSA",`, ""), selo.ReasonAlgorithmRefused},
		{"alg twice", with(`"alg":"EdDSA",`, `"alg":"none","alg":"EdDSA",`), selo.ReasonHeaderRefused},
		{"crit", with("{", `{"crit":["x"],`), selo.ReasonHeaderRefused},
		{"b64", with("{", `{"b64":false,`), selo.ReasonHeaderRefused},
		{"signature empty", good[:strings.LastIndexByte(good, '.')+1], selo.ReasonSignatureInvalid},
		{"signature short", good[:len(good)-2], selo.ReasonSignatureInvalid}, // 63 bytes
		{"signature of another payload", p("jti", `"rct_2"`)[:strings.LastIndexByte(p("jti", `"rct_2"`), '.')] + good[strings.LastIndexByte(good, '.'):], selo.ReasonSignatureInvalid},
		{"payload null", signReceipt(receiptHeader(), "null"), "refused"},
		{"payload an array", signReceipt(receiptHeader(), "[]"), selo.ReasonPayloadInvalid},
		{"payload truncated", signReceipt(receiptHeader(), receiptPayload()[:40]), selo.ReasonPayloadInvalid},
		{"payload with more after it", signReceipt(receiptHeader(), receiptPayload()+"{}"), selo.ReasonPayloadInvalid},
		{"claim twice", signReceipt(receiptHeader(), twice(receiptPayload(), "sub", `"eve"`)), selo.ReasonPayloadInvalid},
		{"claim not UTF-8", p("extra", "\"\xff\""), selo.ReasonPayloadInvalid},
		{"other claim in upper case", p("sub", "", "SUB", `"ana"`), selo.ReasonClaimMissing},
		{"other issuer", p("iss", `"https://selo.bank.example/"`), selo.ReasonTokenConfusion},
		{"other app", p("aud", `"other-app"`), selo.ReasonTokenConfusion},
		{"apps in a list", p("aud", `["bank-app"]`), selo.ReasonPayloadInvalid},
		{"other subject", p("sub", `"eve"`), selo.ReasonSubjectMismatch},
		{"other subject's issuer", p("sub_iss", `"https://id.other.example"`), selo.ReasonSubjectMismatch},
		{"other purpose", p("purpose", `"login"`), selo.ReasonPurposeMismatch},
		{"assurance presence", p("assurance", `"presence"`), selo.ReasonAssuranceTooLow},
		{"assurance reauthenticated", p("assurance", `"reauthenticated"`), selo.ReasonAssuranceTooLow},
		{"assurance unknown", p("assurance", `"strong"`), selo.ReasonPayloadInvalid},
		{"assurance a number", p("assurance", "4"), selo.ReasonPayloadInvalid},
		{"assurance empty", p("assurance", `""`), selo.ReasonPayloadInvalid},
		{"of a sign-up that says more than presence", p("sign_up", "true"), selo.ReasonClaimType},
		{"sign_up false", p("sign_up", "false"), ""},
		{"sign_up a text", p("sign_up", `"true"`), selo.ReasonPayloadInvalid},
		{"issued in the future", p("iat", "1700000096", "exp", "1700000156"), selo.ReasonFromTheFuture},
		{"issued just within the skew", p("iat", "1700000095", "exp", "1700000156"), ""},
		{"expired", p("exp", "1700000064"), selo.ReasonExpired},
		{"expired now", p("exp", "1700000065"), selo.ReasonExpired},
		{"lives two minutes and a second", p("exp", "1700000181"), selo.ReasonClaimType},
		{"lives for ever", p("exp", "9223372036854775807"), selo.ReasonClaimType},
		{"far future wraps", p("iat", "9223372036854775700", "exp", "9223372036854775807"), "refused"},
		{"expires before it is issued", p("iat", "1700000070", "exp", "1700000069"), selo.ReasonClaimType},
		{"expires when it is issued", p("iat", "1700000120"), selo.ReasonClaimType},
		{"negative times", p("iat", "-60", "exp", "60"), selo.ReasonClaimType},
		{"times as text", p("iat", `"1700000060"`), selo.ReasonPayloadInvalid},
		{"times with a fraction", p("exp", "1700000120.5"), selo.ReasonPayloadInvalid},
		{"times null", p("exp", "null"), selo.ReasonClaimType},
	}
	for _, m := range receiptMembers {
		want := selo.ReasonClaimMissing
		if m.name == "iat" || m.name == "exp" {
			want = selo.ReasonClaimType
		} else {
			tests = append(tests, struct {
				name, token string
				want        selo.Reason
			}{"null " + m.name, p(m.name, "null"), selo.ReasonClaimMissing})
		}
		tests = append(tests, struct {
			name, token string
			want        selo.Reason
		}{"without " + m.name, p(m.name, ""), want})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want, once := receiptExpecting(key), new(countingOnce)
			want.Once = once
			r, err := selo.VerifyReceipt(context.Background(), tt.token, want)
			if (r == nil) != (err != nil) || (err == nil) != (tt.want == "") || (len(once.asked) > 0) != (tt.want == "") {
				t.Fatalf("VerifyReceipt = %v, %v, used %v; want %q", r, err, once.asked, tt.want)
			}
			if tt.want != "" && tt.want != "refused" && !errors.Is(err, tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

func TestReceiptExpectation(t *testing.T) {
	key := receiptKeyOf(t, []byte(receiptSeed))
	other := receiptKeyOf(t, []byte(otherReceiptSeed))
	token := signReceipt(receiptHeader(), receiptPayload("assurance", `"reauthenticated"`))
	tests := []struct {
		name   string
		change func(w *selo.ReceiptExpectation)
		want   selo.Reason // "" is accepted
	}{
		{"less is enough", func(w *selo.ReceiptExpectation) { w.Assurance = selo.AssurancePresence }, ""},
		{"exactly enough", func(w *selo.ReceiptExpectation) { w.Assurance = selo.AssuranceReauthenticated }, ""},
		{"match unless said", func(*selo.ReceiptExpectation) {}, selo.ReasonAssuranceTooLow},
		{"nothing set", func(w *selo.ReceiptExpectation) { *w = selo.ReceiptExpectation{} }, selo.ReasonRequestInvalid},
		{"no keys", func(w *selo.ReceiptExpectation) { w.Keys = nil }, selo.ReasonRequestInvalid},
		{"empty keys", func(w *selo.ReceiptExpectation) { w.Keys = new(selo.ReceiptKeys) }, selo.ReasonSignatureInvalid},
		{"other keys", func(w *selo.ReceiptExpectation) { w.Keys = other.Public() }, selo.ReasonSignatureInvalid},
		{"no issuer", func(w *selo.ReceiptExpectation) { w.Issuer = "" }, selo.ReasonRequestInvalid},
		{"no app", func(w *selo.ReceiptExpectation) { w.App = "" }, selo.ReasonRequestInvalid},
		{"no subject", func(w *selo.ReceiptExpectation) { w.Subject.ID = "" }, selo.ReasonRequestInvalid},
		{"no subject's issuer", func(w *selo.ReceiptExpectation) { w.Subject.Issuer = "" }, selo.ReasonRequestInvalid},
		{"no purpose", func(w *selo.ReceiptExpectation) { w.Purpose = "" }, selo.ReasonRequestInvalid},
		{"no once", func(w *selo.ReceiptExpectation) { w.Once = nil }, selo.ReasonRequestInvalid},
		{"negative assurance", func(w *selo.ReceiptExpectation) { w.Assurance = -1 }, selo.ReasonRequestInvalid},
		{"once down", func(w *selo.ReceiptExpectation) {
			w.Assurance, w.Once = selo.AssurancePresence, &countingOnce{err: errors.New("down")}
		}, selo.ReasonStoreUnavailable},
		{"skew does not lengthen", func(w *selo.ReceiptExpectation) {
			w.Assurance, w.Skew, w.Now = selo.AssurancePresence, time.Hour, testNow.Add(time.Minute)
		}, selo.ReasonExpired},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := receiptExpecting(key)
			tt.change(&want)
			r, err := selo.VerifyReceipt(context.Background(), token, want)
			if (r == nil) != (err != nil) || (err == nil) != (tt.want == "") || tt.want != "" && !errors.Is(err, tt.want) {
				t.Errorf("VerifyReceipt = %v, %v; want %q", r, err, tt.want)
			}
		})
	}
}

func TestReceiptIsUsedOnce(t *testing.T) {
	key := receiptKeyOf(t, []byte(receiptSeed))
	want := receiptExpecting(key)
	for i, wantErr := range []error{nil, selo.ReasonReplayed, selo.ReasonReplayed} {
		if _, err := selo.VerifyReceipt(context.Background(), signReceipt(receiptHeader(), receiptPayload()), want); !errors.Is(err, wantErr) {
			t.Errorf("time %d: %v, want %v", i+1, err, wantErr)
		}
	}
	if _, err := selo.VerifyReceipt(context.Background(), signReceipt(receiptHeader(), receiptPayload("jti", `"rct_2"`)), want); err != nil {
		t.Errorf("another receipt: %v", err)
	}
}

func TestSignReceiptRefuses(t *testing.T) {
	key := receiptKeyOf(t, []byte(receiptSeed))
	for name, change := range map[string]func(r *selo.Receipt){
		"issuer": func(r *selo.Receipt) { r.Issuer = "" }, "app": func(r *selo.Receipt) { r.App = "" },
		"subject": func(r *selo.Receipt) { r.Subject.ID = "" }, "subject's issuer": func(r *selo.Receipt) { r.Subject.Issuer = "" },
		"session": func(r *selo.Receipt) { r.Session = "" }, "product": func(r *selo.Receipt) { r.Product = "" },
		"purpose": func(r *selo.Receipt) { r.Purpose = "" }, "id": func(r *selo.Receipt) { r.ID = "" },
		"assurance": func(r *selo.Receipt) { r.Assurance = selo.AssuranceUnset }, "unknown assurance": func(r *selo.Receipt) { r.Assurance = 9 },
		"times":         func(r *selo.Receipt) { r.IssuedAt, r.ExpiresAt = time.Time{}, time.Time{} },
		"issue time":    func(r *selo.Receipt) { r.IssuedAt = time.Time{} },
		"expiry":        func(r *selo.Receipt) { r.ExpiresAt = time.Time{} },
		"lifetime":      func(r *selo.Receipt) { r.ExpiresAt = r.IssuedAt.Add(2*time.Minute + time.Second) },
		"no lifetime":   func(r *selo.Receipt) { r.ExpiresAt = r.IssuedAt.Add(999 * time.Millisecond) },
		"not UTF-8":     func(r *selo.Receipt) { r.Session = "\xff" },
		"before issued": func(r *selo.Receipt) { r.ExpiresAt = r.IssuedAt.Add(-time.Second) },
	} {
		r := testReceipt()
		change(&r)
		if token, err := key.Sign(r); token != "" || err == nil || selo.ReasonsOf(err) == nil {
			t.Errorf("%s: Sign = %q, %v", name, token, err)
		}
	}
}

func TestParseReceiptKey(t *testing.T) {
	key, err := selo.GenerateReceiptKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.PEM()
	if err != nil {
		t.Fatal(err)
	}
	back, err := selo.ParseReceiptKey(text)
	if err != nil {
		t.Fatal(err)
	}
	token, err := back.Sign(testReceipt())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := selo.VerifyReceipt(context.Background(), token, receiptExpecting(key)); err != nil {
		t.Errorf("a key that was written and read: %v", err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	for name, bad := range map[string][]byte{
		"nothing": nil, "no PEM": []byte("fake"), "P-256": pemOf(t, ec),
		"public block": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: block.Bytes}),
		"truncated":    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: block.Bytes[:20]}),
	} {
		if k, err := selo.ParseReceiptKey(bad); k != nil || err == nil {
			t.Errorf("%s: %v, %v", name, k, err)
		}
	}
}

func TestParseReceiptKeys(t *testing.T) {
	key := receiptKeyOf(t, []byte(receiptSeed))
	token := signReceipt(receiptHeader(), receiptPayload())
	x, otherX, kid := segment(receiptPublic(receiptSeed)), segment(receiptPublic(otherReceiptSeed)), receiptKid(receiptSeed)
	jwk := func(x string, changes ...string) string {
		return object([]member{{"kty", `"OKP"`}, {"crv", `"Ed25519"`}, {"alg", `"EdDSA"`}, {"use", `"sig"`}, {"kid", `"` + kid + `"`}, {"x", `"` + x + `"`}}, changes...)
	}
	set := func(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }
	own, err := key.Public().JWKS()
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(own) || strings.Contains(string(own), `"d"`) {
		t.Errorf("JWKS %s", own)
	}
	const rsa = `{"kty":"RSA","kid":"r","n":"AQAB","e":"AQAB"}`
	tests := []struct {
		name, document string
		ok             bool
	}{
		{"our own", string(own), true},
		{"by hand", set(jwk(x)), true},
		{"without alg and use", set(jwk(x, "alg", "", "use", "")), true},
		{"unknown members", `{"x":1,"keys":[` + jwk(x, "x5t", `"a"`) + `]}`, true},
		{"beside another kind", set(rsa, jwk(x)), true},
		{"beside another key", set(jwk(otherX, "kid", `"other"`), jwk(x)), true},
		{"beside what is no key", set("1", "null", `{}`, jwk(x)), true},
		{"one kid for two keys", set(jwk(x), jwk(otherX)), false},
		{"one key twice", set(jwk(x), jwk(x)), false},
		{"nothing", "", false}, {"null", "null", false}, {"array", "[]", false}, {"no keys", "{}", false}, {"keys null", `{"keys":null}`, false},
		{"no key", set(), false}, {"another kind only", set(rsa), false}, {"keys twice", `{"keys":[],"keys":[` + jwk(x) + `]}`, false},
		{"trailing data", set(jwk(x)) + "x", false},
		{"kid missing", set(jwk(x, "kid", "")), false}, {"kid empty", set(jwk(x, "kid", `""`)), false}, {"kid a number", set(jwk(x, "kid", "1")), false},
		{"x short", set(jwk(x[:40])), false}, {"x padded", set(jwk(x + "=")), false}, {"x missing", set(jwk(x, "x", "")), false},
		{"x with a line break", set(jwk(x[:20] + `\n` + x[20:])), false},
		{"for encryption", set(jwk(x, "use", `"enc"`)), false}, {"another alg", set(jwk(x, "alg", `"ES256"`)), false},
		{"X25519", set(jwk(x, "crv", `"X25519"`)), false}, {"EC", set(jwk(x, "kty", `"EC"`)), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			keys, err := selo.ParseReceiptKeys([]byte(tt.document))
			if (err == nil) != tt.ok || (keys == nil) != (err != nil) {
				t.Fatalf("ParseReceiptKeys = %v, %v; want ok %v", keys, err, tt.ok)
			}
			if !tt.ok {
				return
			}
			want := receiptExpecting(key)
			want.Keys = keys
			if _, err := selo.VerifyReceipt(context.Background(), token, want); err != nil {
				t.Error(err)
			}
		})
	}
}
