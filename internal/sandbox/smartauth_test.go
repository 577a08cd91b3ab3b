package sandbox_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo/internal/sandbox"
)

const (
	smart          = "/sdk/caf/smart-auth"
	sandboxSession = 10 * time.Minute
)

func nowOf(now *time.Time) func() time.Time { return func() time.Time { return *now } }

// The two tokens of Smart Auth, for Ana.
var (
	identityToken = signAs(smartClient, smartSecret, `,"personId":"52998224725"`)
	faceToken     = signAs(aliveClient, aliveSecret, `,"peopleId":"52998224725"`)
)

func smartBody(outcome sandbox.Outcome) string {
	return fmt.Sprintf(`{"personId":"529.982.247-25","policyId":"login","outcome":%q}`, outcome)
}

func startSmart(t testing.TB, h http.Handler, outcome sandbox.Outcome) (answer map[string]any, attempt string) {
	t.Helper()
	w := send(t, h, "POST", smart, smartBody(outcome), "Authorization", identityToken, "X-Face-Token", faceToken)
	return wantOK(t, w), w.Header().Get("X-Sandbox-Attempt")
}

func authenticationRecord(t testing.TB, h http.Handler, attempt, token string) map[string]any {
	t.Helper()
	return wantOK(t, send(t, h, "GET", "/authentications/"+attempt, "", "Authorization", "Bearer "+token))
}

var faceChecked = map[string]any{"face_authentication": map[string]any{"attempts": []any{
	map[string]any{"liveness": map[string]any{"isAlive": true}, "faceMatch": map[string]any{"isMatch": true}},
}}}

func TestSmartAuth(t *testing.T) {
	s, log := newSandbox(t)
	for _, tt := range []struct {
		outcome                        sandbox.Outcome
		signed, authorized, newContext bool
		status                         string
		methods                        map[string]any
	}{
		{sandbox.OutcomeApprove, true, true, true, "approved", faceChecked},
		{sandbox.OutcomeKnownContext, true, true, false, "approved", map[string]any{}},
		{sandbox.OutcomeReauthenticated, true, true, true, "approved", map[string]any{}},
		{sandbox.OutcomePending, true, false, true, "pending", map[string]any{}},
		{sandbox.OutcomeNotAuthorized, false, false, false, "reproved", map[string]any{}},
	} {
		t.Run(string(tt.outcome), func(t *testing.T) {
			answer, attempt := startSmart(t, s, tt.outcome)
			if tt.signed {
				signed, _ := answer["signedResponse"].(string)
				_, got := decode(t, signed, smartSecret)
				if diff := cmp.Diff(map[string]any{
					"attemptId": attempt, "peopleId": ana, "policyId": "login", "isAuthorized": tt.authorized,
					"isNewContext": tt.newContext, "iat": 1.7e9, "exp": 1.7e9 + 120,
				}, got); diff != "" {
					t.Errorf("attestation (-want +got):\n%s", diff)
				}
			} else if diff := cmp.Diff(map[string]any{"isAuthorized": false, "attemptId": attempt}, answer); diff != "" {
				t.Errorf("refusal (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(map[string]any{
				"attemptId": attempt, "status": tt.status, "createdAt": "2023-11-14T22:13:20.000Z",
				"identity": map[string]any{"personId": ana}, "policy": map[string]any{"policyId": "login"},
				"authenticationMethods": tt.methods,
			}, authenticationRecord(t, s, attempt, identityToken)); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
		})
	}
	wantNothingSecret(t, log.Bytes(), identityToken, faceToken)
}

// TestSmartAuthSessions starts Smart Auth in the newer token model.
func TestSmartAuthSessions(t *testing.T) {
	s, _ := newSandbox(t)
	identity, face := exchanged(t, s, identityToken), exchanged(t, s, faceToken)
	w := send(t, s, "POST", smart, `{"personId":"11144477735","policyId":"login"}`, "Authorization", "Bearer "+identity, "X-Face-Token", "Bearer "+face)
	if _, got := decode(t, signedResponse(t, w), smartSecret); got["peopleId"] != bruno {
		t.Error("an attestation for somebody else")
	}
}

