package broker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/store"
	"github.com/selo-id/selo/internal/transcript"
)

func operator(scopes ...string) *policy.Caller {
	return &policy.Caller{Kind: policy.KindOperator, Name: "maria", Scopes: scopes}
}

// An operator's credential is not for sessions, whatever it says, and neither is a kind that nobody knows.
func TestOperatorsTouchNoSession(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	hers := h.opened(ana(), liveness, "login")
	admin := policy.LocalOperator()
	posing := &policy.Caller{Kind: policy.KindOperator, App: "bank", Issuer: issuer, Name: "backend", Subject: ana().Subject, CPF: anaCPF,
		Scopes: append(backend().Scopes, admin.Scopes...), MapSubjects: true}
	stranger := &policy.Caller{Kind: "robot", App: "bank", Issuer: issuer, Name: "backend", Subject: ana().Subject, CPF: anaCPF, Scopes: backend().Scopes}
	for _, c := range []*policy.Caller{admin, posing, stranger} {
		_, err := h.open(c, broker.OpenRequest{Product: liveness, Purpose: "login"})
		refused(t, err, selo.ReasonCallerForbidden)
		_, err = h.open(c, broker.OpenRequest{Product: liveness, Purpose: "login", Subject: new("ana"), CPF: new(anaCPF.Digits())})
		refused(t, err, selo.ReasonCallerForbidden)
		_, err = h.decide(c, hers.SessionID, h.approved(liveness, anaCPF).by(keyOf(liveness)))
		refused(t, err, selo.ReasonCallerForbidden)
		_, err = h.read(c, hers.SessionID)
		refused(t, err, selo.ReasonCallerForbidden)
	}
	if got := h.count("sessions"); got != 1 {
		t.Errorf("%d sessions, want ana's alone", got)
	}
}

func rules(t testing.TB, all ...policy.Rule) *policy.Rules {
	t.Helper()
	r, err := policy.CompileRules(policy.RulesConfig{Products: []string{liveness, faceAuth}, Purposes: []string{"login", "new-device"},
		Claims: map[string]policy.ClaimType{"roles": policy.ClaimStrings}, Rules: all})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRules(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(cfg *broker.Config) {
		cfg.Apps[0].Rules = rules(t,
			policy.Rule{Name: "second-factor", Purposes: []string{"new-device"}, Allow: `caller.kind == "service" || amr_has("otp")`},
			policy.Rule{Name: "blocked", Deny: `has(claims.roles) && "blocked" in claims.roles`},
			policy.Rule{Name: "liveness-only", Deny: `product != "caf/face-liveness"`, Observe: true})
	})
	with := func(claims map[string]any) *policy.Caller {
		c := ana()
		c.Claims = claims
		return c
	}
	otp := map[string]any{"amr": []string{"pwd", "otp"}}
	for name, tc := range map[string]struct {
		c       *policy.Caller
		purpose string
		by      string // the rule that says no
		note    string
	}{
		"without a second factor": {ana(), "new-device", "second-factor", "second-factor@"},
		"with one":                {with(otp), "new-device", "", "liveness-only@"},
		"observed only":           {ana(), "login", "", "deny observe true"},
		"blocked":                 {with(map[string]any{"amr": []string{"otp"}, "roles": []string{"blocked"}}), "new-device", "blocked", "blocked@"},
		"a claim of another type": {with(map[string]any{"amr": []string{"otp"}, "roles": "blocked"}), "new-device", "blocked", "error"},
		"a service":               {backend(), "new-device", "", "second-factor@"},
	} {
		t.Run(name, func(t *testing.T) {
			req := broker.OpenRequest{Product: faceAuth, Purpose: tc.purpose}
			if tc.c.Kind == policy.KindService {
				req.Subject, req.CPF = new("customer-81"), new(brunoCPF.Digits())
			}
			_, err := h.open(tc.c, req)
			if tc.by == "" && err != nil {
				t.Fatal(err)
			}
			if tc.by != "" {
				if r := refused(t, err, selo.ReasonRuleDenied); r.Err.Field != "rule" || !strings.HasPrefix(r.Err.Detail, tc.by+" ") {
					t.Errorf("%s: %s, want the rule %s", r.Err.Field, r.Err.Detail, tc.by)
				}
			}
			var note string
			if err := h.sql().QueryRowContext(context.Background(), `SELECT note FROM audit WHERE act = 'open' ORDER BY id DESC`).Scan(&note); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(note, tc.note) {
				t.Errorf("on record: %q, want in it %q", note, tc.note)
			}
		})
	}
}

