package sandbox_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/sandbox"
)

const (
	liveness       = "/sdk/caf/face-liveness"
	authentication = "/sdk/caf/face-authentication"
)

func signedResponse(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	var answer map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK || len(answer) != 1 {
		t.Fatalf("got %d %s (%v), want 200 and a signedResponse", w.Code, w.Body, err)
	}
	return answer["signedResponse"]
}

// TestMintRunVerify goes the whole way with the root package at both ends.
func TestMintRunVerify(t *testing.T) {
	s, log := newSandbox(t)
	for _, tt := range []struct {
		path             string
		profile          *selo.Profile
		clientID, secret string
		outcome          sandbox.Outcome
		granted          bool
	}{
		{liveness, selo.CafFaceLiveness(), bothClient, bothSecret, sandbox.OutcomeApprove, true},
		{liveness, selo.CafFaceLiveness(), aliveClient, aliveSecret, sandbox.OutcomeApprove, true},
		{liveness, selo.CafFaceLiveness(), aliveClient, aliveSecret, sandbox.OutcomeNotAlive, false},
		{authentication, selo.CafFaceAuthentication(), bothClient, bothSecret, sandbox.OutcomeApprove, true},
		{authentication, selo.CafFaceAuthentication(), bothClient, bothSecret, sandbox.OutcomeNotAlive, false},
		{authentication, selo.CafFaceAuthentication(), bothClient, bothSecret, sandbox.OutcomeNoMatch, false},
	} {
		t.Run(fmt.Sprintf("%s/%s/%s", tt.profile.Product, tt.outcome, tt.clientID), func(t *testing.T) {
			secret, err := selo.NewSecret([]byte(tt.secret))
			if err != nil {
				t.Fatal(err)
			}
			key := selo.AccessKey{ClientID: tt.clientID, Secret: secret, Environment: selo.EnvironmentSandbox}
			token, err := selo.Mint(selo.MintRequest{Profile: tt.profile, Key: key, CPF: mustCPF(t, ana), Now: at})
			if err != nil {
				t.Fatal(err)
			}
			for _, authorization := range []string{token.JWT, "Bearer " + token.JWT, "bearer " + token.JWT} {
				w := post(t, s, tt.path, body("529.982.247-25", tt.outcome), authorization)
				if warned := w.Header().Get(sandbox.WarningHeader); warned != "" {
					t.Errorf("warned: %s", warned)
				}
				granted, err := selo.Verify(t.Context(), signedResponse(t, w), selo.Expectation{
					Profile: tt.profile, Key: key, CPF: mustCPF(t, ana), Once: new(selo.MemoryOnce), Opened: at, Now: at,
					Assurance: selo.AssurancePresence,
				})
				if tt.granted {
					if err != nil {
						t.Fatalf("not granted: %v", err)
					}
					if granted.Assurance != tt.profile.Assurance || !granted.IssuedAt.Equal(at) {
						t.Errorf("granted %v at %v", granted.Assurance, granted.IssuedAt)
					}
					continue
				}
				// Nothing but the decision is against it.
				if diff := cmp.Diff([]selo.Reason{selo.ReasonNotApproved}, selo.ReasonsOf(err)); diff != "" {
					t.Errorf("reasons: %s", diff)
				}
			}
		})
	}
	wantNothingSecret(t, log.Bytes())
}

