package sandbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/selo-id/selo/internal/sandbox"
)

// FuzzSDK checks that nothing but a token that was signed with a known secret and has not expired gets
// an answer of 200, by a reading of the token that shares nothing with the sandbox's.
func FuzzSDK(f *testing.F) {
	good := sign(payload(`,"peopleId":"52998224725"`))
	f.Add(good, body(ana, sandbox.OutcomeApprove))
	f.Add("Bearer "+good, body(ana, sandbox.OutcomeNoMatch))
	f.Add(sign(fmt.Sprintf(`{"iss":%q}`, bothClient)), body("529.982.247-25", sandbox.OutcomeNotAlive))
	f.Add(sign(`{"iss":"`+bothClient+`","exp":1699999999}`), body(ana, sandbox.OutcomeApprove))
	f.Add("eyJhbGciOiJub25lIn0."+strings.Split(good, ".")[1]+".", body(ana, sandbox.OutcomeApprove))
	f.Add(good, `{"personId":"52998224725","outcome":"approve","outcome":"approve"}`)
	f.Add(good, `{"personId":"10000000280"}`)
	f.Add(good, `{"personId":"52998224725","wrap":true,"shape":"web-2d","policyId":"p"}`)
	f.Add("", "")
	f.Fuzz(checkAttempt)
}

// FuzzSignedToken does the same with tokens that say anything and are signed correctly, which FuzzSDK
// cannot come by.
func FuzzSignedToken(f *testing.F) {
	f.Add(sandbox.HS256Header, payload(`,"peopleId":"52998224725"`), ana)
	f.Add(sandbox.HS256Header, payload(`,"personId":"529.982.247-25"`), bruno)
	f.Add(`{"alg":"HS256","b64":false,"crit":["b64"]}`, payload(""), ana)
	f.Add(`{"alg":"HS512","kid":"1"}`, payload(""), ana)
	f.Add(sandbox.HS256Header, `{"iss":"`+bothClient+`","exp":1.7e9}`, ana)
	f.Add(sandbox.HS256Header, `{"iss":"`+bothClient+`","exp":"1700000060"}`, ana)
	f.Add(sandbox.HS256Header, `{"iss":"`+bothClient+`"}`, ana)
	f.Add(sandbox.HS256Header, `{"clientId":"`+bothClient+`","exp":1700000060}`, ana)
	f.Add("null", "null", "")
	f.Fuzz(func(t *testing.T, header, payload, person string) {
		token := sandbox.Sign([]byte(bothSecret), []byte(header), []byte(payload))
		request, err := json.Marshal(map[string]string{"personId": person, "outcome": "approve"})
		if err != nil {
			t.Fatal(err)
		}
		checkAttempt(t, token, string(request))
	})
}

func checkAttempt(t *testing.T, authorization, body string) {
	s, log := newSandbox(t)
	w := post(t, s, authentication, body, authorization)
	wantNothingSecret(t, log.Bytes())
	if w.Code != http.StatusOK {
		if w.Code < 400 || w.Code >= 500 {
			t.Fatalf("status %d", w.Code)
		}
		wantNothingSecret(t, w.Body.Bytes())
		return
	}
	token := authorization
	if len(token) > 7 && strings.EqualFold(token[:7], "bearer ") {
		token = token[7:]
	}
	_, claims := decode(t, token, bothSecret)
	if exp, ok := claims["exp"]; ok && exp.(float64) <= float64(at.Unix()) {
		t.Errorf("expired at %v and answered", exp)
	}
	if _, ok := claims["exp"]; !ok && w.Header().Get(sandbox.WarningHeader) == "" {
		t.Error("no exp and no warning")
	}
	var asked struct {
		PersonID string
		Outcome  *string
		Wrap     bool
	}
	if err := json.Unmarshal([]byte(body), &asked); err != nil {
		t.Fatalf("answered, but the body is not JSON: %v", err)
	}
	answer := wantOK(t, w)
	if _, wrapped := answer["moduleName"]; wrapped != asked.Wrap {
		t.Errorf("wrapped: %v, asked for %v", wrapped, asked.Wrap)
	}
	signed, _ := answer["signedResponse"].(string)
	_, response := decode(t, signed, bothSecret)
	if approve := approved(t, asked.Outcome, asked.PersonID); response["isMatch"] != approve {
		t.Errorf("asked for %v, got %v", asked.Outcome, response)
	}
	if person := mustCPF(t, asked.PersonID).Digits(); response["personId"] != person {
		t.Error("answered for somebody else than was asked for")
	}
	for _, name := range []string{"peopleId", "personId"} {
		if claim, ok := claims[name]; ok && mustCPF(t, claim.(string)).Digits() != response["personId"] {
			t.Errorf("answered for somebody else than the token's %s", name)
		}
	}
}

