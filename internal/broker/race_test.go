package broker_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/store"
)

// tally counts what many acts at once came to: "granted", or the reasons.
type tally struct {
	mu       sync.Mutex
	outcomes map[string]int
	receipts []string
}

func (c *tally) add(s *broker.Session, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.outcomes == nil {
		c.outcomes = make(map[string]int)
	}
	switch {
	case s != nil && err != nil, s == nil && err == nil:
		c.outcomes["both or neither"]++
	case err != nil:
		c.outcomes[join(selo.ReasonsOf(err))]++
	default:
		c.outcomes[string(s.State)]++
		c.receipts = append(c.receipts, s.Receipt)
	}
}

func (c *tally) check(t *testing.T, want map[string]int) {
	t.Helper()
	if diff := cmp.Diff(want, c.outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func TestOneResponseManyTimesAtOnce(t *testing.T) {
	t.Run("one session", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t)
		s := h.opened(ana(), liveness, "login")
		yes := h.approved(liveness, anaCPF).by("sbx-liveness")
		var c tally
		parallel(func() { c.add(h.Decide(t.Context(), ana(), s.SessionID, broker.Answer{SignedResponse: yes}, thisTest)) })
		c.check(t, map[string]int{"granted": 1, "session_not_open": crowd - 1})
		got, err := h.read(ana(), s.SessionID)
		if err != nil || got.Receipt != c.receipts[0] {
			t.Errorf("reading gives another receipt, or %v", err)
		}
		if n := h.count("consumed_ids"); n != 1 {
			t.Errorf("%d ids used up, want 1", n)
		}
		rows := map[string]int{}
		for _, r := range h.trail() {
			rows[r.Act+" "+r.Outcome]++
		}
		if diff := cmp.Diff(map[string]int{"open opened": 1, "respond granted": 1, "respond refused": crowd - 1, "read granted": 1}, rows); diff != "" {
			t.Errorf("audit (-want +got):\n%s", diff)
		}
	})
	// The same person may have as many sessions as services open for them.
	t.Run("as many sessions", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t)
		var mu sync.Mutex
		var ids []string
		for i := range crowd {
			s, err := h.OpenSession(t.Context(), backend(), broker.OpenRequest{Product: liveness, Purpose: "login", Subject: new(string(rune('a'+i/26)) + string(rune('a'+i%26))), CPF: new(anaCPF.Digits())})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, s.SessionID)
		}
		yes := h.approved(liveness, anaCPF).by("sbx-liveness")
		var c tally
		parallel(func() {
			mu.Lock()
			id := ids[0]
			ids = ids[1:]
			mu.Unlock()
			c.add(h.Decide(t.Context(), backend(), id, broker.Answer{SignedResponse: yes}, thisTest))
		})
		c.check(t, map[string]int{"granted": 1, "replayed": crowd - 1})
		if n := h.count("sessions WHERE state = 'granted'"); n != 1 {
			t.Errorf("%d sessions granted, want 1", n)
		}
	})
	t.Run("two programs on one database", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t)
		second, err := store.Open(t.Context(), h.path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = second.Close() }()
		cfg := h.cfg
		cfg.Store = second
		other, err := broker.New(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		s := h.opened(ana(), liveness, "login")
		yes := h.approved(liveness, anaCPF).by("sbx-liveness")
		var c tally
		var mu sync.Mutex
		brokers := slices.Repeat([]*broker.Broker{h.Broker, other}, crowd/2)
		parallel(func() {
			mu.Lock()
			b := brokers[0]
			brokers = brokers[1:]
			mu.Unlock()
			c.add(b.Decide(t.Context(), ana(), s.SessionID, broker.Answer{SignedResponse: yes}, thisTest))
		})
		c.check(t, map[string]int{"granted": 1, "session_not_open": crowd - 1})
	})
	t.Run("yes and no at once", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t)
		s := h.opened(ana(), liveness, "login")
		yes := h.approved(liveness, anaCPF)
		no := yes.with("isAlive", false)
		var c tally
		var mu sync.Mutex
		responses := slices.Repeat([]string{yes.by("sbx-liveness"), no.by("sbx-liveness")}, crowd/2)
		parallel(func() {
			mu.Lock()
			r := responses[0]
			responses = responses[1:]
			mu.Unlock()
			c.add(h.Decide(t.Context(), ana(), s.SessionID, broker.Answer{SignedResponse: r}, thisTest))
		})
		if c.outcomes["granted"]+c.outcomes["not_approved"] != 1 || c.outcomes["session_not_open"] != crowd-1 {
			t.Errorf("outcomes %v, want one decision", c.outcomes)
		}
	})
	t.Run("attempts", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t)
		s := h.opened(ana(), liveness, "login")
		var c tally
		parallel(func() {
			c.add(h.Decide(t.Context(), ana(), s.SessionID, broker.Answer{SignedResponse: "rubbish"}, thisTest))
		})
		c.check(t, map[string]int{"malformed": 4, "malformed too_many_attempts": 1, "session_not_open": crowd - 5})
	})
}

