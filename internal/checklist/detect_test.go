package checklist

import (
	"cmp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/selo-id/selo/internal/checklist/testdata/servers"
	"github.com/selo-id/selo/internal/finding"
)

// flaw is one mistake of the server servers.Flawed, and all that the checker must say of it: nothing less, nothing more.
type flaw struct {
	name         string
	fail         string         // probes
	warn         string         // probes
	inconclusive string         // probes
	maybe        string         // probes that fail unless the check took so long that something else refuses
	rig          func(rig *rig) // what is otherwise in the configuration or the target
	product      string         // caf/face-authentication
}

const everyDecision = "decision-false decision-missing decision-null decision-string decision-number decision-object decision-case decision-unicode "

// unseen is what nothing is known of when the provider's own events are refused.
const unseen = "webhook-unsigned webhook-wrong-signature webhook-reserialised webhook-replay"

// flaws are in the order of the probes. Where one mistake breaks several promises, all of them are here.
var flaws = []flaw{
	{name: ""}, // right

	// 1: tokens are made for each user
	{name: "one-token-for-all", fail: "token-per-user token-per-call", warn: "token-cpf"},
	{name: "token-kept-by-user", fail: "token-per-call"},
	{name: "retired-key-signs", fail: "token-key"},
	{name: "iss-of-another-key", fail: "token-key"},
	{name: "signed-token-not-exchanged", fail: "token-key", rig: exchanged},
	{name: "iat-and-jti", warn: "token-claims"},
	{name: "claims-copied", fail: "token-claims-from-client"},
	{name: "no-store-forgotten", fail: "token-no-store"},
	{name: "link-with-token", fail: "token-not-in-url"},
	{name: "credential-in-url", fail: "token-not-in-url", rig: func(r *rig) {
		r.target.Token[0].URL += "?access_token={{credential}}"
		delete(r.target.Token[0].Headers, "Authorization")
	}},
	{name: "response-in-url", fail: "token-not-in-url", rig: func(r *rig) {
		r.target.Submit.Request.JSON, r.target.Submit.Request.URL = nil, "/caf/response?session={{session}}&response={{response}}"
	}},
	{name: "secret-in-refusal", fail: "secret-not-disclosed"},
	{name: "secret-in-base64", fail: "secret-not-disclosed"},

	// 2: for one CPF
	{name: "cpf-left-out", warn: "token-cpf"},
	{name: "cpf-under-another-name", fail: "token-cpf", warn: "token-claims"},
	{name: "nothing-names-the-person", fail: "token-cpf cpf-from-body cpf-masked cpf-twice cpf-from-query cpf-from-header user-from-request " +
		"response-other-person person-missing person-type person-twice"},
	{name: "cpf-from-body", fail: "cpf-from-body cpf-masked cpf-twice"},
	{name: "cpf-from-form", fail: "cpf-from-body cpf-masked cpf-twice"},
	{name: "person-from-body", fail: "cpf-from-body"},
	{name: "cpf-compared-as-written", fail: "cpf-masked"},
	{name: "cpf-checked-first-used-last", fail: "cpf-twice"},
	{name: "cpf-from-query", fail: "cpf-from-query"},
	{name: "cpf-from-header", fail: "cpf-from-header"},
	{name: "cpf-from-path", fail: "cpf-from-path"},
	{name: "user-from-body", fail: "user-from-request"},
	{name: "user-from-header", fail: "user-from-request session-other-user"},
	{name: "cpf-compared-with-the-request", fail: "cpf-in-submit"},
	{name: "person-ignored", fail: "response-other-person person-missing person-type person-twice"},
	{name: "person-any-user", fail: "response-other-person person-twice"},
	{name: "session-by-id-alone", fail: "session-other-user"},

	// 3: that expire
	{name: "no-exp", fail: "token-exp token-per-call"},
	{name: "exp-in-milliseconds", fail: "token-exp-seconds"},
	{name: "exp-as-text", fail: "token-exp-seconds"},
	{name: "exp-in-a-day", fail: "token-exp-reasonable"},
	{name: "lifetime-from-body", fail: "token-exp-from-client"},

	// 4: for those who may
	{name: "any-password", fail: "wrong-password"},
	{name: "credentials-decoded-at-submit", fail: "submit-bad-credentials"},
	{name: "credential-is-the-name", fail: "credentials-edited expired-credentials wrong-audience after-logout"},
	{name: "token-for-anyone", fail: "no-credentials identity-headers other-methods other-paths"},
	{name: "authorization-present", fail: "garbage-credentials expired-credentials wrong-audience credentials-alg-none credentials-edited credentials-weak-key " +
		"mobile-token-as-credential after-logout"},
	{name: "credential-expiry-ignored", fail: "expired-credentials"},
	{name: "audience-ignored", fail: "wrong-audience"},
	{name: "credentials-only-decoded", fail: "submit-bad-credentials credentials-alg-none credentials-edited credentials-weak-key"},
	{name: "credential-alg-none", fail: "submit-bad-credentials credentials-alg-none"},
	{name: "credentials-cached-by-signature", fail: "submit-bad-credentials credentials-edited"},
	{name: "default-credential-key", fail: "credentials-weak-key"},
	{name: "one-secret-for-both", fail: "mobile-token-as-credential"},
	{name: "logout-forgets-nothing", fail: "after-logout"},
	{name: "proxy-header-trusted", fail: "submit-bad-credentials identity-headers"},
	{name: "local-calls-trusted", fail: "identity-headers"},
	{name: "get-before-auth", fail: "other-methods"},
	{name: "path-cleaned-after-auth", fail: "other-paths"},
	{name: "any-origin", fail: "cors"},
	{name: "owner-checked-if-signed-in", fail: "submit-bad-credentials submit-without-credentials"},
	{name: "submit-open", fail: "submit-without-credentials session-other-user", rig: func(r *rig) {
		delete(r.target.Submit.Request.Headers, "Authorization")
	}},
	{name: "no-limit", fail: "burst"},

	// 5: the signature
	{name: "iat-taken-for-expiry", inconclusive: allThatNeedGrants()},
	{name: "only-decoded", fail: "unsigned alg-none wrong-key sandbox-key retired-key hs384-hs512 alg-mismatch payload-edited header-edited signature-truncated " +
		"signature-altered crit-header b64-header key-in-header", warn: "signature-reencoded"},
	{name: "signature-optional", fail: "unsigned"},
	{name: "alg-none-honoured", fail: "alg-none"},
	{name: "client-id-verifies", fail: "wrong-key"},
	{name: "sandbox-key-verifies", fail: "sandbox-key"},
	{name: "retired-key-still-verifies", fail: "retired-key"},
	{name: "verification-can-be-skipped", fail: "unsigned-otherwise"},
	{name: "algorithm-list", fail: "hs384-hs512"},
	{name: "algorithm-not-read", fail: "alg-mismatch"},
	{name: "compares-what-came", fail: "signature-truncated"},
	{name: "compares-one-byte-less", fail: "signature-altered"},
	{name: "lenient-base64", warn: "signature-reencoded"},
	{name: "crit-ignored", fail: "crit-header b64-header"},
	{name: "key-of-the-header", fail: "key-in-header"},

	// 5: what was decided, of whom, and when
	{name: "signature-is-all", fail: everyDecision + "decision-from-request other-product token-as-response person-missing person-type person-twice id-missing stale future " +
		"iat-missing iat-odd exp-past exp-odd nbf-future response-other-person", warn: "older-than-session"},
	{name: "no-decision-read", fail: everyDecision + "decision-from-request other-product"},
	{name: "one-decision-of-two", fail: everyDecision},
	{name: "missing-is-yes", fail: "decision-missing decision-null decision-case decision-unicode other-product"},
	{name: "not-false-is-yes", fail: "decision-missing decision-null decision-string decision-number decision-object decision-case decision-unicode other-product"},
	{name: "truthy", fail: "decision-string decision-number decision-object"},
	{name: "text-is-parsed", fail: "decision-string"},
	{name: "number-is-parsed", fail: "decision-number"},
	{name: "list-of-results", fail: "decision-object"},
	{name: "encoding-json", fail: "decision-case decision-unicode decision-twice person-twice"},
	{name: "names-in-lower-case", fail: "decision-case person-twice"},
	{name: "last-of-two-names", fail: "decision-twice person-twice"},
	{name: "fields-over-claims", fail: "decision-from-request"},
	{name: "decoded-payload-taken", fail: "decoded-payload"},
	{name: "any-product", fail: "other-product", product: faceLiveness},
	{name: "policy-ignored", fail: "other-policy", product: smartAuth},
	{name: "person-if-there", fail: "person-missing"},
	{name: "person-contained", fail: "person-type"},
	{name: "id-optional", fail: "id-missing"},
	{name: "age-ignored", fail: "stale iat-odd", warn: "older-than-session"},
	{name: "age-but-no-session", warn: "older-than-session"},
	{name: "future-ignored", fail: "future iat-odd"},
	{name: "iat-if-there", fail: "iat-missing"},
	{name: "time-as-text", fail: "iat-odd"},
	{name: "exp-ignored", fail: "exp-past exp-odd"},
	{name: "exp-if-number", fail: "exp-odd"},
	{name: "nbf-ignored", fail: "nbf-future"},
	{name: "first-value-only", fail: "payload-form"},

	// 5: once
	{name: "no-replay-guard", fail: "replay replay-other-session replay-resigned replay-parallel replay-parallel-sessions", maybe: "replay-late"},
	{name: "guard-is-the-session", fail: "replay-other-session replay-resigned replay-parallel-sessions", maybe: "replay-late"},
	{name: "guard-keeps-ten", fail: "replay-late", warn: "older-than-session"},
	{name: "guard-by-text", fail: "replay-resigned"},
	{name: "lenient-base64-and-guard-by-text", fail: "replay-reencoded replay-resigned", warn: "signature-reencoded"},
	{name: "same-answer-again", fail: "replay replay-parallel"},
	{name: "check-then-set", fail: "replay-parallel replay-parallel-sessions"},
	{name: "check-then-set-of-ids", fail: "replay-parallel-sessions"},

	// beyond the checklist
	{name: "dies-of-nul", fail: "malformed"},
	{name: "dies-of-a-megabyte", fail: "oversize"},
	{name: "dies-of-depth", fail: "deep-nesting"},
	{name: "parts-not-counted", fail: "no-server-error"},
	{name: "too-large-is-500", fail: "no-server-error"},
	{name: "response-any-type", fail: "response-type"},
	{name: "type-is-500", fail: "no-server-error"},
	{name: "image-fetched", fail: "image-not-fetched"},
	{name: "key-url-fetched", fail: "keys-not-fetched"},
	{name: "stack-in-refusal", fail: "no-stack-trace"},
	{name: "panic-shows-stack", fail: "no-stack-trace no-server-error"},
	{name: "response-echoed", fail: "no-echo"},
	{name: "duplicate-is-500", fail: "no-server-error"},
	{name: "refused-with-200", warn: "refusal-status"},
	{name: "webhook-not-verified", fail: "webhook-unsigned webhook-wrong-signature webhook-reserialised"},
	{name: "webhook-header-optional", fail: "webhook-unsigned"},
	{name: "webhook-header-present", fail: "webhook-wrong-signature webhook-reserialised"},
	{name: "webhook-begins-right", fail: "webhook-wrong-signature"},
	{name: "webhook-in-base64", fail: "webhook-accepted", inconclusive: unseen},
	{name: "webhook-of-parsed-json", fail: "webhook-accepted", inconclusive: unseen},
	{name: "webhook-of-either", fail: "webhook-reserialised"},
	{name: "webhook-acts-again", fail: "webhook-replay"},
}

