package broker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/keyring"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/store"
)

// rotated has the key of liveness retire in favour of a new one.
func rotated(until time.Time) []keyring.Key {
	old := key("sbx-liveness", selo.EnvironmentSandbox, liveness)
	old.State, old.Until = keyring.Retiring, until
	return []keyring.Key{old, key("sbx-successor", selo.EnvironmentSandbox, liveness), key("sbx-faceauth", selo.EnvironmentSandbox, faceAuth), key("prd-both", selo.EnvironmentProduction, liveness, faceAuth)}
}

func TestRetiringKey(t *testing.T) {
	t.Parallel()
	until := start.Truncate(time.Microsecond).Add(3 * time.Minute)
	h := newHouse(t)
	old := h.opened(ana(), liveness, "login")
	h.restart(withKeys(rotated(until)...))

	// New sessions use the new key, and only that.
	s := h.opened(bruno(), liveness, "login")
	if got := claims(t, s.Tokens["mobile"])["iss"]; got != "sbx-successor" {
		t.Errorf("minted with %v, want sbx-successor", got)
	}
	_, err := h.decide(bruno(), s.SessionID, h.approved(liveness, brunoCPF).by("sbx-liveness"))
	refused(t, err, selo.ReasonSignatureInvalid)
	// The old session is verified with the old key, and not with the new one.
	_, err = h.decide(ana(), old.SessionID, h.approved(liveness, anaCPF).by("sbx-successor"))
	refused(t, err, selo.ReasonSignatureInvalid)
	h.clock.move(3*time.Minute - time.Microsecond)
	if _, err := h.decide(ana(), old.SessionID, h.approved(liveness, anaCPF).by("sbx-liveness")); err != nil {
		t.Errorf("before its date: %v", err)
	}

	t.Run("from its date on", func(t *testing.T) {
		h := newHouse(t)
		old := h.opened(ana(), liveness, "login")
		h.restart(withKeys(rotated(until)...))
		h.clock.move(3 * time.Minute)
		_, err := h.decide(ana(), old.SessionID, h.approved(liveness, anaCPF).by("sbx-liveness"))
		refused(t, err, selo.ReasonKeyRevoked)
	})
}

func TestKeyThatIsGone(t *testing.T) {
	state := func(s keyring.State) []keyring.Key {
		keys := rotated(start)
		keys[0].State, keys[0].Until = s, time.Time{}
		return keys
	}
	for name, keys := range map[string][]keyring.Key{
		"revoked":       state(keyring.Revoked),
		"prepared":      state(keyring.Prepared),
		"not there now": rotated(start)[1:],
		"for another product now": {key("sbx-liveness", selo.EnvironmentSandbox, faceAuth), key("sbx-successor", selo.EnvironmentSandbox, liveness),
			key("prd-both", selo.EnvironmentProduction, liveness, faceAuth)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			s := h.opened(ana(), liveness, "login")
			h.restart(withKeys(keys...))
			yes := h.approved(liveness, anaCPF)
			for _, signer := range []string{"sbx-liveness", "sbx-successor"} {
				_, err := h.decide(ana(), s.SessionID, yes.by(signer))
				if r := refused(t, err, selo.ReasonKeyRevoked); r.State != store.StateOpen {
					t.Errorf("state %s, want open", r.State)
				}
			}
			// Taken back in time, it is as if nothing had been.
			h.restart(withKeys(defaultKeys()...))
			if _, err := h.decide(ana(), s.SessionID, yes.by("sbx-liveness")); err != nil {
				t.Error(err)
			}
		})
	}
}

// A session knows its key by name; a secret that changed under the name verifies nothing of before.
func TestSecretChangedUnderAClientID(t *testing.T) {
	h := newHouse(t)
	s := h.opened(ana(), liveness, "login")
	h.restart(func(cfg *broker.Config) {
		changed := key("sbx-successor", selo.EnvironmentSandbox, liveness)
		changed.ClientID = "sbx-liveness"
		cfg.Keys = ring(t, changed, key("sbx-faceauth", selo.EnvironmentSandbox, faceAuth), key("prd-both", selo.EnvironmentProduction, liveness, faceAuth))
	})
	_, err := h.decide(ana(), s.SessionID, h.approved(liveness, anaCPF).by("sbx-liveness"))
	refused(t, err, selo.ReasonSignatureInvalid)
}

