package sandbox_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo/internal/sandbox"
)

func faceRecord(t testing.TB, h http.Handler, attempt string) map[string]any {
	t.Helper()
	got := wantOK(t, send(t, h, "GET", "/v1/faces/attempts/"+attempt, "", "Authorization", "Bearer "+apiToken))
	if id, _ := got["requestId"].(string); len(id) != 36 || len(got) != 2 {
		t.Errorf("%d members, request %q", len(got), id)
	}
	data, _ := got["data"].(map[string]any)
	return data
}

func TestFaceRecords(t *testing.T) {
	s, log := newSandbox(t)
	seen := func(alive bool, p float64) map[string]any { return map[string]any{"isAlive": alive, "probability": p} }
	match := func(match bool, p float64) map[string]any {
		return map[string]any{"isFaceMatch": match, "similarity": p}
	}
	for _, tt := range []struct {
		path    string
		outcome sandbox.Outcome
		want    map[string]any
	}{
		{liveness, "approve", map[string]any{"liveness": seen(true, 0.98)}},
		{liveness, "not-alive", map[string]any{"liveness": seen(false, 0.04)}},
		{authentication, "approve", map[string]any{"liveness": seen(true, 0.98), "faceMatch": match(true, 0.98), "isMatch": true}},
		{authentication, "no-match", map[string]any{"liveness": seen(true, 0.98), "faceMatch": match(false, 0.04), "isMatch": false}},
		{authentication, "not-alive", map[string]any{"liveness": seen(false, 0.04), "faceMatch": match(false, 0.04), "isMatch": false}},
	} {
		t.Run(tt.path+" "+string(tt.outcome), func(t *testing.T) {
			attempt := post(t, s, tt.path, body(ana, tt.outcome), sign(payload(""))).Header().Get("X-Sandbox-Attempt")
			tt.want["id"], tt.want["personId"], tt.want["createdAt"] = attempt, ana, "2023-11-14T22:13:20.000Z"
			if diff := cmp.Diff(tt.want, faceRecord(t, s, attempt)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	wantNothingSecret(t, log.Bytes())
}

func TestRecheckRefusals(t *testing.T) {
	s, log := newSandbox(t)
	closed, _ := newSandboxWith(t, func(c *sandbox.Config) { c.APIToken = nil })
	_, attempt := startSmart(t, s, sandbox.OutcomeApprove)
	face := post(t, s, liveness, body(ana, "approve"), sign(payload(""))).Header().Get("X-Sandbox-Attempt")
	const smartAuth, faces = "/authentications/", "/v1/faces/attempts/"
	for _, tt := range []struct {
		name           string
		h              http.Handler
		path, token    string
		status         int
		code, messages string
	}{
		{"raw", s, smartAuth + attempt, identityToken, 401, "tokenException", "after Bearer"},
		{"nothing", s, smartAuth + attempt, "", 401, "tokenException", "after Bearer"},
		{"no exp", s, smartAuth + attempt, "Bearer " + sandbox.Sign([]byte(smartSecret), []byte(sandbox.HS256Header), []byte(`{"iss":"`+smartClient+`"}`)), 401, "tokenException", "exp is required"},
		{"expired", s, smartAuth + attempt, "Bearer " + sandbox.Sign([]byte(smartSecret), []byte(sandbox.HS256Header), []byte(`{"iss":"`+smartClient+`","exp":1}`)), 401, "tokenException", "expired"},
		{"another product's key", s, smartAuth + attempt, "Bearer " + faceToken, 403, "tokenException", "not activated"},
		{"another client", s, smartAuth + attempt, "Bearer " + signAs(allClient, allSecret, ""), 404, "not_found", "no such attempt"},
		{"another person", s, smartAuth + attempt, "Bearer " + signAs(smartClient, smartSecret, `,"personId":"11144477735"`), 403, "cpf_mismatch", "person of this attempt"},
		{"API token", s, smartAuth + attempt, "Bearer " + apiToken, 401, "tokenException", "three segments"},
		{"unknown", s, smartAuth + "nothing", "Bearer " + identityToken, 404, "not_found", "no such attempt"},
		{"of a face", s, smartAuth + face, "Bearer " + identityToken, 404, "not_found", "no such attempt"},

		{"raw API token", s, faces + face, apiToken, 401, "tokenException", "after Bearer"},
		{"no API token", s, faces + face, "", 401, "tokenException", "after Bearer"},
		{"empty API token", s, faces + face, "Bearer ", 401, "tokenException", "API token"},
		{"mobile token", s, faces + face, "Bearer " + identityToken, 401, "tokenException", "API token"},
		{"longer API token", s, faces + face, "Bearer " + apiToken + "x", 401, "tokenException", "API token"},
		{"of Smart Auth", s, faces + attempt, "Bearer " + apiToken, 404, "not_found", "no such attempt"},
		{"unknown face", s, faces + "nothing", "Bearer " + apiToken, 404, "not_found", "no such attempt"},
		{"none configured", closed, faces + face, "Bearer " + apiToken, 401, "tokenException", "API token"},
		{"none configured, none sent", closed, faces + face, "Bearer ", 401, "tokenException", "API token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := send(t, tt.h, "GET", tt.path, "", "Authorization", tt.token)
			wantRefusal(t, w, tt.status, tt.code, tt.messages)
			wantNothingSecret(t, w.Body.Bytes(), tt.token)
		})
	}
	// A CPF in the token is optional.
	authenticationRecord(t, s, attempt, signAs(smartClient, smartSecret, ""))
	wantNothingSecret(t, log.Bytes())
}

// TestOldestAttemptsAreForgotten makes one attempt more than are remembered.
func TestOldestAttemptsAreForgotten(t *testing.T) {
	s, err := sandbox.New(testConfig(nil))
	if err != nil {
		t.Fatal(err)
	}
	token := sign(payload(""))
	run := func() string {
		w := send(t, s, "POST", liveness, `{"personId":"52998224725"}`, "Authorization", token)
		return w.Header().Get(sandbox.AttemptHeader)
	}
	first, second := run(), run()
	for range 9_998 {
		run()
	}
	faceRecord(t, s, first)
	last := run()
	wantRefusal(t, send(t, s, "GET", "/v1/faces/attempts/"+first, "", "Authorization", "Bearer "+apiToken), 404, "not_found", "no such attempt")
	faceRecord(t, s, second)
	faceRecord(t, s, last)
	run()
	wantRefusal(t, send(t, s, "GET", "/v1/faces/attempts/"+second, "", "Authorization", "Bearer "+apiToken), 404, "not_found", "no such attempt")
}