func exchanged(r *rig) { r.config.Exchanged, r.target.Exchanged = true, true }

// allThatNeedGrants are the probes that prove something by a refusal: nothing, of a server that refuses everything.
func allThatNeedGrants() string {
	var ids []string
	for _, p := range Probes() {
		if p.grants {
			ids = append(ids, p.ID)
		}
	}
	return strings.Join(ids, " ")
}

// TestFlaws runs every probe against every flaw.
func TestFlaws(t *testing.T) {
	t.Parallel()
	all := flaws
	if raceDetected() { // which is slow, and finds in a few of them what there is: make test runs all of them without it
		all = slices.DeleteFunc(slices.Clone(flaws), func(f flaw) bool { return len(f.name)%5 != 0 })
	}
	reports := make([]chan *finding.Report, len(all))
	for i := range all {
		reports[i] = make(chan *finding.Report, 1)
	}
	for i, f := range all {
		r := f.rigged(t)
		go func() {
			defer close(reports[i])
			reports[i] <- r.report(t, Options{Version: "test"})
		}()
	}
	tripped := make(map[string][]string) // flaws, by probe
	for i, f := range all {
		report := <-reports[i]
		t.Run(cmp.Or(f.name, "none"), func(t *testing.T) {
			if report == nil {
				t.Fatal("no report")
			}
			for _, want := range []struct {
				outcome finding.Outcome
				ids     string
			}{{finding.Fail, f.fail}, {finding.Warn, f.warn}, {finding.Inconclusive, f.inconclusive}, {finding.Skipped, ""}} {
				ids := strings.Fields(want.ids)
				got := outcomes(report, want.outcome)
				for _, id := range got {
					if !slices.Contains(ids, id) && !slices.Contains(strings.Fields(f.maybe), id) {
						t.Errorf("%s came to %s", id, messageOf(report, id))
					}
				}
				for _, id := range ids {
					if !slices.Contains(got, id) {
						t.Errorf("%s came to %s; want %s", id, messageOf(report, id), want.outcome)
					}
				}
			}
		})
		for _, id := range slices.Concat(strings.Fields(f.fail), strings.Fields(f.warn)) {
			tripped[id] = append(tripped[id], f.name)
		}
	}
	if len(all) < len(flaws) {
		return
	}
	for _, p := range Probes() {
		if p.ID == honestID { // of a server that refuses everybody nothing is known: iat-taken-for-expiry
			continue
		}
		if len(tripped[p.ID]) == 0 {
			t.Errorf("no flaw trips %s", p.ID)
		}
		delete(tripped, p.ID)
	}
	for id := range tripped {
		t.Errorf("%s is no probe", id)
	}
}