// approved reads TestPeople as somebody would who has the package documentation only.
func approved(t testing.TB, outcome *string, person string) bool {
	t.Helper()
	if outcome != nil {
		return *outcome == "approve"
	}
	digits := mustCPF(t, person).Digits()
	return digits != "10000000108" && digits != "10000000280"
}

// FuzzExchange checks that nothing but a token that is signed by its issuer and expires in the future is
// exchanged, and that what comes back starts the SDK.
func FuzzExchange(f *testing.F) {
	f.Add(sandbox.HS256Header, payload(""))
	f.Add(sandbox.HS256Header, payload(`,"personId":"52998224725"`))
	f.Add(sandbox.HS256Header, `{"iss":"`+bothClient+`"}`)
	f.Add(sandbox.HS256Header, `{"iss":"`+bothClient+`","exp":1.8e9}`)
	f.Add(sandbox.HS256Header, `{"clientId":"`+bothClient+`","exp":1700000060}`)
	f.Add(`{"alg":"none"}`, payload(""))
	f.Fuzz(func(t *testing.T, header, claims string) {
		s, log := newSandbox(t)
		token := sandbox.Sign([]byte(bothSecret), []byte(header), []byte(claims))
		w := send(t, s, "GET", "/bff/session-tokens", "", "Authorization", "Bearer "+token)
		wantNothingSecret(t, log.Bytes())
		if w.Code != http.StatusOK {
			if w.Code != http.StatusUnauthorized {
				t.Fatalf("status %d", w.Code)
			}
			wantNothingSecret(t, w.Body.Bytes())
			return
		}
		_, read := decode(t, token, bothSecret)
		if exp, ok := read["exp"].(float64); !ok || exp <= float64(at.Unix()) || read["iss"] != bothClient {
			t.Errorf("exchanged a token of %v that expires at %v", read["iss"], read["exp"])
		}
		session, _ := wantOK(t, w)["sessionToken"].(string)
		signedResponse(t, post(t, s, liveness, body(bruno, "approve"), session))
	})
}

// FuzzSmartAuth checks that an attestation is for the person of both tokens and of the body, and that only
// the outcomes that authorize do.
func FuzzSmartAuth(f *testing.F) {
	f.Add(`,"personId":"52998224725"`, `,"peopleId":"52998224725"`, smartBody("approve"), `{"outcome":"approve"}`)
	f.Add(``, ``, smartBody("pending"), `{"outcome":"reauthenticated","wrap":true}`)
	f.Add(``, `,"peopleId":"11144477735"`, smartBody("pending"), `{"outcome":"not-authorized"}`)
	f.Add(`,"peopleId":"52998224725"`, ``, smartBody("known-context"), `{}`)
	f.Add(``, ``, `{"personId":"10000000523","policyId":"p"}`, `{"outcome":"pending"}`)
	f.Fuzz(func(t *testing.T, identityClaims, faceClaims, run, finish string) {
		s, log := newSandbox(t)
		identity, face := signAs(smartClient, smartSecret, identityClaims), signAs(aliveClient, aliveSecret, faceClaims)
		w := send(t, s, "POST", smart, run, "Authorization", identity, "X-Face-Token", face)
		wantNothingSecret(t, log.Bytes())
		if w.Code != http.StatusOK {
			if w.Code < 400 || w.Code >= 500 {
				t.Fatalf("status %d", w.Code)
			}
			wantNothingSecret(t, w.Body.Bytes())
			return
		}
		var asked struct{ PersonID, PolicyID string }
		if err := json.Unmarshal([]byte(run), &asked); err != nil || asked.PolicyID == "" {
			t.Fatalf("answered, but the body has no policy, or is not JSON: %v", err)
		}
		person := mustCPF(t, asked.PersonID).Digits()
		for token, name := range map[string]string{identity: "personId", face: "peopleId"} {
			_, claims := decode(t, token, map[bool]string{true: smartSecret, false: aliveSecret}[token == identity])
			if claim, ok := claims[name]; ok && mustCPF(t, claim.(string)).Digits() != person {
				t.Errorf("answered for somebody else than the token's %s", name)
			}
		}
		attempt := w.Header().Get("X-Sandbox-Attempt")
		record := authenticationRecord(t, s, attempt, signAs(smartClient, smartSecret, ""))
		wantAttestation(t, w, person, attempt, record)
		pending := record["status"] == "pending"
		w = send(t, s, "POST", smart+"/"+attempt, finish, "Authorization", identity)
		if w.Code != http.StatusOK {
			wantNothingSecret(t, w.Body.Bytes())
			return
		}
		record = authenticationRecord(t, s, attempt, signAs(smartClient, smartSecret, ""))
		wantAttestation(t, w, person, attempt, record)
		if !pending || record["status"] == "pending" {
			t.Errorf("finished: pending before %v, now %v", pending, record["status"])
		}
	})
}

