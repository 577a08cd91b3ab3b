package broker_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/sandbox"
	"github.com/selo-id/selo/internal/store"
)

const exchangePath = "/bff/session-tokens"

// sessionToken is a token as the provider makes it in exchange, for nobody in particular.
func (h *house) sessionToken() string {
	return sandbox.Sign([]byte("the provider's own key"), []byte(sandbox.HS256Header),
		fmt.Appendf(nil, `{"sid":"%s","exp":%d}`, randomHex()[:16], h.clock.Now().Add(8*time.Minute).Unix()))
}

func answerOf(token string) string { return `{"requestId":"r1","sessionToken":"` + token + `"}` }

func TestExchange(t *testing.T) {
	t.Parallel()
	h, c := cafHouse(t, exchanged(liveness, faceAuth))
	token := h.sessionToken()
	c.say(exchangePath, answerOf(token))
	s := h.opened(ana(), faceAuth, "new-device")
	if s.Tokens["mobile"] != token || len(s.Tokens) != 1 {
		t.Fatal("the token is not the provider's")
	}
	if s.ExpiresAt.Unix() != h.clock.Now().Add(8*time.Minute).Unix() || !s.RespondBy.After(s.ExpiresAt) {
		t.Errorf("expires %v, respond by %v", s.ExpiresAt, s.RespondBy)
	}
	var outcomes []string
	for _, r := range h.trail() {
		outcomes = append(outcomes, r.Act+" "+r.Outcome+" "+r.Keys)
	}
	if want := []string{"open minting mobile=sbx-faceauth", "open opened mobile=sbx-faceauth"}; !slices.Equal(outcomes, want) {
		t.Errorf("trail %q, want %q", outcomes, want)
	}
	if h.count("reservations") != 0 {
		t.Error("the reservation is left")
	}
	// Whoever the SDK was started for, the session is ana's.
	_, err := h.decide(ana(), s.SessionID, h.approved(faceAuth, brunoCPF).by("sbx-faceauth"))
	refused(t, err, selo.ReasonSubjectMismatch)
	if _, err := h.decide(ana(), s.SessionID, h.approved(faceAuth, anaCPF).by("sbx-faceauth")); err != nil {
		t.Fatal(err)
	}
}

// Down, slow or lying: no token leaves, no session is there, nobody loses a place in the limit, and the session
// from before goes on.
func TestExchangeFails(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"down": "!500", "refuses": "!401", "too many": "!429", "not found": "!404", "not json": "<html>", "another shape": `{"token":"x"}`,
		"no token": answerOf(""), "no JWT": answerOf("abc"), "our own credential": answerOf("{credential}"),
		"huge": `{"sessionToken":"` + strings.Repeat("a", 100<<10) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, c := cafHouse(t, exchanged(liveness), func(cfg *broker.Config) { cfg.Limits = perSubject(2, time.Hour) })
			c.say(exchangePath, answerOf(h.sessionToken()))
			before := h.opened(ana(), liveness, "login")
			c.say(exchangePath, answer)
			for range 5 {
				s, err := h.OpenSession(t.Context(), ana(), broker.OpenRequest{Product: liveness, Purpose: "login", RequestID: thisTest})
				if s != nil {
					t.Fatalf("opened with %v", s.Tokens)
				}
				refused(t, err, selo.ReasonProviderUnavailable)
			}
			if h.count("sessions") != 1 || h.count("reservations") != 0 || h.state(ana(), before.SessionID) != store.StateOpen {
				t.Errorf("%d sessions, %d reservations", h.count("sessions"), h.count("reservations"))
			}
			// What needs no exchange goes on, and there is room in the limit for exactly the one that is left.
			h.opened(ana(), faceAuth, "login")
			_, err := h.open(ana(), broker.OpenRequest{Product: faceAuth, Purpose: "login"})
			refused(t, err, selo.ReasonRateLimited)
		})
	}
}

