package broker_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"io"
	"net/http"
	"net/http/httptest"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/policy"
)

// Bug: a sign-up was granted with anybody's face although the backend knew by then whose it had to be, and its receipt
// was no other than that of a session with a CPF.
func TestSignUpIsBoundOnceTheCPFIsKnown(t *testing.T) {
	t.Parallel()
	var answer atomic.Pointer[string]
	say := func(text string) { answer.Store(&text) }
	say(`{"cpf":null}`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, *answer.Load()) }))
	defer server.Close()
	var h *house
	lookup, err := policy.NewLookup(policy.LookupConfig{URL: server.URL, Secret: []byte(strings.Repeat("x", 32)), Now: func() time.Time { return h.clock.Now() }})
	if err != nil {
		t.Fatal(err)
	}
	h, caf := cafHouse(t, signUps, func(cfg *broker.Config) { cfg.Apps[0].CPFLookup = lookup })
	caf.answers[exchangePath] = answerOf(h.sessionToken())
	eva := endUser("bank", "eva", selo.CPF{})
	s := h.opened(eva, liveness, "onboarding")

	h.clock.move(5 * time.Second)
	say("!")
	_, err = h.decide(eva, s.SessionID, h.approved(liveness, brunoCPF).by(keyOf(liveness)))
	refused(t, err, selo.ReasonCPFUnavailable)
	say(fmt.Sprintf(`{"cpf":%q}`, anaCPF.Digits()))
	_, err = h.decide(eva, s.SessionID, h.approved(liveness, brunoCPF).by(keyOf(liveness)))
	refused(t, err, selo.ReasonSubjectMismatch)
	granted, err := h.decide(eva, s.SessionID, h.approved(liveness, anaCPF).by(keyOf(liveness)))
	if err != nil {
		t.Fatal(err)
	}
	if got := claims(t, granted.Receipt)["sign_up"]; got != true {
		t.Errorf("the receipt has sign_up %v", got)
	}
}

// Bug: whoever knew a session's id could fill its trail with refusals, until its grant was not among what is shown.
func TestStrangersDoNotFillATrail(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := h.opened(ana(), liveness, "login")
	for range 150 {
		if _, err := h.read(bruno(), s.SessionID); err == nil {
			t.Fatal("bruno reads ana's session")
		}
	}
	for range 250 { // her own requests are on it
		if _, err := h.read(endUser("bank", "ana", brunoCPF), s.SessionID); err == nil {
			t.Fatal("read with another CPF")
		}
	}
	if _, err := h.decide(ana(), s.SessionID, h.approved(liveness, anaCPF).by(keyOf(liveness))); err != nil {
		t.Fatal(err)
	}
	steps, err := h.Explain(t.Context(), operator(policy.ScopeViewer), s.SessionID, "", thisTest)
	if err != nil || len(steps) != 200 {
		t.Fatalf("%d steps, %v", len(steps), err)
	}
	if first, last := steps[0], steps[len(steps)-1]; first.Outcome != "opened" || last.Outcome != "granted" {
		t.Errorf("from %s to %s", first.Outcome, last.Outcome)
	}
}

// Bug: of many rules those that denied or would have could be the ones that there was no room for.
func TestManyRulesAreExplained(t *testing.T) {
	t.Parallel()
	var many []policy.Rule
	for i := range 60 {
		many = append(many, policy.Rule{Name: fmt.Sprintf("a-rule-with-a-long-name-%02d", i), Deny: "false"})
	}
	many = append(many, policy.Rule{Name: "would-have", Deny: "true", Observe: true}, policy.Rule{Name: "the-one", Deny: "true"})
	h := newHouse(t, func(cfg *broker.Config) { cfg.Apps[0].Rules = rules(t, many...) })
	_, err := h.open(ana(), broker.OpenRequest{Product: liveness, Purpose: "login"})
	refused(t, err, selo.ReasonRuleDenied)
	steps, err := h.Explain(t.Context(), operator(policy.ScopeViewer), "", thisTest, "another")
	if err != nil {
		t.Fatal(err)
	}
	got := steps[0]
	if len(got.Rules) < 2 || got.Rules[0].Name != "the-one" || got.Rules[1].Name != "would-have" || got.More != len(many)-len(got.Rules) {
		t.Errorf("%d rules, and %d more", len(got.Rules), got.More)
	}
}
