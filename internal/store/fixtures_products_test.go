package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

// More that must be found in no error and in no database file: the store is given the last one itself, and of
// the others what the broker makes of them.
var (
	plantedKey     = transcript.Secret("idempotency key of the store tests, 0001")
	plantedToken   = transcript.Secret("session token of the store tests, sealed before it is stored")
	plantedEventID = transcript.Secret("event-id-of-the-store-tests-0001")
)

// repeatable makes an opening one that may be sent again for a day, under the idempotency key of that name.
func repeatable(key string) func(*OpenAct) { return repeatableUnder(key, "the request", 1) }

// repeatableUnder is repeatable for another request, or under other peppers: the first one's is recorded.
func repeatableUnder(key, request string, versions ...int) func(*OpenAct) {
	return func(a *OpenAct) {
		a.Repeats = nil
		for _, v := range versions {
			a.Repeats = append(a.Repeats, Repeat{ID: pseudonym(v, "key", plantedKey+key), Request: pseudonym(v, "request", request)})
		}
	}
}

// withToken gives an opening the token that somebody else made, sealed for its session.
func withToken(a *OpenAct) { a.TokenSealed = sealedToken(a.Session.ID) }

func sealedToken(session string) []byte { return pseudonym(1, "token of "+session, plantedToken) }

// finishedAt is the act of OpenReserved for a reservation whose token came later.
func finishedAt(act OpenAct, at time.Time) OpenAct {
	act.Audit.At = at
	withToken(&act)
	return act
}

// releasing is the audit row of a reservation whose token did not come.
func releasing(act OpenAct) Audit {
	row := act.Audit
	row.At, row.Outcome, row.Keys = row.At.Add(5*time.Second), "refused", act.Session.Keys
	row.Reasons = []selo.Reason{selo.ReasonProviderUnavailable}
	return row
}

// happening returns an event about the attempt with these ids, received two minutes after noon.
func happening(id string, v Verdict, ids ...string) Event {
	at := noon.Add(2 * time.Minute)
	return Event{
		Webhook: "caf", ID: id, Type: "attempt.finished", At: at.Add(-time.Second), ReceivedAt: at, Verdict: v, IDs: providerIDs(ids...),
		Audit: Audit{At: at, Act: "webhook", CallerKind: "provider", RequestID: "req " + hashed(id)[:8]},
	}
}

// hashed is how the database names an event.
func hashed(id string) string {
	h := sha256.Sum256([]byte(id))
	return hex.EncodeToString(h[:])
}

func (s tested) reserve(act OpenAct) {
	s.t.Helper()
	if err := s.tryReserve(act); transcript.Error(err) != nil {
		s.t.Fatalf("reserving %s: %v", act.Session.ID, err)
	}
}

func (s tested) openReserved(act OpenAct) {
	s.t.Helper()
	if err := s.OpenReserved(s.t.Context(), act); transcript.Error(err) != nil {
		s.t.Fatalf("opening %s, reserved: %v", act.Session.ID, err)
	}
}

func (s tested) release(act OpenAct) {
	s.t.Helper()
	if err := s.Release(s.t.Context(), act.Session.ID, releasing(act)); transcript.Error(err) != nil {
		s.t.Fatalf("releasing %s: %v", act.Session.ID, err)
	}
}

func (s tested) sweep(now time.Time) {
	s.t.Helper()
	if err := s.Sweep(s.t.Context(), now); transcript.Error(err) != nil {
		s.t.Fatalf("sweeping: %v", err)
	}
}

// record records an event, and fails unless it is new or not, and is about these sessions.
func (s tested) record(e Event, isNew, contradicts bool, sessions ...string) {
	s.t.Helper()
	got, err := s.RecordEvent(s.t.Context(), e)
	if transcript.Error(err) != nil {
		s.t.Fatalf("recording an event: %v", err)
	}
	if diff := cmp.Diff(&Recorded{New: isNew, Sessions: sessions, Contradicts: contradicts}, got); diff != "" {
		s.t.Errorf("recorded (-want +got):\n%s", diff)
	}
}

// expectLimit fails unless err is a LimitError with this wait.
func (s tested) expectLimit(err error, want time.Duration) {
	s.t.Helper()
	var limit *LimitError
	if !errors.As(transcript.Error(err), &limit) || limit.RetryAfter != want {
		s.t.Errorf("error %v (%+v), want a limit error with retry after %v", err, limit, want)
	}
}