// While the provider is slow the limit holds: what is being opened counts.
func TestExchangeHoldsTheLimit(t *testing.T) {
	t.Parallel()
	h, c := cafHouse(t, exchanged(liveness), func(cfg *broker.Config) { cfg.Limits = perSubject(3, time.Hour) })
	c.say(exchangePath, answerOf(h.sessionToken()))
	go1 := make(chan struct{})
	c.before = func() { <-go1 }
	const n = 12
	var mu sync.Mutex
	opened, limited := 0, 0
	var wg sync.WaitGroup
	done := make(chan struct{}, n)
	for range n {
		wg.Go(func() {
			s, err := h.OpenSession(context.Background(), ana(), broker.OpenRequest{Product: liveness, Purpose: "login", RequestID: thisTest})
			mu.Lock()
			if s != nil {
				opened++
			} else if slices.Equal(selo.ReasonsOf(err), []selo.Reason{selo.ReasonRateLimited}) {
				limited++
			}
			mu.Unlock()
			done <- struct{}{}
		})
	}
	for range n - 3 { // those over the limit do not wait for the provider
		<-done
	}
	if opened != 0 || limited != n-3 {
		t.Errorf("%d opened and %d limited while the provider is asked", opened, limited)
	}
	close(go1)
	wg.Wait()
	if opened != 3 || h.count("sessions") != 3 {
		t.Errorf("%d opened, %d sessions, want 3", opened, h.count("sessions"))
	}
}

// If the second transaction cannot be written no token leaves.
func TestExchangeWithoutARecord(t *testing.T) {
	t.Parallel()
	h, c := cafHouse(t, exchanged(liveness))
	c.say(exchangePath, answerOf(h.sessionToken()))
	c.before = func() {
		if err := h.store.Close(); err != nil {
			t.Error(err)
		}
	}
	s, err := h.OpenSession(t.Context(), ana(), broker.OpenRequest{Product: liveness, Purpose: "login", RequestID: thisTest})
	if s != nil {
		t.Fatal("a token left without a session")
	}
	refused(t, err, selo.ReasonStoreUnavailable)
	h.start()
	if h.count("sessions") != 0 || h.count("reservations") != 1 {
		t.Errorf("%d sessions, %d reservations", h.count("sessions"), h.count("reservations"))
	}
}

// The token that is shown to the provider names nobody, lives two minutes, and is in no answer.
func TestExchangeCredential(t *testing.T) {
	t.Parallel()
	h, c := cafHouse(t, exchanged(liveness))
	c.say(exchangePath, answerOf("{credential}"))
	var credential string
	_, err := h.OpenSession(t.Context(), ana(), broker.OpenRequest{Product: liveness, Purpose: "login", RequestID: thisTest})
	refused(t, err, selo.ReasonProviderUnavailable)
	token, mintErr := selo.MintServerToken(cafKey("sbx-liveness").AccessKey, h.clock.Now())
	if mintErr != nil {
		t.Fatal(mintErr)
	}
	credential = token.JWT
	payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(credential, ".")[1])
	if want := fmt.Sprintf(`{"iss":"sbx-liveness","exp":%d}`, h.clock.Now().Add(2*time.Minute).Unix()); string(payload) != want {
		t.Errorf("payload %s, want %s", payload, want)
	}
	if strings.Contains(err.Error(), credential) {
		t.Error("the refusal holds the credential")
	}
}

// A repeat under the same key gets the same answer and no second session, whoever makes the token.
func TestRepeats(t *testing.T) {
	t.Parallel()
	for _, product := range []string{liveness, smartAuth, faceAuth} {
		t.Run(product, func(t *testing.T) {
			t.Parallel()
			h, c := cafHouse(t, exchanged(faceAuth), func(cfg *broker.Config) { cfg.Limits = perSubject(2, time.Hour) })
			c.say(exchangePath, answerOf(h.sessionToken()))
			ask := func(key string) (*broker.Opened, error) {
				return h.OpenSession(t.Context(), ana(), broker.OpenRequest{Product: product, Purpose: "transfer", IdempotencyKey: key, RequestID: thisTest})
			}
			purpose := "transfer"
			if product != smartAuth {
				purpose = "login"
				ask = func(key string) (*broker.Opened, error) {
					return h.OpenSession(t.Context(), ana(), broker.OpenRequest{Product: product, Purpose: "login", IdempotencyKey: key, RequestID: thisTest})
				}
			}
			first, err := ask("k1")
			if err != nil {
				t.Fatal(err)
			}
			c.say(exchangePath, answerOf(h.sessionToken()))
			h.clock.move(30 * time.Second)
			for range 5 {
				again, err := ask("k1")
				if err != nil {
					t.Fatal(err)
				}
				if fmt.Sprint(first.Tokens) != fmt.Sprint(again.Tokens) || first.SessionID != again.SessionID || !first.ExpiresAt.Equal(again.ExpiresAt) || first.PolicyID != again.PolicyID {
					t.Errorf("another answer: %s, %s", first.SessionID, again.SessionID)
				}
			}
			h.restart()
			if again, err := ask("k1"); err != nil || again.SessionID != first.SessionID {
				t.Errorf("after a restart: %v, %v", again, err)
			}
			_, err = h.OpenSession(t.Context(), ana(), broker.OpenRequest{Product: documents, Purpose: "onboarding", IdempotencyKey: "k1", RequestID: thisTest})
			refused(t, err, selo.ReasonIdempotencyConflict)
			// Somebody else's key of the same text is another key.
			if other, err := h.OpenSession(t.Context(), bruno(), broker.OpenRequest{Product: product, Purpose: purpose, IdempotencyKey: "k1", RequestID: thisTest}); err != nil || other.SessionID == first.SessionID {
				t.Errorf("bruno: %v, %v", other, err)
			}
			if second, err := ask("k2"); err != nil || second.SessionID == first.SessionID {
				t.Errorf("another key: %v, %v", second, err)
			}
			// The first session was superseded by that: nothing is given out for it any more.
			_, err = ask("k1")
			if r := refused(t, err, selo.ReasonSessionNotOpen); r.Session != first.SessionID || r.State != store.StateSuperseded {
				t.Errorf("%s %s", r.Session, r.State)
			}
			if got := h.count("sessions"); got != 3 {
				t.Errorf("%d sessions, want 3", got)
			}
			h.clock.move(25 * time.Hour)
			if later, err := ask("k1"); err != nil || later.SessionID == first.SessionID {
				t.Errorf("after a day: %v, %v", later, err)
			}
		})
	}
}

