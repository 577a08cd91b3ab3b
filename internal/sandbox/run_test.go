package sandbox_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo/internal/sandbox"
)

const documents = "/sdk/caf/document-detection"

// TestTestPeople runs every product without an outcome.
func TestTestPeople(t *testing.T) {
	s, _ := newSandbox(t)
	people := sandbox.TestPeople()
	seen := map[sandbox.Outcome]bool{}
	for i, p := range people {
		if p.CPF.IsZero() || p.Note == "" || seen[p.Outcome] || p.CPF.Digits() == ana || p.CPF.Digits() == bruno {
			t.Errorf("person %d: %+v", i, p)
		}
		seen[p.Outcome] = true
	}
	if len(people) != 6 {
		t.Errorf("%d people", len(people))
	}
	people[0].Outcome = "changed"
	if sandbox.TestPeople()[0].Outcome == "changed" {
		t.Error("a caller can change the table")
	}
	token := signAs(allClient, allSecret, "")
	for _, tt := range []struct {
		person                                  string
		alive, aliveAndMatch, match, authorized bool // liveness; authentication: isAlive, isMatch; Smart Auth
		newContext, signed                      bool
		status                                  string
	}{
		{ana, true, true, true, true, true, true, "approved"},
		{"10000000108", false, false, false, true, true, true, "approved"},
		{"10000000280", true, true, false, true, true, true, "approved"},
		{"10000000361", true, true, true, true, false, true, "approved"},
		{"10000000442", true, true, true, true, true, true, "approved"},
		{"10000000523", true, true, true, false, true, true, "pending"},
		{"10000000604", true, true, true, false, false, false, "reproved"},
	} {
		t.Run(tt.person, func(t *testing.T) {
			run := `{"personId":"` + tt.person + `"}`
			_, got := decode(t, signedResponse(t, post(t, s, liveness, run, token)), allSecret)
			if got["isAlive"] != tt.alive {
				t.Errorf("liveness: %v", got["isAlive"])
			}
			_, got = decode(t, signedResponse(t, post(t, s, authentication, run, token)), allSecret)
			if got["isAlive"] != tt.aliveAndMatch || got["isMatch"] != tt.match {
				t.Errorf("authentication: %v %v", got["isAlive"], got["isMatch"])
			}
			if got := wantOK(t, post(t, s, documents, run, token)); got["documentType"] != "cnh" {
				t.Errorf("document: %v", got)
			}
			w := send(t, s, "POST", smart, `{"policyId":"p","personId":"`+tt.person+`"}`, "Authorization", token, "X-Face-Token", token)
			if tt.signed {
				_, got = decode(t, signedResponse(t, w), allSecret)
				if got["isAuthorized"] != tt.authorized || got["isNewContext"] != tt.newContext {
					t.Errorf("Smart Auth: %v %v", got["isAuthorized"], got["isNewContext"])
				}
			} else if got := wantOK(t, w); got["isAuthorized"] != false || got["signedResponse"] != nil {
				t.Errorf("Smart Auth: %v", got)
			}
			if got := authenticationRecord(t, s, w.Header().Get("X-Sandbox-Attempt"), token); got["status"] != tt.status {
				t.Errorf("record: %v", got["status"])
			}
		})
	}
}

func TestWebShape(t *testing.T) {
	s, _ := newSandbox(t)
	for outcome, alive := range map[string]bool{"approve": true, "not-alive": false} {
		w := post(t, s, liveness, `{"personId":"52998224725","shape":"web-2d","outcome":"`+outcome+`"}`, sign(payload("")))
		_, got := decode(t, signedResponse(t, w), bothSecret)
		id, _ := got["sessionId"].(string)
		if diff := cmp.Diff(map[string]any{
			"sessionId": id, "personId": ana, "isAlive": alive, "imageUrl": "https://images.sandbox.invalid/" + id + ".jpg",
			"createdAt": "2023-11-14T22:13:20.000Z", "iat": 1.7e9,
		}, got); diff != "" || len(id) != 36 {
			t.Errorf("payload (-want +got):\n%s", diff)
		}
	}
	_, got := decode(t, signedResponse(t, post(t, s, liveness, `{"personId":"52998224725","shape":"native"}`, sign(payload("")))), bothSecret)
	if got["sdkVersion"] != "0.0.0-sandbox" {
		t.Errorf("native: %v", got)
	}
}

