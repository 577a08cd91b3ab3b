package store

import (
	"errors"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo/internal/transcript"
)

// The same request gets the session that it got, another one under its key gets nothing, and neither counts.
func repeatsAnswered(s tested) {
	s.open(opening("ses-1", "ana", repeatable("k"), limited(1, time.Hour)))
	for _, after := range []time.Duration{0, time.Second, 9 * time.Minute} {
		again := opening("ses-x", "ana", repeatable("k"), openedAt(noon.Add(after)), limited(1, time.Hour))
		s.expectRepeated(again, "ses-1", StateOpen, nil) // at its limit, too
		s.expectConflict(opening("ses-y", "ana", repeatableUnder("k", "another", 1), openedAt(noon.Add(after)), limited(1, time.Hour)), ErrRepeatConflict)
	}
	s.expectStates(map[string]State{"ses-1": StateOpen})
	if got := s.rows(`SELECT DISTINCT client_ids FROM audit WHERE outcome = 'repeated'`); !slices.Equal(got, []string{"mobile=client-1"}) {
		s.t.Errorf("audit rows of repeats name the keys %q, want those of the session", got)
	}
	// It counted once: there is room for another, and with another key it is another.
	s.open(opening("ses-2", "ana", repeatable("k2"), limited(2, time.Hour)))
	s.expectRepeated(opening("ses-x", "ana", repeatable("k2"), limited(0, time.Hour)), "ses-2", StateOpen, nil)
	s.expectRepeated(opening("ses-x", "ana", repeatable("k")), "ses-1", StateSuperseded, nil)
	// A request without a key is always a new one.
	s.open(opening("ses-3", "ana"))
	s.open(opening("ses-4", "ana"))
	if n := s.count("idempotency"); n != 2 {
		s.t.Errorf("%d keys, want 2", n)
	}
}

// A session that has run out when its request is sent again is recorded as expired first.
func repeatExpires(s tested) {
	s.open(opening("ses-1", "ana", repeatable("k"), withToken))
	s.expectRepeated(opening("ses-x", "ana", repeatable("k"), openedAt(noon.Add(10*time.Minute-time.Microsecond))), "ses-1", StateOpen, sealedToken("ses-1"))
	late := opening("ses-x", "ana", repeatable("k"), openedAt(noon.Add(10*time.Minute)))
	var again *RepeatedError
	if err := s.tryOpen(late); !errors.As(transcript.Error(err), &again) {
		s.t.Fatalf("error %v, want a repeated error", err)
	}
	if again.Session.State != StateExpired || !again.Session.EndedAt.Equal(noon.Add(10*time.Minute)) || again.TokenSealed != nil {
		s.t.Errorf("sent again at respond_by: %s, ended %v, token %x", again.Session.State, again.Session.EndedAt, again.TokenSealed)
	}
	s.expectTrail("ses-1", "open opened", "open repeated", "open repeated", "expire expired", "open repeated")
	s.expectRepeated(opening("ses-x", "ana", repeatable("k")), "ses-1", StateExpired, nil) // nor does an earlier clock open it
}

// A request that was refused has no answer to repeat: its key is free.
func refusedHasNoKey(s tested) {
	s.open(opening("ses-1", "ana"))
	s.expectLimit(s.tryOpen(opening("ses-2", "ana", repeatable("k"), limited(1, time.Hour))), time.Hour)
	s.expectLimit(s.tryReserve(opening("ses-2", "ana", repeatable("k"), limited(1, time.Hour))), time.Hour)
	if n := s.count("idempotency"); n != 0 {
		s.t.Errorf("%d keys, want none", n)
	}
	s.open(opening("ses-2", "ana", repeatable("k"), limited(2, time.Hour)))

	released := opening("ses-3", "ana", repeatable("k3"))
	s.reserve(released)
	s.expectConflict(opening("ses-x", "ana", repeatable("k3")), ErrRepeatRunning)
	s.release(released)
	s.expectPassing("key ses-2")
	s.open(opening("ses-4", "ana", repeatableUnder("k3", "another", 1))) // even for another request
	s.expectPassing("key ses-2", "key ses-4")
}