// rigged makes the server with the flaw, and describes it.
func (f flaw) rigged(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, cmp.Or(f.product, faceAuthentication))
	r.name = f.name
	r.describe(t)
	if f.rig != nil {
		f.rig(r)
	}
	made, err := servers.NewFlawed(r.config, f.name)
	r.serve(t, must(t, made, err))
	r.target.BadCredentials = BadCredentials{
		Expired:       &BadCredential{File: r.file(t, "expired", made.Credential("ana", "bank-app", -time.Minute))},
		WrongAudience: &BadCredential{File: r.file(t, "elsewhere", made.Credential("ana", "broker-app", time.Hour))},
	}
	return r
}

// describe describes a server of servers.Flawed.
func (r *rig) describe(t *testing.T) {
	t.Helper()
	r.passwords(t, nil)
	r.webhook(t)
	bearer := func() map[string]string { return map[string]string{"Authorization": "Bearer {{credential}}"} }
	r.target.Login = []Step{{URL: "/login", JSON: map[string]any{"user": "{{user}}", "password": "{{password}}"}, Take: map[string]string{"credential": "body.access_token"}}}
	r.target.Logout = []Step{{Method: "POST", URL: "/logout", Headers: bearer()}}
	r.target.Token = []Step{{Method: "POST", URL: "/caf/token", Headers: bearer(), Take: map[string]string{"token": "body.token", "session": "body.session"}}}
	r.target.Submit = Submit{Granted: "status == 200 && body.granted == true",
		Request: Step{URL: "/caf/response", Headers: bearer(), JSON: map[string]any{"session": "{{session}}", "response": "{{response}}"}}}
}

func raceDetected() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