func TestWrap(t *testing.T) {
	s, _ := newSandbox(t)
	token := signAs(allClient, allSecret, "")
	for path, module := range map[string]string{liveness: "faceLiveness", authentication: "faceAuthentication", smart: "smartAuth"} {
		run := `{"personId":"52998224725","wrap":true}`
		if path == smart {
			run = `{"personId":"52998224725","wrap":true,"policyId":"p"}`
		}
		w := send(t, s, "POST", path, run, "Authorization", token, "X-Face-Token", token)
		got := wantOK(t, w)
		signed, _ := got["signedResponse"].(string)
		decode(t, signed, allSecret)
		if diff := cmp.Diff(map[string]any{"moduleName": module, "signedResponse": signed}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestDocuments(t *testing.T) {
	s, log := newSandbox(t)
	token := signAs(allClient, allSecret, `,"peopleId":"52998224725"`)
	w := post(t, s, documents, body(ana, "approve"), token)
	got := wantOK(t, w)
	id, _ := got["requestId"].(string)
	if diff := cmp.Diff(map[string]any{"requestId": id, "documentType": "cnh", "captures": []any{
		map[string]any{"imageUrl": "https://images.sandbox.invalid/" + id + "-front.jpg", "label": "front"},
		map[string]any{"imageUrl": "https://images.sandbox.invalid/" + id + "-back.jpg", "label": "back"},
	}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	attempt := w.Header().Get("X-Sandbox-Attempt")
	if len(attempt) != 36 {
		t.Errorf("attempt %q", attempt)
	}
	wantRefusal(t, send(t, s, "GET", "/v1/faces/attempts/"+attempt, "", "Authorization", "Bearer "+apiToken), 404, "not_found", "no such attempt")

	got = wantOK(t, post(t, s, documents, body(ana, sandbox.OutcomeNotDetected), token))
	if diff := cmp.Diff(map[string]any{"requestId": got["requestId"], "captures": []any{}}, got); diff != "" {
		t.Errorf("not detected (-want +got):\n%s", diff)
	}
	wantNothingSecret(t, log.Bytes(), token)
}

// TestAttemptHeader checks that two runs are two attempts, and that a refused one is none.
func TestAttemptHeader(t *testing.T) {
	s, _ := newSandbox(t)
	one := post(t, s, liveness, body(ana, "approve"), sign(payload(""))).Header().Get(sandbox.AttemptHeader)
	two := post(t, s, liveness, body(ana, "approve"), sign(payload(""))).Header().Get(sandbox.AttemptHeader)
	if len(one) != 36 || len(two) != 36 || one == two {
		t.Errorf("attempts %q, %q", one, two)
	}
	if got := post(t, s, liveness, `{}`, sign(payload(""))).Header().Get(sandbox.AttemptHeader); got != "" {
		t.Errorf("a refused run is attempt %q", got)
	}
}

func exchanged(t testing.TB, h http.Handler, token string) string {
	t.Helper()
	got := wantOK(t, send(t, h, "GET", "/bff/session-tokens", "", "Authorization", token))
	session, _ := got["sessionToken"].(string)
	if id, _ := got["requestId"].(string); len(id) != 36 || len(got) != 2 {
		t.Fatalf("answer has %d members and request %q", len(got), id)
	}
	return session
}

func TestSessionExchange(t *testing.T) {
	now := at
	s, log := newSandboxWith(t, func(c *sandbox.Config) { c.Now = nowOf(&now) })
	good := sign(payload(""))
	session := exchanged(t, s, good)
	if another := exchanged(t, s, "Bearer "+good); another == session || session == good {
		t.Error("the same token twice")
	}
	var claims map[string]any
	if err := json.Unmarshal(b64(t, strings.Split(session, ".")[1]), &claims); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"clientId": bothClient, "jti": claims["jti"], "exp": 1.7e9 + 600}, claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	// Any person, any product of the key, raw or Bearer; signed with the client's secret.
	for _, person := range []string{ana, bruno} {
		for _, path := range []string{liveness, authentication} {
			for _, prefix := range []string{"", "Bearer "} {
				_, got := decode(t, signedResponse(t, post(t, s, path, body(person, "approve"), prefix+session)), bothSecret)
				if got["personId"] != person {
					t.Errorf("%s for somebody else", path)
				}
			}
		}
	}
	// A CPF in the token that is exchanged binds nothing, as Caf's exchange knows no CPF.
	signedResponse(t, post(t, s, liveness, body(bruno, "approve"), exchanged(t, s, sign(payload(`,"peopleId":"52998224725"`)))))
	wantRefusal(t, post(t, s, documents, body(ana, "approve"), session), 403, "tokenException", "not activated")

	other, _ := newSandbox(t)
	wantRefusal(t, post(t, other, liveness, body(ana, "approve"), session), 401, "tokenException", "no session token of this sandbox")
	now = at.Add(sandboxSession - 1)
	signedResponse(t, post(t, s, liveness, body(ana, "approve"), session))
	now = at.Add(sandboxSession)
	wantRefusal(t, post(t, s, liveness, body(ana, "approve"), session), 401, "tokenException", "has expired")
	wantNothingSecret(t, log.Bytes(), session, good)
}

// TestSessionTokensAreNoMobileTokens and the reverse: nothing that one side signs is taken for the other's.
func TestSessionTokensAreNoMobileTokens(t *testing.T) {
	s, log := newSandbox(t)
	session := exchanged(t, s, signAs(allClient, allSecret, ""))
	forged := sign(`{"clientId":"` + bothClient + `","jti":"1","exp":1700000060}`)
	noExp := sign(`{"iss":"` + bothClient + `"}`)
	for _, tt := range []struct {
		name, method, path, token, message string
	}{
		{"a session token is not exchanged", "GET", "/bff/session-tokens", session, "client ID as iss"},
		{"a session token opens no record", "GET", "/authentications/1", "Bearer " + session, "client ID as iss"},
		{"a client signs no session token", "POST", liveness, forged, "no session token of this sandbox"},
		{"exchange without exp", "GET", "/bff/session-tokens", noExp, "exp is required"},
		{"exchange of an expired token", "GET", "/bff/session-tokens", sign(`{"iss":"` + bothClient + `","exp":1700000000}`), "expired"},
		{"exchange of milliseconds", "GET", "/bff/session-tokens", sign(`{"iss":"` + bothClient + `","exp":1700000060000}`), "number of seconds"},
		{"exchange of another's signature", "GET", "/bff/session-tokens", signAs(bothClient, aliveSecret, ""), "signature is not"},
		{"exchange of nothing", "GET", "/bff/session-tokens", "", "exactly one Authorization header"},
		{"exchange for no person", "GET", "/bff/session-tokens", sign(payload(`,"peopleId":"00011122233"`)), "CPF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := send(t, s, tt.method, tt.path, body(ana, "approve"), "Authorization", tt.token)
			wantRefusal(t, w, 401, "tokenException", tt.message)
			wantNothingSecret(t, w.Body.Bytes(), tt.token)
		})
	}
	wantNothingSecret(t, log.Bytes(), session)
}
