package store

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo/internal/transcript"
)

// Each passes at its own time, to the microsecond, and nothing else does, however late it is.
func sweepAtItsTimes(s tested) {
	s.open(opening("ses-token", "ana", repeatable("k"), withToken))
	s.open(opening("ses-plain", "bruno"))
	s.decide(deciding("ses-plain", StateGranted, "id-1"))
	s.record(happening("evt-1", VerdictApproved, "id-1"), true, false, "ses-plain")
	s.reserve(opening("ses-window", "carla", limited(9, time.Hour)))
	s.reserve(opening("ses-minute", "bruno", limited(9, time.Second))) // for which a repeat would still wait
	s.reserve(opening("ses-dead", "carla", repeatable("dead"), limited(9, 2*time.Hour)))
	// A session whose token passes may be found expired by that.
	permanent := func() string {
		const others = ` WHERE session_id NOT IN ('ses-token', 'ses-y')`
		return s.everythingBut("reservations", "idempotency", "session_tokens", "sessions", "audit", "sqlite_sequence") + strings.Join(slices.Concat(
			s.rows(`SELECT session_id || state || coalesce(ended_at, '') FROM (SELECT *, id AS session_id FROM sessions)`+others),
			s.rows(`SELECT session_id || act || outcome FROM audit`+others), s.rows(`SELECT id || opened_at FROM sessions`)), "\n")
	}
	kept := permanent()
	left := []string{"key ses-dead", "key ses-token", "reservation ses-dead", "reservation ses-minute", "reservation ses-window", "token ses-token"}
	s.sweep(noon.Add(-24 * time.Hour))
	for _, step := range []struct {
		at   time.Duration
		gone []string
	}{
		{time.Minute, []string{"reservation ses-minute"}},
		{10 * time.Minute, []string{"token ses-token"}},
		{time.Hour, []string{"reservation ses-window"}},
		{2 * time.Hour, []string{"reservation ses-dead"}},
		{24 * time.Hour, []string{"key ses-dead", "key ses-token"}},
		{10000 * time.Hour, nil},
	} {
		s.sweep(noon.Add(step.at - time.Microsecond))
		s.expectPassing(left...)
		s.sweep(noon.Add(step.at))
		left = slices.DeleteFunc(left, func(x string) bool { return slices.Contains(step.gone, x) })
		s.expectPassing(left...)
	}
	unchanged := func() {
		s.t.Helper()
		if diff := cmp.Diff(kept, permanent()); diff != "" {
			s.t.Errorf("swept away (-before +after):\n%s", diff)
		}
	}
	unchanged()
	// All at once, which is what one gets who forgets to sweep.
	s.reserve(opening("ses-x", "carla", repeatable("x")))
	s.open(opening("ses-y", "carla", repeatable("y"), withToken))
	kept = permanent()
	s.sweep(noon.Add(10000 * time.Hour))
	s.expectPassing()
	unchanged()
}

// A key whose reservation was swept is of a request that came to nothing: the next one need not wait. What was
// swept opens no more, and its place is free when it would have been.
func sweptReservation(s tested) {
	died := opening("ses-died", "ana", repeatable("k"), limited(1, time.Minute))
	s.reserve(died)
	s.sweep(noon.Add(time.Minute))
	s.expectPassing("key ses-died")
	late := func() error { return s.OpenReserved(s.t.Context(), finishedAt(died, noon.Add(time.Minute))) }
	s.expectNothing(ErrNotReserved, late)
	s.expectConflict(opening("ses-x", "ana", repeatableUnder("k", "another", 1), openedAt(noon.Add(time.Minute))), ErrRepeatConflict)
	s.open(opening("ses-1", "ana", repeatable("k"), openedAt(noon.Add(time.Minute)), limited(1, time.Minute)))
	s.expectPassing("key ses-1")
	s.expectNothing(ErrNotReserved, late)
}

// With nothing to forget it waits for nobody who writes.
func sweepNothing(s tested) {
	s.open(opening("ses-1", "ana", repeatable("k"), withToken))
	before := dump(s.t, s.write)
	busy, err := s.write.Conn(s.t.Context()) // the only one
	if err != nil {
		s.t.Fatal(err)
	}
	s.sweep(noon)
	if err := busy.Close(); err != nil {
		s.t.Error(err)
	}
	if diff := cmp.Diff(before, dump(s.t, s.write)); diff != "" {
		s.t.Errorf("swept away (-before +after):\n%s", diff)
	}
}

// Once its token was swept, a session is not given out as open by an earlier clock: the token could not be given
// again, and another must not be made in its place. Bug: it was open, and its repeat got a token of our own.
func sweptTokenEndsItsSession(s tested) {
	s.open(opening("ses-1", "ana", repeatable("k"), withToken))
	s.sweep(noon.Add(10 * time.Minute))
	var again *RepeatedError
	err := s.tryOpen(opening("ses-x", "ana", repeatable("k"), openedAt(noon.Add(9*time.Minute))))
	if !errors.As(transcript.Error(err), &again) {
		s.t.Fatalf("error %v, want a repeated error", err)
	}
	if again.Session.State == StateOpen && again.TokenSealed == nil {
		s.t.Error("the session is open and its token is gone")
	}
	s.expectTrail("ses-1", "open opened", "expire expired", "open repeated")
	if got := s.rows(`SELECT caller_kind || ' ' || client_ids FROM audit WHERE act = 'expire'`); !slices.Equal(got, []string{"selo mobile=client-1"}) {
		s.t.Errorf("expiry by %q, want selo itself", got)
	}
	// Not one whose token went when it ended.
	s.open(opening("ses-2", "bruno", repeatable("k2"), withToken))
	s.decide(deciding("ses-2", StateGranted, "id-1"))
	s.sweep(noon.Add(10 * time.Minute))
	s.expectTrail("ses-2", "open opened", "respond granted")
}