// A session that is superseded or that expires while it is being answered ends once.
func TestDecidingWhileItEnds(t *testing.T) {
	t.Run("superseded", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, func(cfg *broker.Config) { cfg.Limits = perSubject(1000, time.Hour) })
		s := h.opened(ana(), liveness, "login")
		yes := h.approved(liveness, anaCPF).by("sbx-liveness")
		var c tally
		var mu sync.Mutex
		i := 0
		parallel(func() {
			mu.Lock()
			i++
			open := i%2 == 0
			mu.Unlock()
			if open {
				if _, err := h.OpenSession(t.Context(), ana(), broker.OpenRequest{Product: liveness, Purpose: "login"}); err != nil {
					t.Error(err)
				}
				return
			}
			c.add(h.Decide(t.Context(), ana(), s.SessionID, broker.Answer{SignedResponse: yes}, thisTest))
		})
		if g := c.outcomes["granted"]; g > 1 || g+c.outcomes["session_not_open"] != crowd/2 {
			t.Errorf("outcomes %v, want at most one grant", c.outcomes)
		}
		want := store.StateSuperseded
		if c.outcomes["granted"] == 1 {
			want = store.StateGranted
		}
		if got := h.state(ana(), s.SessionID); got != want {
			t.Errorf("state %s, want %s", got, want)
		}
		if n := h.count("sessions WHERE state = 'open'"); n != 1 {
			t.Errorf("%d open sessions of one subject and product, want 1", n)
		}
	})
	t.Run("expired", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t)
		s := h.opened(ana(), liveness, "login")
		yes := h.approved(liveness, anaCPF).by("sbx-liveness")
		h.clock.move(10 * time.Minute)
		var c tally
		parallel(func() {
			_, err := h.Session(t.Context(), ana(), s.SessionID, thisTest)
			if err != nil {
				t.Error(err)
			}
			c.add(h.Decide(t.Context(), ana(), s.SessionID, broker.Answer{SignedResponse: yes}, thisTest))
		})
		c.check(t, map[string]int{"session_not_open expired": crowd})
		expired := 0
		for _, r := range h.trail() {
			if r.Act == "expire" {
				expired++
			}
		}
		if expired != 1 {
			t.Errorf("expired %d times", expired)
		}
	})
}

// A store that fails under a decision leaves no doubt: whoever is told of a grant has it, whoever is not
// can ask.
func TestStoreClosesWhileDeciding(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := h.opened(ana(), liveness, "login")
	yes := h.approved(liveness, anaCPF).by("sbx-liveness")
	var c tally
	var once sync.Once
	parallel(func() {
		granted, err := h.Decide(t.Context(), ana(), s.SessionID, broker.Answer{SignedResponse: yes}, thisTest)
		c.add(granted, err)
		once.Do(func() { _ = h.store.Close() })
		if err != nil && !errors.Is(err, selo.ReasonSessionNotOpen) && !errors.Is(err, selo.ReasonStoreUnavailable) {
			t.Error(err)
		}
	})
	if c.outcomes["granted"] > 1 || c.outcomes["both or neither"] > 0 {
		t.Errorf("outcomes %v", c.outcomes)
	}
	h.start()
	got, err := h.read(ana(), s.SessionID)
	if err != nil {
		t.Fatal(err)
	}
	if c.outcomes["granted"] == 1 && got.Receipt != c.receipts[0] {
		t.Errorf("granted, yet it is %s now", got.State)
	}
	if got.State == store.StateOpen {
		if _, err := h.decide(ana(), s.SessionID, yes); err != nil {
			t.Error(err)
		}
	}
}
