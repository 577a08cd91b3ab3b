package broker_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
)

// One test for each way in, or round, that an attack found.

// Whoever picks attempt ids cannot shut the re-check for everybody, and asking costs an attempt.
func TestNobodyShutsTheRecheck(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(h *house) string{
		"no decision": func(h *house) string {
			return strings.Replace(h.faceRecord("a1", anaCPF, true), `"isMatch":true`, `"x":1`, 1)
		},
		"no boolean": func(h *house) string { return strings.ReplaceAll(h.faceRecord("a1", anaCPF, true), "true", `"true"`) },
		"no CPF": func(h *house) string {
			return strings.Replace(h.faceRecord("a1", anaCPF, true), anaCPF.Digits(), "ana", 1)
		},
		"another attempt": func(h *house) string { return h.faceRecord("a2", anaCPF, true) },
		"404":             func(*house) string { return "!404" },
		"403":             func(*house) string { return "!403" },
		"400":             func(*house) string { return "!400" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, c := cafHouse(t)
			c.say("/v1/faces/attempts/a1", answer(h))
			c.say("/v1/faces/attempts/b1", h.faceRecord("b1", brunoCPF, true))
			s := h.opened(ana(), faceAuth, "new-device")
			for i := range 12 {
				_, err := h.answerWith(s.SessionID, broker.Answer{SignedResponse: payload{"requestId": fmt.Sprint("r", i), "isMatch": true}.by("sbx-faceauth"), AttemptID: "a1"})
				if slices.Contains(selo.ReasonsOf(err), selo.ReasonProviderUnavailable) {
					t.Fatalf("%v", err)
				}
			}
			if c.called() > broker.DefaultMaxAttempts {
				t.Errorf("called %d times for %d attempts", c.called(), broker.DefaultMaxAttempts)
			}
			theirs, err := h.OpenSession(t.Context(), bruno(), broker.OpenRequest{Product: faceAuth, Purpose: "new-device", RequestID: thisTest})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.Decide(t.Context(), bruno(), theirs.SessionID, broker.Answer{SignedResponse: payload{"requestId": "his", "isMatch": true}.by("sbx-faceauth"), AttemptID: "b1"}, thisTest); err != nil {
				t.Errorf("bruno: %v", err)
			}
		})
	}
}

// Parallel posts buy no more calls than the session has attempts.
func TestParallelPostsAskOnce(t *testing.T) {
	t.Parallel()
	h, c := cafHouse(t)
	gate := make(chan struct{})
	c.before = func() { <-gate }
	s := h.opened(ana(), faceAuth, "new-device")
	post := func(i int) error {
		_, err := h.Decide(context.Background(), ana(), s.SessionID, broker.Answer{SignedResponse: payload{"requestId": fmt.Sprint("r", i), "isMatch": true}.by("sbx-faceauth"), AttemptID: "a1"}, thisTest)
		return err
	}
	const n = 40
	var wg sync.WaitGroup
	done := make(chan error, n)
	for i := range n {
		wg.Go(func() { done <- post(i) })
	}
	for range n - 1 { // all but the one that asks
		if err := <-done; !slices.Equal(selo.ReasonsOf(err), []selo.Reason{selo.ReasonProviderUnavailable}) {
			t.Errorf("%v", err)
		}
	}
	close(gate)
	wg.Wait()
	if err := <-done; !slices.Equal(selo.ReasonsOf(err), []selo.Reason{selo.ReasonNotFinal}) || c.called() != 1 {
		t.Errorf("%v after %d calls", err, c.called())
	}
	if err := post(n); !slices.Equal(selo.ReasonsOf(err), []selo.Reason{selo.ReasonNotFinal}) || c.called() != 2 {
		t.Errorf("afterwards: %v after %d calls", err, c.called())
	}
}

// Whatever is signed with the access key is signed for a webhook that shares its secret, and what was signed once can
// be posted for ever: neither writes a row each time.
func TestSignedRubbishWritesNoRows(t *testing.T) {
	t.Parallel()
	h, _ := cafHouse(t, func(cfg *broker.Config) {
		cfg.Webhooks = []broker.Webhook{{Name: "console", Environment: selo.EnvironmentSandbox, Secret: cafKey("sbx-liveness").Secret}}
	})
	sign := func(body string) string {
		mac := hmac.New(sha256.New, secrets["sbx-liveness"])
		mac.Write([]byte(body))
		return hex.EncodeToString(mac.Sum(nil))
	}
	token := h.opened(ana(), liveness, "login").Tokens["mobile"]
	old := h.event("e1", `{}`)
	h.clock.move(48 * time.Hour)
	before := h.count("audit")
	for _, body := range []string{token[:strings.LastIndexByte(token, '.')], old, `{"type":"face_authentication"}`} {
		for range 20 {
			if _, err := h.webhook("console", body, sign(body)); err == nil {
				t.Fatalf("%.20s was taken", body)
			}
		}
	}
	if got := h.count("audit"); got != before {
		t.Errorf("%d rows more", got-before)
	}
}

