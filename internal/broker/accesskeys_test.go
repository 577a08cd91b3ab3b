package broker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/keyring"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/seal"
	"github.com/selo-id/selo/internal/store"
	"github.com/selo-id/selo/internal/transcript"
)

func TestAccessKeysOfTheStore(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t, func(c *broker.Config) { c.LaxKeys = false })
	ctx := t.Context()
	admin := operator(policy.Scopes(store.CredentialOperator)...)
	viewer, duty := operator(policy.ScopeViewer), operator(policy.ScopeViewer, policy.ScopeOperator)
	good := broker.NewKey{ClientID: "sbx-liveness", Environment: selo.EnvironmentSandbox, Products: []string{liveness}}
	add := func(by *policy.Caller, n broker.NewKey, secret []byte) error {
		given := slices.Clone(secret)
		_, err := h.AddKey(ctx, by, n, given, thisTest)
		_ = transcript.Error(err)
		if !bytes.Equal(given, make([]byte, len(given))) {
			t.Errorf("the secret of %s was left where it came from", n.ClientID)
		}
		return err
	}
	change := func(by *policy.Caller, c broker.KeyChange) (*broker.AccessKey, *broker.Radius, error) {
		c.ClientID, c.Environment = "sbx-liveness", selo.EnvironmentSandbox
		return h.ChangeKey(ctx, by, c, thisTest)
	}

	for _, by := range []*policy.Caller{ana(), backend(), viewer, duty} {
		refused(t, add(by, good, secrets["sbx-liveness"]), selo.ReasonCallerForbidden)
		_, _, err := change(by, broker.KeyChange{To: "active"})
		refused(t, err, selo.ReasonCallerForbidden)
		_, err = h.Fingerprints(ctx, by, thisTest)
		refused(t, err, selo.ReasonCallerForbidden)
	}
	_, err := h.AccessKeys(ctx, backend(), thisTest)
	refused(t, err, selo.ReasonCallerForbidden)
	_, _, err = change(admin, broker.KeyChange{To: "active"})
	refused(t, err, selo.ReasonKeyUnknown)

	for field, wrong := range map[string]func(*broker.NewKey){
		"client_id":     func(n *broker.NewKey) { n.ClientID = "with a space" },
		"environment":   func(n *broker.NewKey) { n.Environment = "" },
		"products":      func(n *broker.NewKey) { n.Products = []string{"caf/palm"} },
		"shared_reason": func(n *broker.NewKey) { n.Products, n.SharedReason = []string{liveness, faceAuth}, " " },
		"name":          func(n *broker.NewKey) { n.Note = "two\nlines" },
	} {
		n := good
		wrong(&n)
		if r := refused(t, add(admin, n, secrets["sbx-liveness"]), selo.ReasonRequestInvalid); r.Err.Field != field {
			t.Errorf("field %s, want %s", r.Err.Field, field)
		}
	}
	for _, wrong := range []string{"sbx-liveness", "64b7f3c2a1d0e9f8b7a6c5d4", " " + string(secrets["sbx-liveness"]), string(secrets["sbx-liveness"]) + "\nx"} {
		refused(t, add(admin, good, []byte(wrong)), selo.ReasonRequestInvalid)
	}
	if err := add(admin, good, secrets["sbx-liveness"]); err != nil {
		t.Fatal(err)
	}
	again := good
	again.Environment = selo.EnvironmentProduction
	refused(t, add(admin, again, secrets["sbx-liveness"]), selo.ReasonRequestInvalid) // one secret is never two keys'

	// Prepared it does not mint, active it does, and retiring it verifies what it minted.
	_, err = h.open(ana(), broker.OpenRequest{Product: liveness, Purpose: "login"})
	refused(t, err, selo.ReasonKeyUnavailable)
	if _, _, err = change(admin, broker.KeyChange{To: "active"}); err != nil {
		t.Fatal(err)
	}
	s := h.opened(ana(), liveness, "login")
	other := h.opened(bruno(), liveness, "login")
	_, _, err = change(admin, broker.KeyChange{To: "retiring", Until: start.Add(broker.DefaultRespondWithin - time.Second)})
	refused(t, err, selo.ReasonRequestInvalid)
	_, _, err = change(admin, broker.KeyChange{To: "active", Leaked: true})
	refused(t, err, selo.ReasonRequestInvalid)
	_, _, err = change(admin, broker.KeyChange{To: "gone"})
	refused(t, err, selo.ReasonRequestInvalid)
	if _, _, err = change(admin, broker.KeyChange{To: "retiring", Until: start.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	_, err = h.open(ana(), broker.OpenRequest{Product: liveness, Purpose: "login"})
	refused(t, err, selo.ReasonKeyUnavailable)
	if _, err := h.decide(ana(), s.SessionID, h.approved(liveness, anaCPF).by("sbx-liveness")); err != nil {
		t.Fatal(err)
	}

	// Revoked as leaked it grants nothing from then on, and says what hangs on it, as often as it is asked.
	for range 2 {
		k, radius, err := change(duty, broker.KeyChange{To: "revoked", Leaked: true, Since: start.Add(-time.Hour)})
		if err != nil || !k.Leaked || radius == nil || radius.TokensAlive != 2 || radius.OpenSessions != 1 || radius.GrantsSince != 1 || len(radius.Pseudonyms) != 2 || !slices.Equal(radius.Grants, []string{s.SessionID}) {
			t.Fatalf("%+v, %+v, %v; want two tokens, an open session, a grant, two subjects", k, radius, err)
		}
	}
	_, err = h.decide(bruno(), other.SessionID, h.approved(liveness, brunoCPF).by("sbx-liveness"))
	refused(t, err, selo.ReasonKeyRevoked)
	_, _, err = change(admin, broker.KeyChange{To: "active"})
	refused(t, err, selo.ReasonRequestInvalid)

	counted := 0
	for _, r := range h.trail() {
		if r.Outcome == "counted" {
			counted++
		}
	}
	if counted != 2 {
		t.Errorf("%d rows of the count of what hangs on the key, want 2", counted)
	}
	all, err := h.AccessKeys(ctx, viewer, thisTest)
	if err != nil || len(all) != 1 {
		t.Fatalf("%d keys, %v", len(all), err)
	}
	text, err := json.Marshal(all)
	if err != nil || strings.Contains(string(text), string(secrets["sbx-liveness"])) {
		t.Errorf("the list has the secret in it, or %v", err)
	}
}

// TestRevokedMeanwhile: an act that began before a key was revoked, and waits for the provider, grants nothing afterwards and
// gives no token out.
func TestRevokedMeanwhile(t *testing.T) {
	t.Parallel()
	t.Run("while the provider is asked about an attempt", func(t *testing.T) {
		t.Parallel()
		h, c := cafHouse(t)
		h.takeOver()
		s := h.opened(ana(), smartAuth, "new-device")
		c.say("*", record(anaCPF))
		c.before = sync.OnceFunc(func() { h.neighbour().change("sbx-smart", sandboxEnv, store.KeyRevoked) })
		_, err := h.decide(ana(), s.SessionID, h.attestation(anaCPF).by("sbx-smart"))
		refused(t, err, selo.ReasonKeyRevoked)
		h.expectNoGrants()
	})
	t.Run("while the provider makes a token", func(t *testing.T) {
		t.Parallel()
		h, c := cafHouse(t, exchanged(faceAuth))
		h.takeOver()
		c.say(exchangePath, answerOf(h.sessionToken()))
		c.before = sync.OnceFunc(func() { h.neighbour().change("sbx-faceauth", sandboxEnv, store.KeyRevoked) })
		_, err := h.open(ana(), broker.OpenRequest{Product: faceAuth, Purpose: "login"})
		refused(t, err, selo.ReasonKeyUnavailable)
	})
}

// TestPepperMeanwhile: a pepper that comes while the provider makes a token takes nothing from the repeat of the request.
func TestPepperMeanwhile(t *testing.T) {
	t.Parallel()
	h, c := cafHouse(t, exchanged(faceAuth))
	h.takeOver()
	c.say(exchangePath, answerOf(h.sessionToken()))
	c.before = sync.OnceFunc(func() {
		if _, err := keyring.AddPepper(context.Background(), h.store, keeper(t), store.Audit{At: h.clock.Now(), CallerKind: "operator"}); err != nil {
			t.Error(err)
		}
		if err := h.cfg.Keys.Refresh(context.Background()); err != nil { // as any other act does
			t.Error(err)
		}
	})
	req := broker.OpenRequest{Product: faceAuth, Purpose: "login", IdempotencyKey: "k"}
	first, err := h.open(ana(), req)
	if err != nil {
		t.Fatal(err)
	}
	req.RequestID = thisTest
	if again, err := h.OpenSession(t.Context(), ana(), req); err != nil || again.SessionID != first.SessionID {
		t.Errorf("%+v, %v", again, err)
	}
}

// takeOver moves the fixed keys and peppers of a house into its database.
func (h *house) takeOver() {
	h.t.Helper()
	fixed := h.cfg.Keys.All()
	if err := keyring.ImportPepper(h.t.Context(), h.store, keeper(h.t), 1, bytes.Clone(pepper1), store.Audit{At: start, CallerKind: "operator"}); err != nil {
		h.t.Fatal(err)
	}
	h.live()
	for _, k := range fixed {
		h.addActive(k.ClientID, k.Environment, "as it was", k.Products...)
	}
}

// TestReadyKnowsTheKEK: a server whose KEK opens nothing any more refuses everything, and says that it is not ready.
func TestReadyKnowsTheKEK(t *testing.T) {
	t.Parallel()
	h := newLiveHouse(t)
	if err := h.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	old, err := seal.NewKEK(kekMaterial)
	if err != nil {
		t.Fatal(err)
	}
	next, err := seal.NewKEK(plant(randomHex()))
	if err != nil {
		t.Fatal(err)
	}
	both, err := seal.NewKeeper(next, old)
	if err != nil {
		t.Fatal(err)
	}
	other := h.neighbour()
	if other.cfg.Keys, other.cfg.Peppers, err = keyring.Open(t.Context(), other.store, both); err != nil {
		t.Fatal(err)
	}
	if other.Broker, err = broker.New(t.Context(), other.cfg); err != nil {
		t.Fatal(err)
	}
	for _, by := range []*policy.Caller{ana(), backend(), operator(policy.ScopeViewer, policy.ScopeOperator)} {
		_, err := other.Rewrap(t.Context(), by, thisTest)
		refused(t, err, selo.ReasonCallerForbidden)
	}
	for _, want := range []int{1, 0} {
		if n, err := other.Rewrap(t.Context(), operator(policy.ScopeAdmin), thisTest); err != nil || n != want {
			t.Fatalf("%d, %v; want %d", n, err, want)
		}
	}
	h.clock.move(time.Second)
	if err := transcript.Error(h.Ready(t.Context())); err == nil {
		t.Error("ready, although the pepper does not open")
	}
}
