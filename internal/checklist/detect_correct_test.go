package checklist

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/selo-id/selo/internal/checklist/testdata/servers"
	"github.com/selo-id/selo/internal/finding"
)

const (
	faceAuthentication = "caf/face-authentication"
	faceLiveness       = "caf/face-liveness"
	smartAuth          = "caf/smart-auth"
)

// TestCorrectServers shows that there is nothing to be found in servers that are right, whatever their style.
func TestCorrectServers(t *testing.T) {
	t.Parallel()
	opaque := []string{"credentials-alg-none", "credentials-weak-key"} // these credentials are no JWT
	given := []string{"after-logout", "wrong-password"}                // nobody signs in
	webhook := []string{"webhook-accepted", "webhook-unsigned", "webhook-wrong-signature", "webhook-reserialised", "webhook-replay"}
	theirs := []string{"token-claims", "token-exp", "token-exp-seconds", "token-exp-reasonable", "token-exp-from-client"} // the provider made the token
	for _, tc := range []struct {
		name          string
		rig           func(*testing.T) *rig
		notApplicable []string
	}{
		{"library", libraryRig, []string{"other-policy"}},
		{"cookies", cookiesRig, slices.Concat(opaque, webhook, []string{"other-policy", "response-type"})},
		{"cookies, on the web", func(t *testing.T) *rig {
			r := cookiesRig(t)
			r.target.Shape = shapeWeb
			return r
		}, slices.Concat(opaque, webhook, []string{"other-policy", "response-type"})},
		{"two-step", func(t *testing.T) *rig { return twoStepRig(t, false) }, slices.Concat(opaque, given, webhook, []string{"response-type"})},
		{"two-step, bare and exchanged", func(t *testing.T) *rig { return twoStepRig(t, true) }, slices.Concat(opaque, given, webhook, theirs, []string{"response-type"})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			report := tc.rig(t).run(t, Options{Version: "test"})
			for _, f := range report.Findings {
				if f.Outcome != finding.Pass && !slices.Contains(tc.notApplicable, f.Rule) {
					t.Errorf("%s: %s: %s", f.Rule, f.Outcome, f.Message)
				}
			}
			if got := outcomes(report, finding.NotApplicable); len(got) != len(tc.notApplicable) {
				t.Errorf("not applicable: %q, want %q in some order", got, tc.notApplicable)
			}
			if len(report.Findings) != len(Probes()) {
				t.Errorf("%d findings, want one for each of %d probes", len(report.Findings), len(Probes()))
			}
			t.Logf("%v, %v", report.Took, report.About)
		})
	}
}

func must[H http.Handler](t *testing.T, h H, err error) H {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func libraryRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, faceAuthentication)
	made, err := servers.NewLibrary(r.config)
	r.serve(t, must(t, made, err))
	r.passwords(t, map[string]string{"audience": "bank-app", "lifetime": "900"})
	r.webhook(t)
	bearer := map[string]string{"Authorization": "Bearer {{credential}}"}
	r.target.Login = []Step{{URL: "/idp/token", JSON: map[string]any{"user": "{{user}}", "password": "{{password}}", "audience": "{{audience}}", "lifetime": "{{lifetime}}"},
		Take: map[string]string{"credential": "body.access_token"}}}
	r.target.Logout = []Step{{Method: "POST", URL: "/idp/logout", Headers: bearer}}
	r.target.Token = []Step{{Method: "POST", URL: "/v1/sessions", Headers: bearer, Take: map[string]string{"token": "body.token", "session": "body.session"}}}
	r.target.Submit = Submit{Granted: "status == 200 && body.granted == true",
		Request: Step{URL: "/v1/sessions/{{session}}/response", Headers: bearer, JSON: map[string]any{"signed_response": "{{response}}"}}}
	r.target.BadCredentials = BadCredentials{Expired: &BadCredential{With: map[string]string{"lifetime": "-60"}}, WrongAudience: &BadCredential{With: map[string]string{"audience": "broker-app"}}}
	return r
}

func cookiesRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, faceLiveness)
	made, err := servers.NewCookies(r.config)
	r.serve(t, must(t, made, err))
	r.passwords(t, nil)
	cookie := map[string]string{"Cookie": "sid={{credential}}"}
	r.target.Login = []Step{{URL: "/login", Form: map[string]string{"user": "{{user}}", "password": "{{password}}"}, Take: map[string]string{"credential": "cookies.sid"}}}
	r.target.Logout = []Step{{Method: "POST", URL: "/logout", Headers: cookie}}
	r.target.Token = []Step{{URL: "/liveness/token", Headers: cookie, Form: map[string]string{"product": "{{product}}"}, Take: map[string]string{"token": `headers["x-caf-token"]`}}}
	r.target.Submit = Submit{Granted: "status == 200", Request: Step{URL: "/liveness/result", Headers: cookie, Form: map[string]string{"response": "{{response}}"}}}
	r.target.BadCredentials = BadCredentials{
		Expired:       &BadCredential{File: r.file(t, "expired", made.SignIn("ana", "web-bank", -time.Minute))},
		WrongAudience: &BadCredential{File: r.file(t, "elsewhere", made.SignIn("ana", "back-office", time.Hour))},
	}
	return r
}

func twoStepRig(t *testing.T, exchanged bool) *rig {
	t.Helper()
	r := newRig(t, smartAuth)
	r.config.Exchanged, r.target.Exchanged = exchanged, exchanged
	made, err := servers.NewTwoStep(r.config)
	r.serve(t, must(t, made, err))
	issue := func(u servers.User, audience string, lifetime time.Duration) string {
		token, err := made.Issue(u, audience, lifetime)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for i, u := range r.config.Users {
		r.target.Users[i].Credential = &Source{File: r.file(t, u.Name+".token", issue(u, "bank-app", time.Hour))}
	}
	key := map[string]string{"X-Api-Token": "{{credential}}"}
	r.target.Token = []Step{
		{URL: "/transactions", Headers: key, JSON: map[string]any{"policy": "{{policy_id}}"}, Take: map[string]string{"id": "body.id"}},
		{URL: "/transactions/{{id}}/tokens", Headers: key, Take: map[string]string{"token": "body.identity", "face_token": "body.face"}},
	}
	r.target.Submit = Submit{Granted: "body.granted == true",
		Request: Step{Method: "PUT", URL: "/transactions/{{id}}/attestation", Headers: key, Multipart: map[string]string{"attestation": "{{response}}"}}}
	if exchanged {
		r.target.Token[1].Take = map[string]string{"token": "body.session_token"}
		r.target.Submit.Request.Multipart, r.target.Submit.Request.Raw = nil, "{{response}}"
	}
	ana := r.config.Users[0]
	r.target.BadCredentials = BadCredentials{
		Expired:       &BadCredential{File: r.file(t, "expired", issue(ana, "bank-app", -time.Minute))},
		WrongAudience: &BadCredential{File: r.file(t, "elsewhere", issue(ana, "broker-app", time.Hour))},
	}
	return r
}
