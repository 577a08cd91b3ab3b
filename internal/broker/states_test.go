package broker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/store"
)

// ended makes a session of ana's in each terminal state.
var ended = map[store.State]func(h *house) string{
	store.StateGranted: func(h *house) string {
		s := h.opened(ana(), liveness, "login")
		if _, err := h.decide(ana(), s.SessionID, h.approved(liveness, anaCPF).by("sbx-liveness")); err != nil {
			h.t.Fatal(err)
		}
		return s.SessionID
	},
	store.StateDenied: func(h *house) string {
		s := h.opened(ana(), liveness, "login")
		_, err := h.decide(ana(), s.SessionID, h.approved(liveness, anaCPF).with("isAlive", false).by("sbx-liveness"))
		refused(h.t, err, selo.ReasonNotApproved)
		return s.SessionID
	},
	store.StateExpired: func(h *house) string {
		s := h.opened(ana(), liveness, "login")
		h.clock.move(10 * time.Minute)
		if got := h.state(ana(), s.SessionID); got != store.StateExpired {
			h.t.Fatalf("state %s, want expired", got)
		}
		return s.SessionID
	},
	store.StateSuperseded: func(h *house) string {
		s := h.opened(ana(), liveness, "login")
		h.opened(ana(), liveness, "login")
		return s.SessionID
	},
}

// Whatever comes, a session that has ended stays as it is.
func TestTerminalStatesNeverChange(t *testing.T) {
	for state, end := range ended {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, func(cfg *broker.Config) { cfg.MaxAttempts = 2 })
			id := end(h)
			before, err := h.read(ana(), id)
			if err != nil || before.State != state {
				t.Fatalf("%+v, %v", before, err)
			}
			used := h.count("consumed_ids")
			want := reasons(selo.ReasonSessionNotOpen)
			if state == store.StateExpired {
				want = append(want, selo.ReasonExpired)
			}
			unchanged := func(after string) {
				t.Helper()
				now, err := h.read(ana(), id)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(before, now); diff != "" {
					t.Errorf("after %s (-before +now):\n%s", after, diff)
				}
				if got := h.count("consumed_ids"); got != used {
					t.Errorf("after %s: %d ids used up, want %d", after, got, used)
				}
			}
			for range 2 { // more often than there are attempts
				for name, response := range map[string]string{
					"a yes":   h.approved(liveness, anaCPF).by("sbx-liveness"),
					"a no":    h.approved(liveness, anaCPF).with("isAlive", false).by("sbx-liveness"),
					"rubbish": "rubbish",
				} {
					_, err := h.decide(ana(), id, response)
					if r := refused(t, err, want...); r.State != state || r.AttemptsLeft != 0 {
						t.Errorf("%s: state %s with %d attempts left", name, r.State, r.AttemptsLeft)
					}
					unchanged(name)
				}
			}
			h.opened(ana(), liveness, "login")
			unchanged("a later session")
			h.restart()
			unchanged("a restart")
			h.clock.move(time.Hour)
			unchanged("an hour")
			h.clock.move(-2 * time.Hour)
			unchanged("the clock going back")
			_, err = h.decide(ana(), id, h.approved(liveness, anaCPF).by("sbx-liveness"))
			refused(t, err, want...)

			// The database itself refuses, whatever the program does.
			for _, statement := range []string{`UPDATE sessions SET state = 'open', ended_at = NULL, receipt_id = '' WHERE id = ?`, `UPDATE sessions SET attempts = 0 WHERE id = ?`} {
				if _, err := h.sql().ExecContext(t.Context(), statement, id); err == nil || !strings.Contains(err.Error(), "has ended") {
					t.Errorf("%s: %v, want a refusal", statement, err)
				}
			}
		})
	}
}