func TestSmartAuthRefusals(t *testing.T) {
	anas, brunos := `,"peopleId":"52998224725"`, `,"peopleId":"11144477735"`
	all := func(more string) string { return signAs(allClient, allSecret, more) }
	good := smartBody("approve")
	for _, tt := range []struct {
		name                 string
		identity, face, body string
		status               int
		code, message        string
	}{
		{"no face token", identityToken, "", good, 401, "tokenException", "exactly one X-Face-Token"},
		{"no identity token", "", faceToken, good, 401, "tokenException", "exactly one Authorization"},
		{"face token of another signature", identityToken, signAs(aliveClient, smartSecret, anas), good, 401, "tokenException", "signature"},
		{"key without Smart Auth", faceToken, faceToken, good, 403, "tokenException", "in Authorization is not activated"},
		{"face key without liveness", identityToken, identityToken, good, 403, "tokenException", "in X-Face-Token is not activated"},
		{"peopleId in the identity token", all(anas), faceToken, good, 401, "tokenException", "names the person as personId"},
		{"personId in the face token", identityToken, all(`,"personId":"52998224725"`), good, 401, "tokenException", "names the person as peopleId"},
		{"face token of somebody else", identityToken, signAs(aliveClient, aliveSecret, brunos), good, 403, "cpf_mismatch", "personId"},
		{"somebody else", identityToken, faceToken, `{"personId":"11144477735","policyId":"login"}`, 403, "cpf_mismatch", "personId"},
		{"no policy", identityToken, faceToken, body(ana, "approve"), 400, "request_invalid", "policyId is required"},
		{"long policy", identityToken, faceToken, `{"personId":"52998224725","policyId":"` + strings.Repeat("p", 257) + `"}`, 400, "request_invalid", "256 bytes"},
		{"outcome of another product", identityToken, faceToken, smartBody("not-alive"), 400, "request_invalid", "outcome must be one"},
		{"shape", identityToken, faceToken, `{"personId":"52998224725","policyId":"login","shape":"native"}`, 400, "request_invalid", "face-liveness only"},
		{"no such person", identityToken, faceToken, `{"personId":"52998224726","policyId":"login"}`, 400, "cpf_invalid", "check digits"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, log := newSandbox(t)
			headers := []string{"X-Face-Token", tt.face, "Authorization", tt.identity}
			w := send(t, s, "POST", smart, tt.body, headers...)
			wantRefusal(t, w, tt.status, tt.code, tt.message)
			wantNothingSecret(t, w.Body.Bytes(), tt.identity, tt.face)
			wantNothingSecret(t, log.Bytes(), tt.identity, tt.face)
		})
	}
}

func TestFinish(t *testing.T) {
	for _, tt := range []struct {
		outcome sandbox.Outcome
		status  string
		methods map[string]any
	}{
		{sandbox.OutcomeApprove, "approved", faceChecked},
		{sandbox.OutcomeReauthenticated, "approved", map[string]any{}},
		{sandbox.OutcomeNotAuthorized, "reproved", map[string]any{}},
	} {
		t.Run(string(tt.outcome), func(t *testing.T) {
			now := at
			s, _ := newSandboxWith(t, func(c *sandbox.Config) { c.Now = nowOf(&now) })
			_, attempt := startSmart(t, s, sandbox.OutcomePending)
			now = at.Add(30 * time.Second)
			w := send(t, s, "POST", smart+"/"+attempt, fmt.Sprintf(`{"outcome":%q}`, tt.outcome), "Authorization", identityToken)
			answer := wantOK(t, w)
			if tt.outcome == sandbox.OutcomeNotAuthorized {
				if diff := cmp.Diff(map[string]any{"isAuthorized": false, "attemptId": attempt}, answer); diff != "" {
					t.Errorf("refusal (-want +got):\n%s", diff)
				}
			} else {
				_, got := decode(t, signedResponse(t, w), smartSecret)
				if diff := cmp.Diff(map[string]any{
					"attemptId": attempt, "peopleId": ana, "policyId": "login", "isAuthorized": true, "isNewContext": true,
					"iat": 1.7e9 + 30, "exp": 1.7e9 + 150,
				}, got); diff != "" {
					t.Errorf("attestation (-want +got):\n%s", diff)
				}
			}
			record := authenticationRecord(t, s, attempt, identityToken)
			if diff := cmp.Diff([]any{tt.status, tt.methods, "2023-11-14T22:13:20.000Z"}, []any{record["status"], record["authenticationMethods"], record["createdAt"]}); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
			wantRefusal(t, send(t, s, "POST", smart+"/"+attempt, `{"outcome":"approve"}`, "Authorization", identityToken), 409, "attempt_not_pending", "ended already")
		})
	}
}