// wantAttestation checks that an answer and the record say the same.
func wantAttestation(t testing.TB, w *httptest.ResponseRecorder, person, attempt string, record map[string]any) {
	t.Helper()
	answer := wantOK(t, w)
	signed, ok := answer["signedResponse"].(string)
	if !ok {
		if answer["isAuthorized"] != false || answer["attemptId"] != attempt || record["status"] != "reproved" {
			t.Errorf("no attestation, and the record says %v", record["status"])
		}
		return
	}
	_, got := decode(t, signed, smartSecret)
	if got["peopleId"] != person || got["attemptId"] != attempt {
		t.Error("an attestation of something else")
	}
	if got["isAuthorized"] != (record["status"] == "approved") || record["status"] == "reproved" {
		t.Errorf("isAuthorized %v, and the record says %v", got["isAuthorized"], record["status"])
	}
}

// FuzzMobile checks the two parsers of the mobile API's body, and of the query: whatever comes, the answer is
// for the person of the token or a refusal.
func FuzzMobile(f *testing.F) {
	multipart, contentType := form(f, "@image", "x", "peopleId", ana)
	f.Add("shouldSignResponse=true", contentType, multipart)
	f.Add("", contentType, multipart[:len(multipart)-5])
	f.Add("shouldSignResponse=false", `multipart/form-data; boundary="boundary-of-the-test"`, multipart)
	f.Add("", "application/json", `{`+image+`,"peopleId":"52998224725","outcome":"no-match"}`)
	f.Add("a=b&a=c", "", `{`+image+`,"peopleId":"11144477735"}`)
	f.Add("", "multipart/form-data", "")
	token := sign(payload(`,"peopleId":"52998224725"`))
	f.Fuzz(func(t *testing.T, query, contentType, body string) {
		s, log := newSandbox(t)
		r := httptest.NewRequest(http.MethodPost, "/faces/authenticate", strings.NewReader(body))
		r.URL.RawQuery = query
		r.Header["Content-Type"], r.Header["Authorization"] = []string{contentType}, []string{token}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		wantNothingSecret(t, log.Bytes(), token)
		if w.Code != http.StatusOK {
			if w.Code < 400 || w.Code >= 500 {
				t.Fatalf("status %d", w.Code)
			}
			wantNothingSecret(t, w.Body.Bytes(), token)
			return
		}
		if w.Header().Get("Content-Type") == "application/jwt" {
			bareJWT(t, w, bothSecret)
		} else {
			wantOK(t, w)
		}
		if got := faceRecord(t, s, w.Header().Get("X-Sandbox-Attempt")); got["personId"] != ana {
			t.Error("for somebody else than the token's person")
		}
	})
}

// FuzzFault checks that a fault that is taken is listed as it was asked for, and that the sandbox can always
// be told to forget it.
func FuzzFault(f *testing.F) {
	f.Add(`{"path":"/bff/session-tokens","fault":"429","count":2}`)
	f.Add(`{"path":"/","fault":"slow","delay":"1ns"}`)
	f.Add(`{"path":"/sdk","fault":"clock-skew","skew":"-10m"}`)
	f.Add(`{"path":"/_sandbox","fault":"hang-up"}`)
	f.Add(`{"path":"/authentications/x","fault":"refused"}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, body string) {
		s, _ := newSandbox(t)
		w := send(t, s, "POST", "/_sandbox/faults", body)
		if w.Code != http.StatusOK {
			if w.Code != http.StatusBadRequest && w.Code != http.StatusRequestEntityTooLarge {
				t.Fatalf("status %d", w.Code)
			}
			return
		}
		var asked, queued struct {
			Path, Fault string
			Count       int
			Faults      []struct {
				Path, Fault string
				Count       int
			}
		}
		if err := errors.Join(json.Unmarshal([]byte(body), &asked), json.Unmarshal(w.Body.Bytes(), &queued)); err != nil || len(queued.Faults) != 1 {
			t.Fatalf("queued %d: %v", len(queued.Faults), err)
		}
		if got := queued.Faults[0]; got.Path != asked.Path || got.Fault != asked.Fault || got.Count != max(1, asked.Count) {
			t.Errorf("asked for %+v, got %+v", asked, got)
		}
		wantOK(t, send(t, s, "POST", "/_sandbox/reset", ""))
		if w := send(t, s, "GET", "/healthz", ""); w.Code != http.StatusOK {
			t.Errorf("after the reset: %d", w.Code)
		}
	})
}