// A repeat under the same key is judged by the rules of now, as everything else is.
func TestRulesJudgeRepeats(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	req := broker.OpenRequest{Product: liveness, Purpose: "login", IdempotencyKey: "k"}
	if _, err := h.open(ana(), req); err != nil {
		t.Fatal(err)
	}
	h.restart(func(cfg *broker.Config) {
		cfg.Apps[0].Rules = rules(t, policy.Rule{Name: "closed", Deny: "true"})
	})
	_, err := h.open(ana(), req)
	refused(t, err, selo.ReasonRuleDenied)
}

// backendOf answers as the customer's backend; an answer of "!" is a 500.
func lookup(t testing.TB, answer string) *policy.Lookup {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if answer == "!" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	l, err := policy.NewLookup(policy.LookupConfig{URL: server.URL, Secret: []byte(plant([]byte(strings.Repeat("lookup secret of these tests ", 2))))})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestCPFSources(t *testing.T) {
	t.Parallel()
	says := func(cpf selo.CPF) string { return fmt.Sprintf(`{"cpf":%q}`, cpf.Digits()) }
	nobody := endUser("bank", "ana", selo.CPF{})
	wrong := endUser("bank", "ana", selo.CPF{})
	wrong.CPFFault = &selo.Error{Reason: selo.ReasonCPFInvalid, Field: "cpf"}
	mappedBackend := mapped(backend())
	for name, tc := range map[string]struct {
		c      *policy.Caller
		answer string
		want   selo.Reason
		field  string
	}{
		"the token alone":     {ana(), `{"cpf":null}`, "", ""},
		"the backend alone":   {nobody, says(anaCPF), "", ""},
		"both, alike":         {ana(), says(anaCPF), "", ""},
		"both, different":     {ana(), says(brunoCPF), selo.ReasonCPFMismatch, "cpf_lookup"},
		"neither":             {nobody, `{"cpf":null}`, selo.ReasonCPFMissing, "cpf"},
		"the backend is down": {nobody, "!", selo.ReasonCPFUnavailable, "cpf_lookup"},
		"the backend is down, and the token has one":  {ana(), "!", selo.ReasonCPFUnavailable, "cpf_lookup"},
		"no answer at all":                            {nobody, `{}`, selo.ReasonCPFUnavailable, "cpf_lookup"},
		"the backend says a number that is none":      {nobody, `{"cpf":"11111111111"}`, selo.ReasonCPFUnavailable, "cpf_lookup"},
		"a token with a number that is none":          {wrong, says(anaCPF), selo.ReasonCPFInvalid, "cpf"},
		"a service for its own subject is believed":   {backend(), says(brunoCPF), "", ""},
		"a mapped service is compared":                {mappedBackend, says(brunoCPF), selo.ReasonCPFMismatch, "cpf_lookup"},
		"a mapped service that the backend agrees to": {mappedBackend, says(anaCPF), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, func(cfg *broker.Config) { cfg.Apps[0].CPFLookup = lookup(t, tc.answer) })
			req := broker.OpenRequest{Product: faceAuth, Purpose: "new-device"}
			if tc.c.Kind == policy.KindService {
				req.Subject, req.CPF = new("ana"), new(anaCPF.Digits())
			}
			opened, err := h.open(tc.c, req)
			if tc.want != "" {
				if r := refused(t, err, tc.want); r.Err.Field != tc.field {
					t.Errorf("field %s, want %s", r.Err.Field, tc.field)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := claims(t, opened.Tokens["mobile"])["peopleId"]; got != anaCPF.Digits() {
				t.Error("the token is not for ana's CPF")
			}
			if _, err := h.decide(tc.c, opened.SessionID, h.approved(faceAuth, brunoCPF).by(keyOf(faceAuth))); err == nil {
				t.Fatal("granted with another person's face")
			}
			if _, err := h.decide(tc.c, opened.SessionID, h.approved(faceAuth, anaCPF).by(keyOf(faceAuth))); err != nil {
				t.Error(err)
			}
		})
	}
}

// signUps makes the bank exchange its tokens and take users without a CPF for onboarding.
func signUps(cfg *broker.Config) {
	exchanged(liveness, faceAuth)(cfg)
	for i := range cfg.Apps {
		if cfg.Apps[i].Name == "bank" {
			cfg.Apps[i].Purposes = map[string]broker.Purpose{"login": {Assurance: selo.AssurancePresence}, "new-device": {},
				"onboarding": {Assurance: selo.AssurancePresence, SignUp: true}}
		}
	}
}

func TestSignUp(t *testing.T) {
	t.Parallel()
	h, caf := cafHouse(t, signUps)
	caf.answers[exchangePath] = answerOf(h.sessionToken())
	eva := endUser("bank", "eva", selo.CPF{})
	_, err := h.open(eva, broker.OpenRequest{Product: liveness, Purpose: "login"})
	refused(t, err, selo.ReasonCPFMissing)
	_, err = h.open(eva, broker.OpenRequest{Product: faceAuth, Purpose: "onboarding"})
	refused(t, err, selo.ReasonCPFMissing)

	s := h.opened(eva, liveness, "onboarding")
	if !s.SignUp {
		t.Error("the session does not say that it is a sign-up")
	}
	var marked, cpf int
	if err := h.sql().QueryRowContext(t.Context(), `SELECT sign_up, length(cpf) FROM sessions`).Scan(&marked, &cpf); err != nil || marked != 1 || cpf != 0 {
		t.Errorf("on record: sign_up %d, CPF of %d bytes, %v", marked, cpf, err)
	}
	// Nobody else may answer it, and who the response is about must be said.
	_, err = h.decide(bruno(), s.SessionID, h.approved(liveness, brunoCPF).by(keyOf(liveness)))
	refused(t, err, selo.ReasonSessionUnknown)
	_, err = h.decide(eva, s.SessionID, h.approved(liveness, anaCPF).with("personId", nil).by(keyOf(liveness)))
	if err == nil {
		t.Fatal("granted without a person")
	}
	// Her token has a CPF by now: the session was not opened for it.
	known := endUser("bank", "eva", brunoCPF)
	_, err = h.decide(known, s.SessionID, h.approved(liveness, brunoCPF).by(keyOf(liveness)))
	refused(t, err, selo.ReasonCPFMismatch)
	// A match is refused as another product's response.
	_, err = h.decide(eva, s.SessionID, h.approved(faceAuth, anaCPF).by(keyOf(liveness)))
	if err == nil {
		t.Fatal("granted with a response of another product")
	}
	granted, err := h.decide(eva, s.SessionID, h.approved(liveness, brunoCPF).by(keyOf(liveness)))
	if err != nil {
		t.Fatal(err)
	}
	if granted.Assurance != selo.AssurancePresence || !granted.SignUp {
		t.Errorf("proved %v, sign-up %v", granted.Assurance, granted.SignUp)
	}
	if rows := h.trail(); !rows[len(rows)-1].WithCPF {
		t.Error("whom the response named is not on record")
	}
	// With a CPF it is a session like any other.
	s = h.opened(bruno(), liveness, "onboarding")
	if s.SignUp {
		t.Error("a session with a CPF is a sign-up")
	}
	_, err = h.decide(bruno(), s.SessionID, h.approved(liveness, anaCPF).by(keyOf(liveness)))
	refused(t, err, selo.ReasonSubjectMismatch)
}

// A sign-up that is open ends with the purpose's permission.
func TestSignUpWithdrawn(t *testing.T) {
	t.Parallel()
	h, caf := cafHouse(t, signUps)
	caf.answers[exchangePath] = answerOf(h.sessionToken())
	eva := endUser("bank", "eva", selo.CPF{})
	s := h.opened(eva, liveness, "onboarding")
	h.restart(func(cfg *broker.Config) {
		for i := range cfg.Apps {
			if p, ok := cfg.Apps[i].Purposes["onboarding"]; ok {
				p.SignUp = false
				cfg.Apps[i].Purposes["onboarding"] = p
			}
		}
	})
	_, err := h.decide(eva, s.SessionID, h.approved(liveness, brunoCPF).by(keyOf(liveness)))
	refused(t, err, selo.ReasonRuleDenied)
}

// Each limit at its edge, over a restart; the one that was reached is named.
func TestLimits(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		limit store.Limit
		daily int
		next  func(i int) *policy.Caller // who opens the i-th session
	}{
		"subject": {store.Limit{By: store.LimitSubject, Sessions: 3, Window: time.Hour}, 0, func(int) *policy.Caller { return ana() }},
		"cpf":     {store.Limit{By: store.LimitCPF, Sessions: 3, Window: time.Hour}, 0, func(i int) *policy.Caller { return endUser("bank", fmt.Sprint("ana-", i), anaCPF) }},
		"service": {store.Limit{By: store.LimitService, Sessions: 3, Window: time.Hour}, 0, func(int) *policy.Caller { return backend() }},
		"product": {store.Limit{By: store.LimitProduct, Sessions: 3, Window: time.Hour}, 0, func(i int) *policy.Caller { return endUser("bank", fmt.Sprint("user-", i), anaCPF) }},
		"daily": {store.Limit{}, 3, func(i int) *policy.Caller {
			return endUser([]string{"bank", "kiosk"}[i%2], fmt.Sprint("user-", i), anaCPF)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, func(cfg *broker.Config) {
				cfg.Limits = perSubject(1000, time.Hour)
				switch tc.limit.By {
				case "":
					cfg.Daily = map[string]int{liveness: tc.daily}
				case store.LimitProduct:
					cfg.Apps[0].Limits = map[string][]store.Limit{liveness: {tc.limit}}
				default:
					cfg.Limits = append(cfg.Limits, tc.limit)
				}
			})
			for i := range 3 {
				h.opened(tc.next(i), liveness, "login")
				h.clock.move(time.Minute)
			}
			h.restart()
			req := broker.OpenRequest{Product: liveness, Purpose: "login"}
			c := tc.next(3)
			if c.Kind == policy.KindService {
				req.Subject, req.CPF = new("customer-99"), new(brunoCPF.Digits())
			}
			_, err := h.open(c, req)
			r := refused(t, err, selo.ReasonRateLimited)
			if r.Err.Field != name || r.RetryAfter <= 0 || r.Limit == nil || string(r.Limit.By) != name {
				t.Errorf("%+v, field %s", r, r.Err.Field)
			}
			others := name == "product" || name == "daily" || name == "service"
			if tells := strings.Contains(r.Err.Detail, "3"); tells == others {
				t.Errorf("the detail %q tells the quota: %v", r.Err.Detail, tells)
			}
			h.clock.move(r.RetryAfter)
			if _, err := h.open(tc.next(4), req); err != nil {
				t.Errorf("after %v: %v", r.RetryAfter, err)
			}
		})
	}
}