// A key that no longer mints mints no repeat either.
func TestRepeatAfterTheKeyIsRevoked(t *testing.T) {
	t.Parallel()
	h, _ := cafHouse(t)
	ask := func() (*broker.Opened, error) {
		return h.OpenSession(t.Context(), ana(), broker.OpenRequest{Product: smartAuth, Purpose: "transfer", IdempotencyKey: "k", RequestID: thisTest})
	}
	if _, err := ask(); err != nil {
		t.Fatal(err)
	}
	old := cafKey("sbx-liveness")
	old.State = "revoked"
	h.restart(func(cfg *broker.Config) {
		cfg.Keys = ring(t, old, cafKey("sbx-both"), cafKey("sbx-smart"), cafKey("prd-both"), key("sbx-documents", selo.EnvironmentSandbox, documents))
	})
	_, err := ask()
	refused(t, err, selo.ReasonKeyUnavailable)
}

// Of parallel requests with one key one opens the session, and the others get it or are told to wait.
func TestParallelRepeats(t *testing.T) {
	t.Parallel()
	h, c := cafHouse(t, exchanged(liveness))
	c.say(exchangePath, answerOf(h.sessionToken()))
	var mu sync.Mutex
	sessions := make(map[string]int)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			s, err := h.OpenSession(context.Background(), ana(), broker.OpenRequest{Product: liveness, Purpose: "login", IdempotencyKey: "k", RequestID: thisTest})
			mu.Lock()
			defer mu.Unlock()
			if s != nil {
				sessions[s.SessionID]++
			} else if !slices.Equal(selo.ReasonsOf(err), []selo.Reason{selo.ReasonIdempotencyConflict}) {
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	if len(sessions) != 1 || h.count("sessions") != 1 || c.called() != 1 {
		t.Errorf("%d sessions answered, %d there, %d calls", len(sessions), h.count("sessions"), c.called())
	}
}

// A configuration that changed in between gets no token of before.
func TestRepeatAfterTheConfigurationChanged(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*broker.Config){
		"exchanged now": exchanged(liveness),
		"in production now": func(cfg *broker.Config) {
			cfg.Apps = slices.Clone(cfg.Apps)
			cfg.Apps[0].Environment, cfg.Apps[0].Products = selo.EnvironmentProduction, []string{liveness, faceAuth}
			cfg.Apps[0].Purposes = map[string]broker.Purpose{"login": {Assurance: selo.AssurancePresence}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, c := cafHouse(t)
			c.say(exchangePath, answerOf(h.sessionToken()))
			ask := func() (*broker.Opened, error) {
				return h.OpenSession(t.Context(), ana(), broker.OpenRequest{Product: liveness, Purpose: "login", IdempotencyKey: "k", RequestID: thisTest})
			}
			if _, err := ask(); err != nil {
				t.Fatal(err)
			}
			h.restart(change)
			_, err := ask()
			refused(t, err, selo.ReasonIdempotencyConflict)
		})
	}
}
