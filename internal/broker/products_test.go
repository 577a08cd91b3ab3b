package broker_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/store"
)

// Smart Auth: two tokens, one policy, and what a grant proves.
func TestSmartAuthOpens(t *testing.T) {
	t.Parallel()
	h, _ := cafHouse(t)
	s := h.opened(ana(), smartAuth, "transfer")
	if len(s.Tokens) != 2 || s.Tokens["identity"] == "" || s.Tokens["face"] == "" || s.Tokens["identity"] == s.Tokens["face"] || s.PolicyID != policyID {
		t.Fatalf("%d tokens, policy %q", len(s.Tokens), s.PolicyID)
	}
	rows := h.trail()
	if keys := rows[len(rows)-1].Keys; keys != "face=sbx-liveness identity=sbx-smart" {
		t.Errorf("recorded keys %q", keys)
	}
	if s := h.opened(ana(), smartAuth, "pay"); s.PolicyID != "policy-of-payments" {
		t.Errorf("policy %q", s.PolicyID)
	}
	h.restart(func(cfg *broker.Config) {
		cfg.Keys = ring(t, cafKey("sbx-smart"), cafKey("sbx-both"), cafKey("prd-both"), key("sbx-documents", selo.EnvironmentSandbox, documents))
	})
	h.restart(func(cfg *broker.Config) { cfg.Apps[0].Products = []string{smartAuth, liveness, faceAuth, documents} })
	if s := h.opened(ana(), smartAuth, "transfer"); len(s.Tokens) != 2 {
		t.Errorf("%d tokens", len(s.Tokens))
	}
}

func TestSmartAuthDecides(t *testing.T) {
	t.Parallel()
	faceless := func(m map[string]any) { m["authenticationMethods"] = map[string]any{} }
	for _, tc := range []struct {
		name, purpose string
		change        func(payload) payload
		record        string // "" is none: the provider has no such attempt
		want          []selo.Reason
		proved        selo.Assurance
		state         store.State
		asked         int
	}{
		{"challenge", "transfer", nil, "", nil, selo.AssuranceReauthenticated, store.StateGranted, 0},
		{"known context is too little", "transfer", func(p payload) payload { return p.with("isNewContext", false) }, record(anaCPF, faceless), []selo.Reason{selo.ReasonAssuranceTooLow}, 0, store.StateOpen, 1},
		{"known context with a face in the record", "transfer", func(p payload) payload { return p.with("isNewContext", false) }, record(anaCPF), nil, selo.AssuranceMatch, store.StateGranted, 1},
		{"match after the re-check", "new-device", nil, record(anaCPF), nil, selo.AssuranceMatch, store.StateGranted, 1},
		{"no face was checked", "new-device", nil, record(anaCPF, faceless), []selo.Reason{selo.ReasonAssuranceTooLow}, 0, store.StateOpen, 1},
		{"no record yet", "new-device", nil, "!404", []selo.Reason{selo.ReasonNotFinal}, 0, store.StateOpen, 1},
		{"pending", "transfer", func(p payload) payload { return p.with("isAuthorized", false) }, "", []selo.Reason{selo.ReasonNotApproved, selo.ReasonNotFinal}, 0, store.StateOpen, 0},
		{"another policy", "transfer", func(p payload) payload { return p.with("policyId", "easy") }, "", []selo.Reason{selo.ReasonPolicyMismatch}, 0, store.StateOpen, 0},
		{"another person", "transfer", func(p payload) payload { return p.with("peopleId", brunoCPF.Digits()) }, "", []selo.Reason{selo.ReasonSubjectMismatch}, 0, store.StateOpen, 0},
		{"the record is of another person", "new-device", nil, record(brunoCPF), []selo.Reason{selo.ReasonRecheckDisagrees, selo.ReasonSubjectMismatch}, 0, store.StateDenied, 1},
		{"the record says no", "new-device", nil, record(anaCPF, func(m map[string]any) { m["status"] = "reproved" }), []selo.Reason{selo.ReasonRecheckDisagrees, selo.ReasonNotApproved}, 0, store.StateDenied, 1},
		{"always asked, and confirmed", "audit", nil, record(anaCPF, faceless), nil, selo.AssuranceReauthenticated, store.StateGranted, 1},
		{"always asked, and contradicted", "audit", nil, record(anaCPF, func(m map[string]any) { m["status"] = "reproved" }), []selo.Reason{selo.ReasonRecheckDisagrees, selo.ReasonNotApproved}, 0, store.StateDenied, 1},
		{"always asked about nothing that is refused anyway", "audit", func(p payload) payload { return p.with("iat", int64(1)) }, record(anaCPF), []selo.Reason{selo.ReasonStale}, 0, store.StateOpen, 0},
		{"the provider is down", "audit", nil, "!500", []selo.Reason{selo.ReasonProviderUnavailable}, 0, store.StateOpen, 2},
		{"never asked", "offline", func(p payload) payload { return p.with("isNewContext", false) }, record(brunoCPF), nil, selo.AssuranceKnownContext, store.StateGranted, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h, c := cafHouse(t)
			s := h.opened(ana(), smartAuth, tc.purpose)
			p := h.attestation(anaCPF)
			if tc.change != nil {
				p = tc.change(p)
			}
			if tc.record != "" {
				c.say("*", tc.record)
			}
			granted, err := h.decide(ana(), s.SessionID, p.by("sbx-smart"))
			if tc.want == nil {
				if err != nil || granted.Assurance != tc.proved {
					t.Fatalf("%+v, %v; want %v", granted, err, tc.proved)
				}
			} else if r := refused(t, err, tc.want...); r.State != tc.state {
				t.Errorf("state %s, want %s", r.State, tc.state)
			}
			if got := c.called(); got != tc.asked {
				t.Errorf("the provider was asked %d times, want %d", got, tc.asked)
			}
			if got := h.state(ana(), s.SessionID); got != tc.state {
				t.Errorf("state %s, want %s", got, tc.state)
			}
		})
	}
}