// A daily ceiling is warned of once, by the session that crosses four fifths of it.
func TestDailyWarning(t *testing.T) {
	t.Parallel()
	var warnings strings.Builder
	h := newHouse(t, func(cfg *broker.Config) {
		cfg.Daily = map[string]int{liveness: 5}
		cfg.Log = warnLog(&warnings)
	})
	for i := range 5 {
		h.opened(endUser("bank", fmt.Sprint("user-", i), anaCPF), liveness, "login")
		if got := strings.Count(warnings.String(), "ceiling is near"); got != map[bool]int{true: 1, false: 0}[i >= 3] {
			t.Errorf("after %d sessions: %d warnings", i+1, got)
		}
	}
	_, err := h.open(ana(), broker.OpenRequest{Product: liveness, Purpose: "login"})
	refused(t, err, selo.ReasonRateLimited)
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	year := start.Add(365 * 24 * time.Hour)
	good := broker.NewCredential{Kind: store.CredentialService, Name: "erp", App: "bank", Scopes: []string{policy.ScopeSessionsOpen}, ExpiresAt: year}
	admin := operator(policy.Scopes(store.CredentialOperator)...)
	add := func(by *policy.Caller, change func(*broker.NewCredential)) (*store.Credential, string, error) {
		n := good
		if change != nil {
			change(&n)
		}
		c, key, err := h.AddCredential(ctx, by, n, thisTest)
		if key != "" {
			transcript.Secret(key)
		}
		_ = transcript.Error(err)
		return c, key, err
	}

	before := len(h.trail())
	for _, by := range []*policy.Caller{ana(), backend(), operator(), operator(policy.ScopeViewer, policy.ScopeOperator)} {
		_, _, err := add(by, nil)
		refused(t, err, selo.ReasonCallerForbidden)
		if c, err := h.RevokeCredential(ctx, by, store.CredentialOperator, "x", thisTest); c != nil || err == nil {
			t.Errorf("%s %v revoked an operator's", by.Kind, by.Scopes)
		}
	}
	if got := len(h.trail()) - before; got != 8 {
		t.Errorf("%d rows of 8 refusals", got)
	}
	for field, change := range map[string]func(*broker.NewCredential){
		"kind":        func(n *broker.NewCredential) { n.Kind = "robot" },
		"name":        func(n *broker.NewCredential) { n.Name = "ERP" },
		"app":         func(n *broker.NewCredential) { n.App = "elsewhere" },
		"scopes":      func(n *broker.NewCredential) { n.Scopes = []string{policy.ScopeAdmin} },
		"certificate": func(n *broker.NewCredential) { n.Certificate = "CN=erp" },
		"expires_at":  func(n *broker.NewCredential) { n.ExpiresAt = start },
	} {
		_, _, err := add(admin, change)
		if r := refused(t, err, selo.ReasonRequestInvalid); r.Err.Field != field {
			t.Errorf("field %s, want %s", r.Err.Field, field)
		}
	}
	one, key, err := add(admin, nil)
	if err != nil {
		t.Fatal(err)
	}
	hash, id, err := policy.HashAPIKey(key)
	if err != nil || id != one.ID || !slices.Equal(hash, one.KeyHash) {
		t.Errorf("credential %s with a key of %s, %v", one.ID, id, err)
	}
	if _, second, err := add(admin, nil); err != nil || second == key {
		t.Errorf("a second key of the same service: %v", err)
	}
	_, _, err = add(admin, func(n *broker.NewCredential) { n.App = "shop" })
	refused(t, err, selo.ReasonRequestInvalid) // its sessions are the bank's
	_, _, err = add(admin, func(n *broker.NewCredential) { n.MapSubjects = true })
	refused(t, err, selo.ReasonRequestInvalid)

	all, err := h.Credentials(ctx, operator(policy.ScopeViewer), thisTest, store.CredentialService)
	if err != nil || len(all) != 2 {
		t.Fatalf("%d credentials, %v", len(all), err)
	}
	if _, err := h.Credentials(ctx, ana(), thisTest, store.CredentialService); err == nil {
		t.Error("an end user was shown the credentials")
	}
	if _, err := h.RevokeCredential(ctx, operator(policy.ScopeViewer), store.CredentialService, one.ID, thisTest); err == nil {
		t.Error("a viewer revoked")
	}
	revoked, err := h.RevokeCredential(ctx, operator(policy.ScopeViewer, policy.ScopeOperator), store.CredentialService, one.ID, thisTest)
	if err != nil || revoked.RevokedAt.IsZero() {
		t.Fatalf("%+v, %v", revoked, err)
	}
	_, err = h.RevokeCredential(ctx, admin, store.CredentialOperator, one.ID, thisTest)
	refused(t, err, selo.ReasonCredentialUnknown)
	text, err := json.Marshal(all)
	if err != nil || strings.Contains(string(text), key) {
		t.Errorf("the list has the key in it, or %v", err)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(cfg *broker.Config) {
		cfg.Apps[0].Rules = rules(t, policy.Rule{Name: "second-factor", Purposes: []string{"new-device"}, Allow: `amr_has("otp")`})
	})
	_, err := h.open(ana(), broker.OpenRequest{Product: faceAuth, Purpose: "new-device"})
	refused(t, err, selo.ReasonRuleDenied)
	viewer := operator(policy.ScopeViewer)
	steps, err := h.Explain(t.Context(), viewer, "", thisTest, "another request")
	if err != nil || len(steps) != 1 || len(steps[0].Rules) != 1 {
		t.Fatalf("%+v, %v", steps, err)
	}
	if r := steps[0].Rules[0]; r.Name != "second-factor" || r.Said != "allow false" || r.Text != `amr_has("otp")` || r.Changed {
		t.Errorf("%+v", r)
	}
	h.restart(func(cfg *broker.Config) {
		cfg.Apps[0].Rules = rules(t, policy.Rule{Name: "second-factor", Purposes: []string{"new-device"}, Allow: `amr_has("hwk")`})
	})
	if steps, err = h.Explain(t.Context(), viewer, "", thisTest, "another request"); err != nil || !steps[0].Rules[0].Changed {
		t.Errorf("%+v, %v; want the rule to be called changed", steps, err)
	}
	s := h.opened(ana(), liveness, "login")
	if steps, err = h.Explain(t.Context(), viewer, s.SessionID, "", "another request"); err != nil || len(steps) != 1 || steps[0].Outcome != "opened" {
		t.Errorf("%+v, %v", steps, err)
	}
	_, err = h.Explain(t.Context(), viewer, "ses_NOSUCH", "", "another request")
	refused(t, err, selo.ReasonSessionUnknown)
	for _, c := range []*policy.Caller{ana(), backend(), operator()} {
		_, err = h.Explain(t.Context(), c, s.SessionID, "", "another request")
		refused(t, err, selo.ReasonCallerForbidden)
	}
	if rows := h.trail(); !slices.ContainsFunc(rows, func(r auditRow) bool { return r.Act == "admin" && r.Outcome == "explained" && r.Session == s.SessionID }) {
		t.Error("that somebody looked is not on record")
	}
}