func TestPeppers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := h.opened(ana(), liveness, "login")
	h.restart(func(cfg *broker.Config) { cfg.Peppers = peppers(t, pepper1, pepper2) })
	// A session of before is found by its own pepper: whose it is, whose CPF, whom the receipt is for.
	_, err := h.decide(bruno(), s.SessionID, "rubbish")
	refused(t, err, selo.ReasonSessionUnknown)
	_, err = h.decide(ana(), s.SessionID, h.approved(liveness, brunoCPF).by("sbx-liveness"))
	refused(t, err, selo.ReasonSubjectMismatch)
	granted, err := h.decide(ana(), s.SessionID, h.approved(liveness, anaCPF).by("sbx-liveness"))
	if err != nil {
		t.Fatal(err)
	}
	verifyReceipt(t, h, granted, selo.Subject{Issuer: issuer, ID: "ana"})

	t.Run("without the pepper of a session", func(t *testing.T) {
		h := newHouse(t)
		s := h.opened(ana(), liveness, "login")
		second, err := keyring.NewPepper(2, pepper2)
		if err != nil {
			t.Fatal(err)
		}
		only, err := keyring.NewPeppers(second)
		if err != nil {
			t.Fatal(err)
		}
		h.restart(func(cfg *broker.Config) { cfg.Peppers = only })
		for _, c := range []*policy.Caller{ana(), bruno()} {
			_, err := h.decide(c, s.SessionID, h.approved(liveness, anaCPF).by("sbx-liveness"))
			refused(t, err, selo.ReasonStoreUnavailable)
		}
		its, err := h.open(backend(), broker.OpenRequest{Product: liveness, Purpose: "login", Subject: new("x"), CPF: new(anaCPF.Digits())})
		if err != nil {
			t.Fatal(err)
		}
		h.restart(func(cfg *broker.Config) { cfg.Peppers = peppers(t, pepper1) })
		_, err = h.decide(backend(), its.SessionID, h.approved(liveness, anaCPF).by("sbx-liveness"))
		refused(t, err, selo.ReasonStoreUnavailable)
		if h.count("consumed_ids") != 0 {
			t.Error("used up ids")
		}
	})
	t.Run("another pepper under the same version", func(t *testing.T) {
		h := newHouse(t)
		h.cfg.Peppers = peppers(t, pepper2)
		if _, err := broker.New(t.Context(), h.cfg); !errors.Is(err, store.ErrPepperChanged) {
			t.Errorf("%v, want %v", err, store.ErrPepperChanged)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for name, change := range map[string]func(*broker.Config){
		"no issuer":      func(c *broker.Config) { c.Issuer = "" },
		"no apps":        func(c *broker.Config) { c.Apps = nil },
		"no keys":        func(c *broker.Config) { c.Keys = nil },
		"no peppers":     func(c *broker.Config) { c.Peppers = nil },
		"no receipt key": func(c *broker.Config) { c.ReceiptKey = nil },
		"no store":       func(c *broker.Config) { c.Store = nil },
		"an app of no environment": func(c *broker.Config) {
			c.Apps = []broker.App{{Name: "x", Products: []string{liveness}, Purposes: c.Apps[0].Purposes}}
		},
		"an unknown product": func(c *broker.Config) { c.Apps[2].Products = []string{liveness, "caf/palm"} },
		"a purpose out of reach": func(c *broker.Config) {
			c.Apps[2].Purposes = map[string]broker.Purpose{"x": {Assurance: selo.AssuranceMatch}}
		},
		"a purpose without an assurance": func(c *broker.Config) {
			c.Apps[2].Purposes = map[string]broker.Purpose{"x": {Assurance: selo.AssuranceUnset}}
		},
		"no time to respond":            func(c *broker.Config) { c.RespondWithin = time.Second },
		"more than an hour to respond":  func(c *broker.Config) { c.RespondWithin = 2 * time.Hour },
		"tokens outlive the session":    func(c *broker.Config) { c.TokenLifetime = 11 * time.Minute },
		"tokens outlive their ceiling":  func(c *broker.Config) { c.RespondWithin, c.TokenLifetime = time.Hour, 31*time.Minute },
		"half a second":                 func(c *broker.Config) { c.TokenLifetime = time.Second / 2 },
		"negative lifetime":             func(c *broker.Config) { c.TokenLifetime = -1 },
		"endless attempts":              func(c *broker.Config) { c.MaxAttempts = 101 },
		"negative attempts":             func(c *broker.Config) { c.MaxAttempts = -1 },
		"a limit of nothing in an hour": func(c *broker.Config) { c.Limits = perSubject(0, time.Hour) },
		"a limit of nobody":             func(c *broker.Config) { c.Limits = []store.Limit{{By: store.LimitCPF, Sessions: 1, Window: time.Hour}} },
		"a limit of a product for all": func(c *broker.Config) {
			c.Limits = append(perSubject(1, time.Hour), store.Limit{By: store.LimitProduct, Sessions: 1, Window: time.Hour})
		},
		"no open session":            func(c *broker.Config) { c.Limits = append(perSubject(1, time.Hour), store.Limit{By: store.LimitOpen}) },
		"a daily ceiling of none":    func(c *broker.Config) { c.Daily = map[string]int{liveness: 0} },
		"a daily ceiling of nothing": func(c *broker.Config) { c.Daily = map[string]int{"caf/palm": 1} },
		"a limit of another product": func(c *broker.Config) {
			c.Apps[2].Limits = map[string][]store.Limit{"caf/palm": perSubject(1, time.Hour)}
		},
		"sign-up without exchange": func(c *broker.Config) {
			c.Apps[2].Purposes = map[string]broker.Purpose{"x": {Assurance: selo.AssurancePresence, SignUp: true}}
		},
		"sign-up that proves a match":     func(c *broker.Config) { c.Apps[2].Purposes = map[string]broker.Purpose{"x": {SignUp: true}} },
		"a limit of something in no time": func(c *broker.Config) { c.Limits = perSubject(1, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := h.cfg
			cfg.Apps = append([]broker.App(nil), h.cfg.Apps...)
			change(&cfg)
			if b, err := broker.New(t.Context(), cfg); err == nil || b != nil {
				t.Errorf("%v, %v; want an error", b, err)
			}
		})
	}
}

// The longest token that a configuration can have does not outlive its product's ceiling.
func TestTokenCeiling(t *testing.T) {
	h := newHouse(t, func(c *broker.Config) { c.RespondWithin, c.TokenLifetime = time.Hour, 30*time.Minute })
	s := h.opened(ana(), liveness, "login")
	if got, want := claims(t, s.Tokens["mobile"])["exp"], float64(start.Add(30*time.Minute).Unix()); got != want {
		t.Errorf("exp %v, want %v", got, want)
	}
}