func TestResponseShapes(t *testing.T) {
	s, _ := newSandbox(t)
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for _, tt := range []struct {
		path    string
		outcome sandbox.Outcome
		want    map[string]any
	}{
		{liveness, sandbox.OutcomeApprove, map[string]any{"isAlive": true}},
		{liveness, sandbox.OutcomeNotAlive, map[string]any{"isAlive": false}},
		{authentication, sandbox.OutcomeApprove, map[string]any{"isAlive": true, "isMatch": true, "message": "the face matches"}},
		{authentication, sandbox.OutcomeNotAlive, map[string]any{"isAlive": false, "isMatch": false, "message": "nobody alive was seen"}},
		{authentication, sandbox.OutcomeNoMatch, map[string]any{"isAlive": true, "isMatch": false, "message": "the face does not match"}},
	} {
		t.Run(tt.path+" "+string(tt.outcome), func(t *testing.T) {
			response := signedResponse(t, post(t, s, tt.path, body("529.982.247-25", tt.outcome), sign(payload(""))))
			header, got := decode(t, response, bothSecret)
			if header != sandbox.HS256Header {
				t.Errorf("header %s", header)
			}
			id, _ := got["requestId"].(string)
			for _, name := range []string{"requestId", "token", "userId"} {
				value, _ := got[name].(string)
				if !uuid.MatchString(value) || seen[value] {
					t.Errorf("%s = %q: not a UUID, or seen before", name, value)
				}
				seen[value] = true
				delete(got, name)
			}
			tt.want["imageUrl"] = "https://images.sandbox.invalid/" + id + ".jpg"
			tt.want["personId"] = ana
			tt.want["sdkVersion"] = "0.0.0-sandbox"
			tt.want["iat"] = float64(at.Unix())
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
		})
	}
}

// decode checks the signature of a token by hand and returns what is in it.
func decode(t testing.TB, token, secret string) (header string, claims map[string]any) {
	t.Helper()
	segments := strings.Split(token, ".")
	if len(segments) != 3 {
		t.Fatalf("%d segments", len(segments))
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(segments[0] + "." + segments[1]))
	if segments[2] != base64.RawURLEncoding.EncodeToString(mac.Sum(nil)) {
		t.Fatal("wrong signature")
	}
	h, err1 := base64.RawURLEncoding.DecodeString(segments[0])
	p, err2 := base64.RawURLEncoding.DecodeString(segments[1])
	if err := errors.Join(err1, err2, json.Unmarshal(p, &claims)); err != nil {
		t.Fatal(err)
	}
	return string(h), claims
}