// A pending answer uses nothing up: the same attempt is approved later, and once.
func TestSmartAuthPendingThenApproved(t *testing.T) {
	t.Parallel()
	h, _ := cafHouse(t)
	s := h.opened(ana(), smartAuth, "transfer")
	p := h.attestation(anaCPF)
	for i := range 2 {
		_, err := h.decide(ana(), s.SessionID, p.with("isAuthorized", false).by("sbx-smart"))
		if r := refused(t, err, selo.ReasonNotApproved, selo.ReasonNotFinal); r.AttemptsLeft != broker.DefaultMaxAttempts-1-i {
			t.Errorf("%d attempts left", r.AttemptsLeft)
		}
	}
	if h.count("consumed_ids") != 0 {
		t.Error("a pending answer used ids up")
	}
	if _, err := h.decide(ana(), s.SessionID, p.by("sbx-smart")); err != nil {
		t.Fatal(err)
	}
	again := h.opened(ana(), smartAuth, "transfer")
	_, err := h.decide(ana(), again.SessionID, p.with("iat", h.clock.Now().Unix()+1).by("sbx-smart"))
	refused(t, err, selo.ReasonReplayed)
}

// An outage counts nothing, however often: the same response is granted when it is over.
func TestRecheckOutageCountsNothing(t *testing.T) {
	t.Parallel()
	h, c := cafHouse(t)
	s := h.opened(ana(), smartAuth, "audit")
	p := h.attestation(anaCPF).by("sbx-smart")
	c.say("*", "!429")
	for range 3 * broker.DefaultMaxAttempts {
		_, err := h.decide(ana(), s.SessionID, p)
		r := refused(t, err, selo.ReasonProviderUnavailable)
		if r.AttemptsLeft != broker.DefaultMaxAttempts || r.State != store.StateOpen || r.RetryAfter <= 0 || r.RetryAfter > 7*time.Second {
			t.Fatalf("%d left, %s, retry after %v", r.AttemptsLeft, r.State, r.RetryAfter)
		}
	}
	if c.called() != 1 {
		t.Errorf("called %d times within Retry-After", c.called())
	}
}