func TestMaxAttempts(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := h.opened(ana(), liveness, "login")
	bad := h.approved(liveness, brunoCPF).by("sbx-liveness")
	for left := 4; left > 0; left-- {
		_, err := h.decide(ana(), s.SessionID, bad)
		if r := refused(t, err, selo.ReasonSubjectMismatch); r.State != store.StateOpen || r.AttemptsLeft != left {
			t.Errorf("state %s with %d attempts left, want open with %d", r.State, r.AttemptsLeft, left)
		}
		if got, err := h.read(ana(), s.SessionID); err != nil || got.AttemptsLeft != left {
			t.Errorf("read: %+v, %v; want %d attempts left", got, err, left)
		}
		h.restart() // does not give attempts back
	}
	_, err := h.decide(ana(), s.SessionID, bad)
	if r := refused(t, err, selo.ReasonSubjectMismatch, selo.ReasonTooManyAttempts); r.State != store.StateDenied {
		t.Errorf("state %s, want denied", r.State)
	}
	got, err := h.read(ana(), s.SessionID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(reasons(selo.ReasonSubjectMismatch, selo.ReasonTooManyAttempts), got.Reasons); diff != "" || got.State != store.StateDenied {
		t.Errorf("state %s, reasons (-want +got):\n%s", got.State, diff)
	}
	_, err = h.decide(ana(), s.SessionID, h.approved(liveness, anaCPF).by("sbx-liveness"))
	refused(t, err, selo.ReasonSessionNotOpen)
	if n := h.count("consumed_ids"); n != 0 {
		t.Errorf("%d ids used up by attempts that were refused", n)
	}

	t.Run("the last attempt may still be a yes", func(t *testing.T) {
		h := newHouse(t, func(cfg *broker.Config) { cfg.MaxAttempts = 2 })
		s := h.opened(ana(), liveness, "login")
		_, err := h.decide(ana(), s.SessionID, "rubbish")
		refused(t, err, selo.ReasonMalformed)
		if _, err := h.decide(ana(), s.SessionID, h.approved(liveness, anaCPF).by("sbx-liveness")); err != nil {
			t.Error(err)
		}
	})
	t.Run("one attempt", func(t *testing.T) {
		h := newHouse(t, func(cfg *broker.Config) { cfg.MaxAttempts = 1 })
		s := h.opened(ana(), liveness, "login")
		_, err := h.decide(ana(), s.SessionID, "rubbish")
		if r := refused(t, err, selo.ReasonMalformed, selo.ReasonTooManyAttempts); r.State != store.StateDenied {
			t.Errorf("state %s, want denied", r.State)
		}
	})
	t.Run("a replay counts", func(t *testing.T) {
		h := newHouse(t, func(cfg *broker.Config) { cfg.MaxAttempts = 1 })
		used := h.approved(liveness, anaCPF).by("sbx-liveness")
		s := h.opened(ana(), liveness, "login")
		if _, err := h.decide(ana(), s.SessionID, used); err != nil {
			t.Fatal(err)
		}
		s = h.opened(ana(), liveness, "login")
		_, err := h.decide(ana(), s.SessionID, used)
		if r := refused(t, err, selo.ReasonReplayed, selo.ReasonTooManyAttempts); r.State != store.StateDenied {
			t.Errorf("state %s, want denied", r.State)
		}
	})
	t.Run("somebody else's do not count", func(t *testing.T) {
		h := newHouse(t)
		s := h.opened(ana(), liveness, "login")
		for range 10 {
			_, err := h.decide(bruno(), s.SessionID, "rubbish")
			refused(t, err, selo.ReasonSessionUnknown)
		}
		if got, err := h.read(ana(), s.SessionID); err != nil || got.AttemptsLeft != 5 {
			t.Errorf("read: %+v, %v; want 5 attempts left", got, err)
		}
	})
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := h.opened(ana(), liveness, "login")
	last := s.RespondBy.Sub(start) - time.Microsecond
	h.clock.move(last)
	if got := h.state(ana(), s.SessionID); got != store.StateOpen {
		t.Errorf("a microsecond before respond_by: %s, want open", got)
	}
	h.clock.move(time.Microsecond + time.Nanosecond)
	before := len(h.trail())
	// Made in time, posted too late.
	late := h.approved(liveness, anaCPF).with("iat", start.Unix()).by("sbx-liveness")
	_, err := h.decide(ana(), s.SessionID, late)
	if r := refused(t, err, selo.ReasonSessionNotOpen, selo.ReasonExpired); r.State != store.StateExpired {
		t.Errorf("state %s, want expired", r.State)
	}
	rows := h.trail()[before:]
	if len(rows) != 2 || rows[0].Act != "expire" || rows[0].Outcome != "expired" || rows[0].Session != s.SessionID {
		t.Errorf("audit %+v, want expire and respond", rows)
	}
	if n := h.count("consumed_ids"); n != 0 {
		t.Errorf("%d ids used up", n)
	}
	// The response is as good as ever for nothing: it is older than any later session.
	next := h.opened(ana(), liveness, "login")
	_, err = h.decide(ana(), next.SessionID, late)
	refused(t, err, selo.ReasonStale)

	t.Run("just in time", func(t *testing.T) {
		h := newHouse(t)
		s := h.opened(ana(), liveness, "login")
		h.clock.move(last)
		if _, err := h.decide(ana(), s.SessionID, h.approved(liveness, anaCPF).by("sbx-liveness")); err != nil {
			t.Error(err)
		}
	})
}