func TestTokens(t *testing.T) {
	good := sign(payload(""))
	signWith := func(header, payload string) string {
		return sandbox.Sign([]byte(bothSecret), []byte(header), []byte(payload))
	}
	exp := func(value string) string { return sign(fmt.Sprintf(`{"iss":%q,"exp":%s}`, bothClient, value)) }
	lastOther := func(s string) string { // the last digit with a spare bit set
		const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		i := strings.IndexByte(digits, s[len(s)-1])
		return s[:len(s)-1] + string(digits[i|1])
	}
	short := func(payload string) string {
		return sandbox.Sign([]byte(aliveSecret), []byte(sandbox.HS256Header), []byte(payload))
	}
	const refusedMalformed, notBase64 = "three segments", "canonical base64url"

	for _, tt := range []struct {
		name          string
		authorization []string
		message       string // "" is accepted
	}{
		{"good", []string{good}, ""},
		{"typ left out", []string{signWith(`{"alg":"HS256"}`, payload(""))}, ""},
		{"kid", []string{signWith(`{"kid":"7","alg":"HS256"}`, payload(""))}, ""},
		{"unknown claim", []string{sign(payload(`,"nbf":99999999999,"role":"x"`))}, ""},
		{"for this person, peopleId", []string{sign(payload(`,"peopleId":"52998224725"`))}, ""},
		{"for this person, personId, dotted", []string{sign(payload(`,"personId":"529.982.247-25"`))}, ""},
		{"both claims, one person", []string{sign(payload(`,"personId":"529.982.247-25","peopleId":"52998224725"`))}, ""},
		{"short secret", []string{short(fmt.Sprintf(`{"iss":%q,"exp":1700000001}`, aliveClient))}, ""},
		{"exp with a fraction", []string{exp("1700000000.5")}, ""},
		{"exp in another notation", []string{exp("1.700000001e9")}, ""},

		{"none", nil, "exactly one Authorization"},
		{"empty", []string{""}, "exactly one Authorization"},
		{"two", []string{good, good}, "exactly one Authorization"},
		{"Bearer alone", []string{"Bearer "}, refusedMalformed},
		{"another scheme", []string{"Basic " + good}, notBase64},
		{"garbage", []string{"let me in"}, refusedMalformed},
		{"two segments", []string{good[:strings.LastIndexByte(good, '.')]}, refusedMalformed},
		{"four segments", []string{good + ".x"}, refusedMalformed},
		{"JSON serialisation", []string{`{"payload":"e30","protected":"e30","signature":"e30"}`}, refusedMalformed},
		{"line break", []string{good + "\n"}, refusedMalformed},
		{"padding", []string{good + "="}, notBase64},
		{"spare bit", []string{lastOther(good)}, notBase64},
		{"too long", []string{sign(payload(`,"x":"` + strings.Repeat("x", selo.MaxTokenSize) + `"`))}, "longer than"},

		{"alg none", []string{signWith(`{"alg":"none"}`, payload(""))}, "alg must be HS256"},
		{"alg none, unsigned", []string{"eyJhbGciOiJub25lIn0." + strings.Split(good, ".")[1] + "."}, "alg must be HS256"},
		{"alg HS512", []string{signWith(`{"alg":"HS512","typ":"JWT"}`, payload(""))}, "alg must be HS256"},
		{"alg in small letters", []string{signWith(`{"alg":"hs256"}`, payload(""))}, "alg must be HS256"},
		{"alg left out", []string{signWith(`{"typ":"JWT"}`, payload(""))}, "alg must be HS256"},
		{"alg twice", []string{signWith(`{"alg":"HS256","alg":"HS256"}`, payload(""))}, "header must be"},
		{"typ at+jwt", []string{signWith(`{"alg":"HS256","typ":"at+jwt"}`, payload(""))}, "typ must be JWT"},
		{"typ null", []string{signWith(`{"alg":"HS256","typ":null}`, payload(""))}, "typ must be JWT"},
		{"b64", []string{signWith(`{"alg":"HS256","b64":false,"crit":["b64"]}`, payload(""))}, "header must be"},
		{"header null", []string{signWith(`null`, payload(""))}, "alg must be HS256"},
		{"header not JSON", []string{signWith(`HS256`, payload(""))}, "header must be"},

		{"payload not JSON", []string{sign("let me in")}, "payload must be"},
		{"payload null", []string{sign("null")}, "payload must be"},
		{"payload an array", []string{sign("[]")}, "payload must be"},
		{"name twice", []string{sign(payload(`,"iss":"` + bothClient + `"`))}, "payload must be"},
		{"not UTF-8", []string{sign(payload(",\"x\":\"\xff\""))}, "payload must be"},
		{"trailing data", []string{sign(payload("") + "{}")}, "payload must be"},
		{"no iss", []string{sign(`{"exp":1700000060}`)}, "payload must be"},
		{"iss of another case", []string{sign(strings.Replace(payload(""), "iss", "Iss", 1))}, "payload must be"},
		{"iss a number", []string{sign(`{"iss":1,"exp":1700000060}`)}, "payload must be"},
		{"unknown client", []string{sign(`{"iss":"somebody","exp":1700000060}`)}, "not the client ID"},

		{"another's secret", []string{short(payload(""))}, "signature is not"},
		{"no signature", []string{good[:strings.LastIndexByte(good, '.')+1]}, "signature is not"},
		{"signature cut", []string{good[:len(good)-3]}, "signature is not"},
		{"payload changed", []string{strings.Split(good, ".")[0] + "." + strings.Split(sign(payload(`,"x":1`)), ".")[1] + "." + strings.Split(good, ".")[2]}, "signature is not"},

		{"expired", []string{exp("1699999999")}, "has expired"},
		{"expires now", []string{exp("1700000000")}, "has expired"},
		{"exp a string", []string{exp(`"1700000060"`)}, "number of seconds"},
		{"exp null", []string{exp("null")}, "number of seconds"},
		{"exp in milliseconds", []string{exp("1700000060000")}, "number of seconds"},
		{"exp zero", []string{exp("0")}, "number of seconds"},
		{"exp negative", []string{exp("-1")}, "number of seconds"},
		{"exp out of range", []string{exp("1e999")}, "number of seconds"},

		{"two people", []string{sign(payload(`,"personId":"52998224725","peopleId":"11144477735"`))}, "two people"},
		{"CPF a number", []string{sign(payload(`,"peopleId":52998224725`))}, "must be a string with a CPF"},
		{"CPF null", []string{sign(payload(`,"peopleId":null`))}, "must be a string with a CPF"},
		{"CPF empty", []string{sign(payload(`,"personId":""`))}, "must be a string with a CPF"},
		{"CPF that is none", []string{sign(payload(`,"peopleId":"00011122233"`))}, "must be a string with a CPF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, log := newSandbox(t)
			w := post(t, s, liveness, body(ana, sandbox.OutcomeApprove), tt.authorization...)
			if got := w.Header().Get(sandbox.WarningHeader); got != "" {
				t.Errorf("warned: %s", got)
			}
			if tt.message == "" {
				signedResponse(t, w)
			} else {
				wantRefusal(t, w, http.StatusUnauthorized, "tokenException", tt.message)
				wantNothingSecret(t, w.Body.Bytes(), tt.authorization...)
			}
			wantNothingSecret(t, log.Bytes(), tt.authorization...)
		})
	}
}

