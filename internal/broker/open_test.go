package broker_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/keyring"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/store"
)

// claims decodes the payload of a token without checking anything.
func claims(t *testing.T, token string) map[string]any {
	t.Helper()
	segments := strings.Split(token, ".")
	if len(segments) != 3 {
		t.Fatalf("a token of %d segments", len(segments))
	}
	text, err := base64.RawURLEncoding.DecodeString(segments[1])
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOpenSession(t *testing.T) {
	for _, tc := range []struct {
		name, product, purpose string
		caller                 *policy.Caller
		cpf                    selo.CPF
		key                    string // the one with the fewest products
	}{
		{"liveness", liveness, "login", ana(), anaCPF, "sbx-liveness"},
		{"face authentication", faceAuth, "new-device", ana(), anaCPF, "sbx-faceauth"},
		{"more assurance than needed", faceAuth, "login", bruno(), brunoCPF, "sbx-faceauth"},
		{"production", liveness, "login", endUser("shop", "ana", anaCPF), anaCPF, "prd-both"},
		{"service", faceAuth, "new-device", backend(), brunoCPF, "sbx-faceauth"},
		{"mapped service", liveness, "login", mapped(backend()), brunoCPF, "sbx-liveness"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			s := h.opened(tc.caller, tc.product, tc.purpose)
			// Nothing but these, and nothing that a request could have said.
			want := map[string]any{"iss": tc.key, "exp": float64(start.Unix() + 300), "peopleId": tc.cpf.Digits()}
			if diff := cmp.Diff(want, claims(t, s.Tokens["mobile"])); diff != "" {
				t.Errorf("mobile token (-want +got):\n%s", diff)
			}
			if len(s.Tokens) != 1 {
				t.Errorf("%d tokens, want 1", len(s.Tokens))
			}
			if want := start.Truncate(time.Second).Add(5 * time.Minute); !s.ExpiresAt.Equal(want) {
				t.Errorf("tokens expire at %v, want %v", s.ExpiresAt, want)
			}
			if want := start.Truncate(time.Second).Add(10 * time.Minute); !s.RespondBy.Equal(want) {
				t.Errorf("respond by %v, want %v", s.RespondBy, want)
			}
			rows := h.trail()
			wantRow := auditRow{Act: "open", Outcome: "opened", Session: s.SessionID, Kind: string(tc.caller.Kind), Service: tc.caller.Name,
				App: tc.caller.App, Product: tc.product, Purpose: tc.purpose, Keys: "mobile=" + tc.key, Request: thisTest, Named: true, WithCPF: true}
			if diff := cmp.Diff([]auditRow{wantRow}, rows); diff != "" {
				t.Errorf("audit (-want +got):\n%s", diff)
			}
			if got := h.state(tc.caller, s.SessionID); got != store.StateOpen {
				t.Errorf("state %s, want open", got)
			}
		})
	}
}

func TestOpenSessionRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	long := strings.Repeat("s", 256)
	for _, tc := range []struct {
		name   string
		caller *policy.Caller
		req    broker.OpenRequest // Product and Purpose default to liveness and login
		want   selo.Reason
		field  string
		named  bool // the audit row says whom it was about
	}{
		{"end user says a cpf", ana(), broker.OpenRequest{CPF: new(brunoCPF.Digits())}, selo.ReasonRequestInvalid, "cpf", true},
		{"end user says their own cpf", ana(), broker.OpenRequest{CPF: new(anaCPF.Digits())}, selo.ReasonRequestInvalid, "cpf", true},
		{"end user says an empty cpf", ana(), broker.OpenRequest{CPF: new("")}, selo.ReasonRequestInvalid, "cpf", true},
		{"end user says a subject", ana(), broker.OpenRequest{Subject: new("bruno")}, selo.ReasonRequestInvalid, "subject", true},
		{"end user says their own subject", ana(), broker.OpenRequest{Subject: new("ana")}, selo.ReasonRequestInvalid, "subject", true},
		{"end user without a CPF", endUser("bank", "carla", selo.CPF{}), broker.OpenRequest{}, selo.ReasonCPFMissing, "cpf", true},
		{"end user without a CPF says one", endUser("bank", "carla", selo.CPF{}), broker.OpenRequest{CPF: new(anaCPF.Digits())}, selo.ReasonRequestInvalid, "cpf", true},
		{"service without the scope", service("reader", policy.ScopeSessionsRead), broker.OpenRequest{Subject: new("x"), CPF: new(anaCPF.Digits())}, selo.ReasonCallerForbidden, "", false},
		{"service without any scope", service("nothing"), broker.OpenRequest{Subject: new("x"), CPF: new(anaCPF.Digits())}, selo.ReasonCallerForbidden, "", false},
		{"service names nobody", backend(), broker.OpenRequest{CPF: new(anaCPF.Digits())}, selo.ReasonRequestInvalid, "subject", false},
		{"service names an empty subject", backend(), broker.OpenRequest{Subject: new(""), CPF: new(anaCPF.Digits())}, selo.ReasonRequestInvalid, "subject", false},
		{"service names a long subject", backend(), broker.OpenRequest{Subject: &long, CPF: new(anaCPF.Digits())}, selo.ReasonRequestInvalid, "subject", false},
		{"service names a control character", backend(), broker.OpenRequest{Subject: new("a\x00b"), CPF: new(anaCPF.Digits())}, selo.ReasonRequestInvalid, "subject", false},
		{"service says no CPF", backend(), broker.OpenRequest{Subject: new("x")}, selo.ReasonCPFMissing, "cpf", true},
		{"service says an empty CPF", backend(), broker.OpenRequest{Subject: new("x"), CPF: new("")}, selo.ReasonCPFInvalid, "cpf", true},
		{"service says a wrong CPF", backend(), broker.OpenRequest{Subject: new("x"), CPF: new("39053344704")}, selo.ReasonCPFInvalid, "cpf", true},
		{"app not configured", endUser("ghost", "ana", anaCPF), broker.OpenRequest{}, selo.ReasonCallerForbidden, "", true},
		{"no such product", ana(), broker.OpenRequest{Product: "caf/palm"}, selo.ReasonProductUnknown, "product", true},
		{"product in another case", ana(), broker.OpenRequest{Product: "Caf/face-liveness"}, selo.ReasonProductUnknown, "product", true},
		{"product that the app does not offer", endUser("kiosk", "ana", anaCPF), broker.OpenRequest{Product: faceAuth}, selo.ReasonProductUnknown, "product", true},
		{"no such purpose", ana(), broker.OpenRequest{Purpose: "lottery"}, selo.ReasonPurposeUnknown, "purpose", true},
		{"another app's purpose", endUser("kiosk", "ana", anaCPF), broker.OpenRequest{Purpose: "new-device"}, selo.ReasonPurposeUnknown, "purpose", true},
		{"product cannot prove enough", ana(), broker.OpenRequest{Purpose: "new-device"}, selo.ReasonAssuranceTooLow, "product", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h.t = t
			if tc.req.Product == "" {
				tc.req.Product = liveness
			}
			if tc.req.Purpose == "" {
				tc.req.Purpose = "login"
			}
			before := len(h.trail())
			_, err := h.open(tc.caller, tc.req)
			r := refused(t, err, tc.want)
			if r.Err.Field != tc.field || r.Session != "" || r.State != "" {
				t.Errorf("field %q session %q state %q, want field %q and no session", r.Err.Field, r.Session, r.State, tc.field)
			}
			rows := h.trail()[before:]
			if len(rows) != 1 || rows[0].Named != tc.named {
				t.Errorf("%d audit rows, want 1 with a subject: %v", len(rows), tc.named)
			}
			// The trail repeats names that we gave, never what a caller typed.
			for _, typed := range []string{"palm", "Caf/", "lottery"} {
				if row := rows[0]; strings.Contains(row.Product+row.Purpose, typed) {
					t.Errorf("audit row repeats %q", typed)
				}
			}
		})
	}
	h.t = t
	if n := h.count("sessions"); n != 0 {
		t.Errorf("%d sessions after refusals only", n)
	}
}