// An answer that nobody signed is an attempt, whatever it says.
func TestUnsignedAnswers(t *testing.T) {
	t.Parallel()
	for _, says := range []bool{true, false} {
		h, _ := cafHouse(t)
		s := h.opened(ana(), smartAuth, "transfer")
		want := []selo.Reason{selo.ReasonSignatureInvalid}
		if says {
			want = append(want, selo.ReasonNotApproved, selo.ReasonNotFinal)
		}
		for i := range broker.DefaultMaxAttempts - 1 {
			_, err := h.answerWith(s.SessionID, broker.Answer{Unsigned: true, Refused: says})
			if r := refused(t, err, want...); r.State != store.StateOpen || r.AttemptsLeft != broker.DefaultMaxAttempts-1-i {
				t.Errorf("%s, %d left", r.State, r.AttemptsLeft)
			}
		}
		_, err := h.answerWith(s.SessionID, broker.Answer{Unsigned: true, Refused: says})
		if r := refused(t, err, append(want, selo.ReasonTooManyAttempts)...); r.State != store.StateDenied {
			t.Errorf("%s", r.State)
		}
	}
}

// The mobile API's match names nobody and no time: the provider's record must say both, about this session.
func TestMobileAPIMatch(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, attempt string
		record        func(h *house) string
		want          []selo.Reason
		state         store.State
	}{
		{"by itself", "", nil, []selo.Reason{selo.ReasonSubjectUnproven, selo.ReasonFreshnessUnproven, selo.ReasonAssuranceTooLow}, store.StateOpen},
		{"with the record", "a1", func(h *house) string { return h.faceRecord("a1", anaCPF, true) }, nil, store.StateGranted},
		{"the record of somebody else", "a1", func(h *house) string { return h.faceRecord("a1", brunoCPF, true) }, []selo.Reason{selo.ReasonSubjectMismatch}, store.StateOpen},
		{"the record of another attempt", "a1", func(h *house) string { return h.faceRecord("a2", anaCPF, true) }, []selo.Reason{selo.ReasonNotFinal}, store.StateOpen},
		{"a no of hers", "a1", func(h *house) string { return h.faceRecord("a1", anaCPF, false) }, []selo.Reason{selo.ReasonNotApproved}, store.StateDenied},
		{"unknown", "a1", func(*house) string { return "!404" }, []selo.Reason{selo.ReasonNotFinal}, store.StateOpen},
		{"no attempt id", "../../etc", func(h *house) string { return h.faceRecord("a1", anaCPF, true) }, []selo.Reason{selo.ReasonRequestInvalid}, store.StateOpen},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h, c := cafHouse(t)
			s := h.opened(ana(), faceAuth, "new-device")
			if tc.record != nil {
				c.say("*", tc.record(h))
			}
			response := payload{"requestId": string(randomHex()[:32]), "isMatch": true}.by("sbx-faceauth")
			_, err := h.answerWith(s.SessionID, broker.Answer{SignedResponse: response, AttemptID: tc.attempt})
			switch {
			case tc.want == nil && err != nil:
				t.Fatal(err)
			case tc.want != nil:
				if r := refused(t, err, tc.want...); r.State != tc.state {
					t.Errorf("%s, want %s", r.State, tc.state)
				}
			default:
				// The attempt is used up with the response, in whichever session it comes again.
				again := h.opened(ana(), faceAuth, "new-device")
				other := payload{"requestId": string(randomHex()[:32]), "isMatch": true}.by("sbx-faceauth")
				_, err := h.answerWith(again.SessionID, broker.Answer{SignedResponse: other, AttemptID: tc.attempt})
				refused(t, err, selo.ReasonReplayed)
			}
		})
	}
}

// A record from before the session proves nothing for it.
func TestRecheckIsFresh(t *testing.T) {
	t.Parallel()
	h, c := cafHouse(t)
	old := h.faceRecord("a1", anaCPF, true)
	h.clock.move(time.Minute)
	s := h.opened(ana(), faceAuth, "new-device")
	c.say("*", old)
	_, err := h.answerWith(s.SessionID, broker.Answer{SignedResponse: payload{"requestId": "r1", "isMatch": true}.by("sbx-faceauth"), AttemptID: "a1"})
	refused(t, err, selo.ReasonStale)
}