// While a reservation may still open its request waits; after a minute it does not, and then the reservation is
// the one that came too late.
func repeatOfReservation(s tested) {
	first := opening("ses-1", "ana", repeatable("k"))
	s.reserve(first)
	for _, after := range []time.Duration{-time.Hour, 0, time.Minute - time.Microsecond} { // a clock that goes back included
		s.expectConflict(opening("ses-x", "ana", repeatable("k"), openedAt(noon.Add(after))), ErrRepeatRunning)
		s.expectConflict(opening("ses-x", "ana", repeatableUnder("k", "another", 1), openedAt(noon.Add(after))), ErrRepeatConflict)
	}
	s.openReserved(finishedAt(first, noon.Add(time.Minute-time.Microsecond)))
	s.expectRepeated(opening("ses-x", "ana", repeatable("k"), openedAt(noon.Add(time.Minute))), "ses-1", StateOpen, sealedToken("ses-1"))

	// Of a process that died. Its place is given back, even at the limit.
	died := opening("ses-died", "bruno", repeatable("k2"), limited(1, time.Hour))
	s.reserve(died)
	second := opening("ses-2", "bruno", repeatable("k2"), openedAt(noon.Add(time.Minute)), limited(1, time.Hour))
	s.reserve(second)
	s.expectPassing("key ses-1", "key ses-2", "reservation ses-2", "token ses-1")
	s.expectNothing(ErrNotReserved, func() error { return s.OpenReserved(s.t.Context(), finishedAt(died, noon.Add(2*time.Minute))) })
	s.expectConflict(opening("ses-x", "bruno", repeatable("k2"), openedAt(noon.Add(2*time.Minute-time.Microsecond))), ErrRepeatRunning)
	s.openReserved(finishedAt(second, noon.Add(2*time.Minute)))
	s.expectStates(map[string]State{"ses-1": StateOpen, "ses-2": StateOpen})
	s.expectTrail("ses-died", "open minting")

	// One that was merely slow still opens after its minute, when nobody took its place; also by an act of the other kind.
	slow := opening("ses-slow", "carla", repeatable("k3"))
	s.reserve(slow)
	s.openReserved(finishedAt(slow, noon.Add(2*time.Minute)))
	dead := opening("ses-dead", "carla", repeatable("k4"))
	s.reserve(dead)
	s.open(opening("ses-3", "carla", repeatable("k4"), openedAt(noon.Add(time.Minute))))
	// The late release of what was taken over touches nothing of its successor's.
	before := s.passing()
	s.release(dead)
	s.release(died)
	if diff := cmp.Diff(before, s.passing()); diff != "" {
		s.t.Errorf("a late release (-before +after):\n%s", diff)
	}
	s.expectTrail("ses-dead", "open minting", "open refused provider_unavailable")
	// What has become a session is not given up, nor is its key; and nobody opens on somebody else's place.
	s.expectNothing(ErrNotReserved, func() error { return s.Release(s.t.Context(), "ses-slow", releasing(slow)) })
	mine := opening("ses-mine", "ana", forProduct(faceAuthentication))
	s.reserve(mine)
	theirs, elsewhere := opening("ses-mine", "bruno"), opening("ses-mine", "ana", inApp("app-9"))
	s.expectNothing(ErrNotReserved, func() error { return s.OpenReserved(s.t.Context(), theirs) })
	s.expectNothing(ErrNotReserved, func() error { return s.OpenReserved(s.t.Context(), elsewhere) })
	s.openReserved(mine)
	s.expectRepeated(opening("ses-x", "carla", repeatable("k4"), openedAt(noon.Add(2*time.Minute))), "ses-3", StateOpen, nil)
}

// A key is forgotten at its time and not before; then it is free for anything.
func keyForgotten(s tested) {
	const day = 24 * time.Hour
	s.open(opening("ses-1", "ana", repeatable("k")))
	s.session("ses-1", noon.Add(time.Hour))
	s.expectRepeated(opening("ses-x", "ana", repeatable("k"), openedAt(noon.Add(day-time.Microsecond))), "ses-1", StateExpired, nil)
	s.open(opening("ses-2", "ana", repeatableUnder("k", "another", 1), openedAt(noon.Add(day))))
	s.expectPassing("key ses-2")
	s.session("ses-2", noon.Add(day+time.Hour))
	s.expectRepeated(opening("ses-x", "ana", repeatableUnder("k", "another", 1), openedAt(noon.Add(2*day-time.Microsecond))), "ses-2", StateExpired, nil)
	// The same request too, and one that is then refused leaves the key forgotten.
	s.expectLimit(s.tryOpen(opening("ses-x", "ana", repeatableUnder("k", "another", 1), openedAt(noon.Add(2*day)), limited(0, day))), day)
	s.expectPassing()
}

// While two peppers are live a request has a hash under each, and is found by either.
func repeatAcrossPeppers(s tested) {
	s.open(opening("ses-1", "ana", repeatableUnder("k", "the request", 1)))
	both := func(key, request string) func(*OpenAct) { return repeatableUnder(key, request, 2, 1) }
	s.expectRepeated(opening("ses-x", "ana", both("k", "the request")), "ses-1", StateOpen, nil)
	s.expectConflict(opening("ses-x", "ana", both("k", "another")), ErrRepeatConflict)
	s.open(opening("ses-2", "ana", both("k2", "the request")))
	s.expectRepeated(opening("ses-x", "ana", both("k2", "the request")), "ses-2", StateOpen, nil)
	if n := s.count("idempotency"); n != 2 {
		s.t.Errorf("%d keys, want one for each session, under the current pepper", n)
	}
	s.expectRepeated(opening("ses-x", "ana", repeatableUnder("k2", "the request", 2)), "ses-2", StateOpen, nil)
	// A dead reservation under the older pepper is taken over under the current one.
	s.reserve(opening("ses-died", "bruno", repeatableUnder("k3", "the request", 1)))
	s.expectConflict(opening("ses-x", "bruno", both("k3", "the request")), ErrRepeatRunning)
	s.open(opening("ses-3", "bruno", both("k3", "the request"), openedAt(noon.Add(time.Minute))))
	s.expectRepeated(opening("ses-x", "bruno", both("k3", "the request")), "ses-3", StateOpen, nil)
	s.expectPassing("key ses-1", "key ses-2", "key ses-3")
	// One that is forgotten under the current pepper does not hide one under the older.
	s.open(opening("ses-4", "carla", repeatableUnder("k4", "the request", 2), openedAt(noon.Add(-24*time.Hour))))
	s.open(opening("ses-5", "carla", repeatableUnder("k4", "the request", 1)))
	err := s.tryOpen(opening("ses-x", "carla", both("k4", "the request")))
	var again *RepeatedError
	if !errors.As(transcript.Error(err), &again) || again.Session.ID != "ses-5" {
		s.t.Errorf("error %v, want a repeat of ses-5", err)
	}
}