func TestFinishRefusals(t *testing.T) {
	s, log := newSandbox(t)
	_, pending := startSmart(t, s, sandbox.OutcomePending)
	face := post(t, s, liveness, body(ana, "approve"), sign(payload(""))).Header().Get("X-Sandbox-Attempt")
	for _, tt := range []struct {
		name, attempt, token, body string
		status                     int
		code, message              string
	}{
		{"unknown", "nothing", identityToken, `{"outcome":"approve"}`, 404, "not_found", "no such attempt"},
		{"of a face", face, identityToken, `{"outcome":"approve"}`, 404, "not_found", "no such attempt"},
		{"another client's", pending, signAs(allClient, allSecret, ""), `{"outcome":"approve"}`, 404, "not_found", "no such attempt"},
		{"somebody else's", pending, signAs(smartClient, smartSecret, `,"personId":"11144477735"`), `{"outcome":"approve"}`, 403, "cpf_mismatch", "person of this attempt"},
		{"face token", pending, faceToken, `{"outcome":"approve"}`, 403, "tokenException", "not activated"},
		{"peopleId", pending, signAs(smartClient, smartSecret, `,"peopleId":"52998224725"`), `{"outcome":"approve"}`, 401, "tokenException", "personId"},
		{"no token", pending, "", `{"outcome":"approve"}`, 401, "tokenException", "Authorization"},
		{"no outcome", pending, identityToken, `{}`, 400, "request_invalid", "finishes an attempt"},
		{"pending again", pending, identityToken, `{"outcome":"pending"}`, 400, "request_invalid", "finishes an attempt"},
		{"known context", pending, identityToken, `{"outcome":"known-context"}`, 400, "request_invalid", "finishes an attempt"},
		{"another person", pending, identityToken, `{"outcome":"approve","personId":"11144477735"}`, 400, "request_invalid", "one JSON object"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := send(t, s, "POST", smart+"/"+tt.attempt, tt.body, "Authorization", tt.token)
			wantRefusal(t, w, tt.status, tt.code, tt.message)
			wantNothingSecret(t, w.Body.Bytes(), tt.token)
		})
	}
	wantNothingSecret(t, log.Bytes(), identityToken)
	if got := authenticationRecord(t, s, pending, identityToken); got["status"] != "pending" {
		t.Errorf("a refusal changed the attempt: %v", got["status"])
	}
}

// TestFinishRace finishes one attempt many times at once: one of them ends it.
func TestFinishRace(t *testing.T) {
	s, err := sandbox.New(testConfig(nil))
	if err != nil {
		t.Fatal(err)
	}
	_, attempt := startSmart(t, s, sandbox.OutcomePending)
	var all sync.WaitGroup
	var ended atomic.Int32
	for range 16 {
		all.Go(func() {
			if send(t, s, "POST", smart+"/"+attempt, `{"outcome":"approve"}`, "Authorization", identityToken).Code == http.StatusOK {
				ended.Add(1)
			}
		})
	}
	all.Wait()
	if got := ended.Load(); got != 1 {
		t.Errorf("ended %d times", got)
	}
}