// Document detection starts, for capture, and nothing is ever granted for it.
func TestDocumentDetection(t *testing.T) {
	t.Parallel()
	h, c := cafHouse(t)
	s := h.opened(ana(), documents, "onboarding")
	if s.Tokens["mobile"] == "" {
		t.Fatal("no token")
	}
	c.say("*", h.faceRecord("a1", anaCPF, true))
	for _, a := range []broker.Answer{
		{SignedResponse: h.approved(liveness, anaCPF).by("sbx-documents")},
		{SignedResponse: h.approved(faceAuth, anaCPF).by("sbx-documents"), AttemptID: "a1"},
		{SignedResponse: s.Tokens["mobile"]},
	} {
		_, err := h.answerWith(s.SessionID, a)
		if r := refused(t, err, selo.ReasonProductMismatch); r.State != store.StateOpen || !strings.Contains(r.Err.Detail, "no signed response") {
			t.Errorf("%s: %v", r.State, r.Err)
		}
	}
	if c.called() != 0 {
		t.Error("the provider was asked")
	}
	_, err := h.open(ana(), broker.OpenRequest{Product: documents, Purpose: "login"})
	refused(t, err, selo.ReasonAssuranceTooLow)
	_, err = h.open(ana(), broker.OpenRequest{Product: liveness, Purpose: "onboarding"})
	refused(t, err, selo.ReasonRequestInvalid)
}

func TestConfigurationOfProducts(t *testing.T) {
	t.Parallel()
	h, _ := cafHouse(t)
	for _, tc := range []struct {
		name, want string
		change     func(app *broker.App, cfg *broker.Config)
	}{
		{"as it is", "", func(*broker.App, *broker.Config) {}},
		{"exchanged", "", func(a *broker.App, _ *broker.Config) { a.Exchanged = []string{liveness, documents} }},
		{"exchanged Smart Auth", "no exchange of them is described", func(a *broker.App, _ *broker.Config) { a.Exchanged = []string{smartAuth} }},
		{"exchanged, and not offered", "exchanged[0]: is not one of", func(a *broker.App, _ *broker.Config) { a.Products, a.Exchanged = a.Products[1:], []string{liveness} }},
		{"exchanged nowhere", "caf.sandbox.session_url", func(a *broker.App, cfg *broker.Config) { a.Exchanged, cfg.Providers = []string{liveness}, nil }},
		{"no policy", "policy_id: caf/smart-auth needs", func(a *broker.App, _ *broker.Config) { a.PolicyID = "" }},
		{"always, and nobody to ask", "recheck: always needs caf.sandbox.identity_url", func(_ *broker.App, cfg *broker.Config) { cfg.Providers = nil }},
		{"a rule that is none", "recheck: must be", func(a *broker.App, _ *broker.Config) { a.Purposes["login"] = broker.Purpose{Recheck: "sometimes"} }},
		{"capture with an assurance", "capture: grants nothing", func(a *broker.App, _ *broker.Config) {
			a.Purposes["onboarding"] = broker.Purpose{Capture: true, Assurance: selo.AssurancePresence}
		}},
		{"capture of nothing", "capture: no product", func(a *broker.App, _ *broker.Config) { a.Products = []string{liveness, faceAuth, smartAuth} }},
		{"match by Smart Auth without a re-check", "requires match", func(a *broker.App, _ *broker.Config) {
			a.Products, a.Purposes = []string{smartAuth, liveness}, map[string]broker.Purpose{"x": {Recheck: broker.RecheckNever}}
		}},
		{"match by Smart Auth with one", "", func(a *broker.App, _ *broker.Config) {
			a.Products, a.Purposes = []string{smartAuth, liveness}, map[string]broker.Purpose{"x": {}}
		}},
		{"a product twice", "is listed twice", func(a *broker.App, _ *broker.Config) { a.Products = append(a.Products, liveness) }},
		{"a webhook without a secret", "webhooks[0].secret_file", func(_ *broker.App, cfg *broker.Config) {
			cfg.Webhooks = []broker.Webhook{{Name: "a", Environment: selo.EnvironmentSandbox}}
		}},
		{"a webhook of that name", "webhooks[0].name", func(_ *broker.App, cfg *broker.Config) {
			cfg.Webhooks = []broker.Webhook{{Name: "A b", Environment: selo.EnvironmentSandbox, Secret: cafKey("sbx-smart").Secret}}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := h.cfg
			cfg.Apps = slices.Clone(h.cfg.Apps)
			app := &cfg.Apps[0]
			app.Products = slices.Clone(app.Products)
			purposes := make(map[string]broker.Purpose)
			for name, p := range app.Purposes {
				purposes[name] = p
			}
			app.Purposes = purposes
			tc.change(app, &cfg)
			err := broker.Check(cfg)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}
