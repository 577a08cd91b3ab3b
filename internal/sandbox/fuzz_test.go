package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
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
	var asked struct{ PersonID, Outcome string }
	if err := json.Unmarshal([]byte(body), &asked); err != nil {
		t.Fatalf("answered, but the body is not JSON: %v", err)
	}
	_, response := decode(t, signedResponse(t, w), bothSecret)
	if approve := asked.Outcome == "approve"; response["isMatch"] != approve {
		t.Errorf("asked for %q, got %v", asked.Outcome, response)
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