func TestTokenWithoutExpWarns(t *testing.T) {
	s, _ := newSandbox(t)
	token := sign(fmt.Sprintf(`{"iss":%q}`, bothClient))
	w := post(t, s, liveness, body(ana, sandbox.OutcomeApprove), token)
	signedResponse(t, w)
	if got := w.Header().Get("X-Sandbox-Warning"); got != "token has no exp" {
		t.Errorf("warning %q", got)
	}
	w = post(t, s, liveness, `{}`, token)
	if got := w.Header().Get("X-Sandbox-Warning"); got != "token has no exp" || w.Code != http.StatusBadRequest {
		t.Errorf("%d with warning %q", w.Code, got)
	}
}

func TestAttempts(t *testing.T) {
	forAna := sign(payload(`,"peopleId":"52998224725"`))
	forAnaToo := sign(payload(`,"personId":"529.982.247-25"`))
	forAll := signAs(allClient, allSecret, `,"peopleId":"52998224725"`)
	aliveOnly := sandbox.Sign([]byte(aliveSecret), []byte(sandbox.HS256Header), []byte(fmt.Sprintf(`{"iss":%q,"exp":1700000060}`, aliveClient)))
	const shape = "the body must be one JSON object"
	for _, tt := range []struct {
		name, path, token, body string
		status                  int
		code, message           string
	}{
		{"key not activated", authentication, aliveOnly, body(ana, "approve"), 403, "tokenException", "not activated"},
		{"another person, peopleId", liveness, forAna, body(bruno, "approve"), 403, "cpf_mismatch", "personId is not the CPF"},
		{"another person, personId", authentication, forAnaToo, body(bruno, "approve"), 403, "cpf_mismatch", "personId is not the CPF"},
		{"no such person", liveness, forAna, body("52998224726", "approve"), 400, "cpf_invalid", "check digits"},
		{"repeated digits", liveness, forAna, body("11111111111", "approve"), 400, "cpf_invalid", "check digits"},
		{"spaces", liveness, forAna, body(" 52998224725", "approve"), 400, "cpf_invalid", "11 digits"},
		{"liveness compares nobody", liveness, forAna, body(ana, "no-match"), 400, "request_invalid", "caf/face-liveness has: approve, not-alive"},
		{"unknown outcome", liveness, forAna, body(ana, "maybe"), 400, "request_invalid", "outcome must be one"},
		{"outcome in capitals", liveness, forAna, body(ana, "Approve"), 400, "request_invalid", "outcome must be one"},
		{"no body", liveness, forAna, "", 400, "request_invalid", shape},
		{"null", liveness, forAna, "null", 400, "request_invalid", "personId is required"},
		{"array", liveness, forAna, "[]", 400, "request_invalid", shape},
		{"no personId", liveness, forAna, `{"outcome":"approve"}`, 400, "request_invalid", "personId is required"},
		{"outcome empty", liveness, forAna, `{"personId":"52998224725","outcome":""}`, 400, "request_invalid", "outcome must be one"},
		{"outcome of another product", authentication, forAna, body(ana, "pending"), 400, "request_invalid", "outcome must be one"},
		{"unknown shape", liveness, forAna, `{"personId":"52998224725","shape":"web"}`, 400, "request_invalid", "native or web-2d"},
		{"shape of another product", authentication, forAna, `{"personId":"52998224725","shape":"web-2d"}`, 400, "request_invalid", "face-liveness only"},
		{"wrap a string", liveness, forAna, `{"personId":"52998224725","wrap":"true"}`, 400, "request_invalid", shape},
		{"policy of another product", liveness, forAna, `{"personId":"52998224725","policyId":"p"}`, 400, "request_invalid", "smart-auth, and for nothing else"},
		{"document detection with policy", "/sdk/caf/document-detection", forAll, `{"personId":"52998224725","policyId":"p"}`, 400, "request_invalid", "nothing else"},
		{"document detection wrapped", "/sdk/caf/document-detection", forAll, `{"personId":"52998224725","wrap":true}`, 400, "request_invalid", "signs nothing"},
		{"document detection, another person", "/sdk/caf/document-detection", forAll, body(bruno, "approve"), 403, "cpf_mismatch", "personId is not the CPF"},
		{"document detection, not activated", "/sdk/caf/document-detection", forAna, body(ana, "approve"), 403, "tokenException", "not activated"},
		{"personId null", liveness, forAna, `{"personId":null,"outcome":"approve"}`, 400, "request_invalid", "personId is required"},
		{"personId a number", liveness, forAna, `{"personId":52998224725,"outcome":"approve"}`, 400, "request_invalid", shape},
		{"unknown name", liveness, forAna, `{"personId":"52998224725","outcome":"approve","52998224725":1}`, 400, "request_invalid", shape},
		{"name of another case", liveness, forAna, `{"PersonId":"52998224725","outcome":"approve"}`, 400, "request_invalid", shape},
		{"name twice", liveness, forAna, `{"personId":"52998224725","outcome":"not-alive","outcome":"approve"}`, 400, "request_invalid", shape},
		{"trailing data", liveness, forAna, body(ana, "approve") + "{}", 400, "request_invalid", shape},
		{"not UTF-8", liveness, forAna, "{\"personId\":\"\xff\",\"outcome\":\"approve\"}", 400, "request_invalid", shape},
		{"cut", liveness, forAna, `{"personId":"52998224725","outcome":"app`, 400, "request_invalid", shape},
		{"too long", liveness, forAna, body(ana, "approve") + strings.Repeat(" ", 8<<10), 413, "too_large", "8192 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, log := newSandbox(t)
			w := post(t, s, tt.path, tt.body, tt.token)
			wantRefusal(t, w, tt.status, tt.code, tt.message)
			wantNothingSecret(t, w.Body.Bytes(), tt.token)
			wantNothingSecret(t, log.Bytes(), tt.token)
		})
	}
}

// wantNothingSecret checks that no secret, CPF or token is in out.
func wantNothingSecret(t testing.TB, out []byte, tokens ...string) {
	t.Helper()
	forbidden := []string{bothSecret, aliveSecret, smartSecret, allSecret, apiToken, hookSecret, ana, "529.982.247-25", bruno, "111.444.777-35", "eyJ"}
	for _, token := range tokens {
		for _, segment := range strings.Split(token, ".") {
			if len(segment) > 8 {
				forbidden = append(forbidden, segment)
			}
		}
	}
	for _, f := range forbidden {
		if bytes.Contains(out, []byte(f)) {
			t.Errorf("%q in: %s", f, out)
		}
	}
}

func TestSign(t *testing.T) {
	// RFC 7515 appendix A.1, which has line breaks in its header and payload.
	secret, err := base64.RawURLEncoding.DecodeString("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
	if err != nil {
		t.Fatal(err)
	}
	got := sandbox.Sign(secret, []byte("{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}"),
		[]byte("{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"))
	want := "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9" +
		".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ" +
		".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