func TestOpenSessionWithoutKey(t *testing.T) {
	t.Parallel()
	prepared, revoked, retiring := key("sbx-liveness", selo.EnvironmentSandbox, liveness), key("sbx-both", selo.EnvironmentSandbox, liveness, faceAuth), key("sbx-successor", selo.EnvironmentSandbox, liveness)
	prepared.State, revoked.State, retiring.State, retiring.Until = keyring.Prepared, keyring.Revoked, keyring.Retiring, start.Add(time.Hour)
	for name, r := range map[string]*keyring.Ring{
		"none":                ring(t),
		"none active":         ring(t, prepared, revoked, retiring),
		"production only":     ring(t, key("prd-both", selo.EnvironmentProduction, liveness, faceAuth)),
		"for another product": ring(t, key("sbx-faceauth", selo.EnvironmentSandbox, faceAuth)),
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.UseKeys(r)
			_, err := h.open(ana(), broker.OpenRequest{Product: liveness, Purpose: "login"})
			refused(t, err, selo.ReasonKeyUnavailable)
			if h.count("sessions") != 0 {
				t.Error("a session without a token")
			}
		})
	}
}

func TestOpeningSupersedes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.opened(ana(), liveness, "login")
	others := map[string]*policy.Caller{
		h.opened(ana(), faceAuth, "login").SessionID:                                       ana(),     // another product
		h.opened(bruno(), liveness, "login").SessionID:                                     bruno(),   // another subject
		h.opened(backend(), liveness, "login").SessionID:                                   backend(), // another namespace
		h.opened(service("second", policy.ScopeSessionsOpen), liveness, "login").SessionID: service("second", policy.ScopeSessionsOpen),
	}
	before := len(h.trail())
	second := h.opened(ana(), liveness, "login")
	if got := h.state(ana(), first.SessionID); got != store.StateSuperseded {
		t.Errorf("earlier session is %s, want superseded", got)
	}
	for id, c := range others {
		if got := h.state(c, id); got != store.StateOpen {
			t.Errorf("session of another product or subject is %s, want open", got)
		}
	}
	rows := h.trail()[before:]
	if rows[0].Act != "supersede" || rows[0].Session != first.SessionID || rows[1].Act != "open" {
		t.Errorf("audit rows %+v, want supersede and open", rows[:2])
	}
	// The later one is the one that can be granted, and the earlier one says why it cannot.
	_, err := h.decide(ana(), first.SessionID, h.approved(liveness, anaCPF).by("sbx-liveness"))
	if r := refused(t, err, selo.ReasonSessionNotOpen); r.State != store.StateSuperseded {
		t.Errorf("state %s, want superseded", r.State)
	}
	if _, err := h.decide(ana(), second.SessionID, h.approved(liveness, anaCPF).by("sbx-liveness")); err != nil {
		t.Error(err)
	}

	t.Run("not a session that has ended", func(t *testing.T) {
		h.opened(ana(), liveness, "login")
		if got := h.state(ana(), second.SessionID); got != store.StateGranted {
			t.Errorf("granted session is %s", got)
		}
	})
	t.Run("one out of time expires instead", func(t *testing.T) {
		h := newHouse(t)
		late := h.opened(ana(), liveness, "login")
		h.clock.move(10 * time.Minute)
		h.opened(ana(), liveness, "login")
		if got := h.state(ana(), late.SessionID); got != store.StateExpired {
			t.Errorf("state %s, want expired", got)
		}
	})
	t.Run("across pepper versions", func(t *testing.T) {
		h := newHouse(t)
		old := h.opened(ana(), liveness, "login")
		h.restart(func(cfg *broker.Config) { cfg.Peppers = peppers(t, pepper1, pepper2) })
		h.opened(ana(), liveness, "login")
		if got := h.state(ana(), old.SessionID); got != store.StateSuperseded {
			t.Errorf("session under the old pepper is %s, want superseded", got)
		}
	})
	t.Run("by a mapped service", func(t *testing.T) {
		h := newHouse(t)
		hers := h.opened(ana(), liveness, "login")
		if _, err := h.open(mapped(backend()), broker.OpenRequest{Product: liveness, Purpose: "login", Subject: new("ana"), CPF: new(anaCPF.Digits())}); err != nil {
			t.Fatal(err)
		}
		if got := h.state(ana(), hers.SessionID); got != store.StateSuperseded {
			t.Errorf("state %s, want superseded: it is the same subject", got)
		}
	})
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	limit := func(cfg *broker.Config) { cfg.Limits = perSubject(3, time.Minute) }
	request := broker.OpenRequest{Product: liveness, Purpose: "login"}
	t.Run("per subject, sliding", func(t *testing.T) {
		h := newHouse(t, limit)
		for range 3 {
			h.opened(ana(), liveness, "login")
			h.clock.move(10 * time.Second)
		}
		_, err := h.open(ana(), request)
		if r := refused(t, err, selo.ReasonRateLimited); r.RetryAfter != 30*time.Second {
			t.Errorf("retry after %v, want 30s", r.RetryAfter)
		}
		// Another product does not help, another subject is not concerned.
		_, err = h.open(ana(), broker.OpenRequest{Product: faceAuth, Purpose: "login"})
		refused(t, err, selo.ReasonRateLimited)
		h.opened(bruno(), liveness, "login")
		if got := h.count("sessions"); got != 4 {
			t.Errorf("%d sessions, want 4: a refused one must not be there", got)
		}
		h.clock.move(30*time.Second - time.Microsecond)
		_, err = h.open(ana(), request)
		refused(t, err, selo.ReasonRateLimited)
		h.clock.move(time.Microsecond)
		h.opened(ana(), liveness, "login")
	})
	t.Run("refused openings do not end the open session", func(t *testing.T) {
		h := newHouse(t, limit)
		var last *broker.Opened
		for range 3 {
			last = h.opened(ana(), liveness, "login")
		}
		_, err := h.open(ana(), request)
		refused(t, err, selo.ReasonRateLimited)
		if got := h.state(ana(), last.SessionID); got != store.StateOpen {
			t.Errorf("state %s, want open", got)
		}
	})
	t.Run("across restarts and peppers", func(t *testing.T) {
		h := newHouse(t, limit)
		for range 3 {
			h.opened(ana(), liveness, "login")
		}
		h.restart(func(cfg *broker.Config) { cfg.Peppers = peppers(t, pepper1, pepper2) })
		_, err := h.open(ana(), request)
		refused(t, err, selo.ReasonRateLimited)
	})
	t.Run("in parallel", func(t *testing.T) {
		h := newHouse(t, limit)
		var mu sync.Mutex
		opened, limited := 0, 0
		parallel(func() {
			_, err := h.OpenSession(t.Context(), ana(), request)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				opened++
			case errors.Is(err, selo.ReasonRateLimited):
				limited++
			default:
				t.Error(err)
			}
		})
		if opened != 3 || limited != crowd-3 {
			t.Errorf("%d opened and %d limited, want 3 and %d", opened, limited, crowd-3)
		}
		rows := map[string]int{}
		for _, r := range h.trail() {
			rows[r.Act+" "+r.Outcome]++
		}
		if diff := cmp.Diff(map[string]int{"open opened": 3, "open refused": crowd - 3, "supersede superseded": 2}, rows); diff != "" {
			t.Errorf("audit (-want +got):\n%s", diff)
		}
	})
}

const crowd = 64

// parallel calls do from as many goroutines at once as makes a crowd.
func parallel(do func()) {
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	ready.Add(crowd)
	for range crowd {
		done.Go(func() {
			ready.Done()
			<-begin
			do()
		})
	}
	ready.Wait()
	close(begin)
	done.Wait()
}