// expectNothing fails unless do is an error like want, or any if that is nil, and changes nothing.
func (s tested) expectNothing(want error, do func() error) {
	s.t.Helper()
	before := dump(s.t, s.write)
	if err := transcript.Error(do()); err == nil || want != nil && !errors.Is(err, want) {
		s.t.Errorf("error %v, want %v", err, want)
	}
	if diff := cmp.Diff(before, dump(s.t, s.write)); diff != "" {
		s.t.Errorf("something was written (-before +after):\n%s", diff)
	}
}

// expectRepeated fails unless opening and reserving with act both answer with that session, its state and its
// sealed token, with an audit row each and nothing else.
func (s tested) expectRepeated(act OpenAct, session string, state State, sealed []byte) {
	s.t.Helper()
	for _, open := range []func(OpenAct) error{
		s.tryOpen, s.tryReserve,
	} {
		before, others := s.count("audit"), s.everythingBut("audit", "sqlite_sequence")
		var again *RepeatedError
		if err := open(act); !errors.As(transcript.Error(err), &again) {
			s.t.Errorf("sent again: %v, want a repeated error", err)
			continue
		}
		if again.Session.ID != session || again.Session.State != state || !slices.Equal(again.TokenSealed, sealed) {
			s.t.Errorf("sent again: %s, %s, token %x, want %s, %s, %x", again.Session.ID, again.Session.State, again.TokenSealed, session, state, sealed)
		}
		if diff := cmp.Diff(s.session(session, act.Session.OpenedAt), again.Session); diff != "" {
			s.t.Errorf("sent again: not the session that is stored (-stored +returned):\n%s", diff)
		}
		row := s.lastRow()
		if want := "open repeated , " + session + ", " + act.Audit.RequestID; row != want || s.count("audit") != before+1 {
			s.t.Errorf("sent again: %d audit rows more, the last %q, want one, %q", s.count("audit")-before, row, want)
		}
		if diff := cmp.Diff(others, s.everythingBut("audit", "sqlite_sequence")); diff != "" {
			s.t.Errorf("a repeat changed something (-before +after):\n%s", diff)
		}
	}
}

// expectConflict fails unless opening and reserving with act are both refused with this error, with an audit row
// each that names no session, and nothing else.
func (s tested) expectConflict(act OpenAct, want error) {
	s.t.Helper()
	for _, open := range []func(OpenAct) error{
		s.tryOpen, s.tryReserve,
	} {
		before, others := s.count("audit"), s.everythingBut("audit", "sqlite_sequence")
		if err := open(act); !errors.Is(transcript.Error(err), want) {
			s.t.Errorf("sent again: %v, want %v", err, want)
		}
		row := s.lastRow()
		if want := "open refused idempotency_conflict, , " + act.Audit.RequestID; row != want || s.count("audit") != before+1 {
			s.t.Errorf("sent again: %d audit rows more, the last %q, want one, %q", s.count("audit")-before, row, want)
		}
		if diff := cmp.Diff(others, s.everythingBut("audit", "sqlite_sequence")); diff != "" {
			s.t.Errorf("a refused repeat changed something (-before +after):\n%s", diff)
		}
	}
}

func (s tested) lastRow() string {
	s.t.Helper()
	return s.rows(`SELECT act || ' ' || outcome || ' ' || reasons || ', ' || session_id || ', ' || request_id FROM audit ORDER BY id DESC LIMIT 1`)[0]
}

// passing lists the rows that are kept for a time.
func (s tested) passing() []string {
	s.t.Helper()
	return s.rows(`SELECT 'reservation ' || session_id FROM reservations UNION ALL SELECT 'key ' || session_id FROM idempotency
		UNION ALL SELECT 'token ' || session_id FROM session_tokens ORDER BY 1`)
}

func (s tested) expectPassing(want ...string) {
	s.t.Helper()
	if got := s.passing(); !slices.Equal(got, want) {
		s.t.Errorf("kept for a time: %q, want %q", got, want)
	}
}

func (s tested) everythingBut(tables ...string) string {
	s.t.Helper()
	return dump(s.t, s.write, tables...)
}