// The token of a key that was revoked, or that has expired, is not given out again, whoever made it.
func TestRepeatGivesNoDeadToken(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(h *house) selo.Reason{
		"revoked": func(h *house) selo.Reason {
			old := cafKey("sbx-liveness")
			old.State = "revoked"
			h.restart(func(cfg *broker.Config) {
				cfg.Keys = ring(t, old, cafKey("sbx-both"), cafKey("sbx-smart"), cafKey("prd-both"), key("sbx-documents", selo.EnvironmentSandbox, documents))
			})
			return selo.ReasonKeyUnavailable
		},
		"expired": func(h *house) selo.Reason {
			h.clock.move(9 * time.Minute)
			return selo.ReasonIdempotencyConflict
		},
	} {
		for _, model := range []string{"our own", "exchanged"} {
			t.Run(name+", "+model, func(t *testing.T) {
				t.Parallel()
				h, c := cafHouse(t)
				if model == "exchanged" {
					h, c = cafHouse(t, exchanged(liveness))
				}
				c.say(exchangePath, answerOf(h.sessionToken()))
				ask := func() error {
					_, err := h.OpenSession(t.Context(), ana(), broker.OpenRequest{Product: liveness, Purpose: "login", IdempotencyKey: "k", RequestID: thisTest})
					return err
				}
				if err := ask(); err != nil {
					t.Fatal(err)
				}
				want := change(h)
				refused(t, ask(), want)
			})
		}
	}
}

// What became stricter since a session was opened applies to it.
func TestStricterSinceItWasOpened(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(map[string]broker.Purpose){
		"capture now": func(p map[string]broker.Purpose) { p["transfer"] = broker.Purpose{Capture: true} },
		"another policy": func(p map[string]broker.Purpose) {
			p["transfer"] = broker.Purpose{Assurance: selo.AssuranceReauthenticated, PolicyID: "stronger"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, _ := cafHouse(t)
			s := h.opened(ana(), smartAuth, "transfer")
			h.restart(func(cfg *broker.Config) { change(cfg.Apps[0].Purposes) })
			_, err := h.decide(ana(), s.SessionID, h.attestation(anaCPF).by("sbx-smart"))
			refused(t, err, selo.ReasonRuleDenied)
		})
	}
}

// The face of one session is not named to the next, which was opened within the slack.
func TestOneAttemptOneSession(t *testing.T) {
	t.Parallel()
	h, c := cafHouse(t)
	first := h.opened(ana(), faceAuth, "login")
	h.clock.move(time.Second)
	c.say("*", h.faceRecord("a1", anaCPF, true))
	if _, err := h.decide(ana(), first.SessionID, h.approved(faceAuth, anaCPF).by("sbx-faceauth")); err != nil {
		t.Fatal(err)
	}
	h.clock.move(3 * time.Second)
	second := h.opened(ana(), faceAuth, "new-device")
	_, err := h.answerWith(second.SessionID, broker.Answer{SignedResponse: payload{"requestId": "other", "isMatch": true}.by("sbx-faceauth"), AttemptID: "a1"})
	refused(t, err, selo.ReasonStale)
}

// Two webhooks with one secret would take one event twice, and the sandbox's in production.
func TestWebhookSecretsAreTheirOwn(t *testing.T) {
	t.Parallel()
	h, _ := cafHouse(t)
	for name, hooks := range map[string][]broker.Webhook{
		"shared":                 {{Name: "a", Environment: selo.EnvironmentSandbox, Secret: cafKey("sbx-smart").Secret}, {Name: "b", Environment: selo.EnvironmentSandbox, Secret: cafKey("sbx-smart").Secret}},
		"of another environment": {{Name: "a", Environment: selo.EnvironmentProduction, Secret: cafKey("sbx-smart").Secret}},
	} {
		cfg := h.cfg
		cfg.Webhooks = hooks
		if err := broker.Check(cfg); err == nil || !strings.Contains(err.Error(), "secret_file: is that of") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A placeholder is no verdict.
func TestUnclearVerdict(t *testing.T) {
	t.Parallel()
	h, _ := cafHouse(t, withWebhooks)
	s := h.opened(ana(), smartAuth, "transfer")
	p := h.attestation(anaCPF)
	if _, err := h.decide(ana(), s.SessionID, p.by("sbx-smart")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.webhook("console", h.event("e1", fmt.Sprintf(`{"attemptId":%q,"isAuthorized":true,"isMatch":null}`, p["attemptId"]))); err != nil {
		t.Fatal(err)
	}
	rows := h.trail()
	if last := rows[len(rows)-1]; last.Outcome != "evidence" {
		t.Errorf("%+v", last)
	}
}
