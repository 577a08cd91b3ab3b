package store

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo/internal/transcript"
)

// A reservation becomes the session that it was for, as it was opened, and leaves both rows of its audit trail.
func reservationOpens(s tested) {
	act := opening("ses-1", "ana", repeatable("k"), func(a *OpenAct) {
		a.Session.Keys = map[string]string{"identity": "client-1", "face": "client-2"}
		a.Session.PolicyID = "policy 'of' ours"
	})
	s.reserve(act)
	s.expectStates(map[string]State{})
	_, err := s.Session(s.t.Context(), "ses-1", noon)
	expectNotFound(s.t, err)
	s.expectPassing("key ses-1", "reservation ses-1")

	later := noon.Add(5 * time.Second)
	s.openReserved(finishedAt(act, later))
	if diff := cmp.Diff(&act.Session, s.session("ses-1", later)); diff != "" {
		s.t.Errorf("session (-reserved +read):\n%s", diff)
	}
	s.expectPassing("key ses-1", "token ses-1")
	s.expectTrail("ses-1", "open minting", "open opened")
	got := s.rows(`SELECT at || ' ' || request_id || ' ' || client_ids FROM audit ORDER BY id`)
	want := []string{fmt.Sprint(noon.UnixMicro(), " req ses-1 face=client-2 identity=client-1"), fmt.Sprint(later.UnixMicro(), " req ses-1 face=client-2 identity=client-1")}
	if !slices.Equal(got, want) {
		s.t.Errorf("audit rows %q, want %q", got, want)
	}
	// Only once, and it is a session like any other.
	s.expectNothing(ErrNotReserved, func() error { return s.OpenReserved(s.t.Context(), finishedAt(act, later)) })
	s.expectDecided(s.decide(deciding("ses-1", StateGranted, "id-1")), StateGranted, 0)
	s.expectNothing(ErrNotReserved, func() error { return s.OpenReserved(s.t.Context(), finishedAt(act, later)) })
}

// What is not reserved, or no more, is not opened.
func notReserved(s tested) {
	act := opening("ses-1", "ana", repeatable("k"))
	open := func(a OpenAct) func() error {
		return func() error { return s.OpenReserved(s.t.Context(), finishedAt(a, noon.Add(5*time.Second))) }
	}
	s.expectNothing(ErrNotReserved, open(act))
	s.reserve(act)
	s.expectNothing(ErrNotReserved, open(opening("ses-2", "ana")))
	// Nor as another session than was reserved, which no limit has counted.
	for _, change := range []func(*OpenAct){
		inApp("app-2"), forProduct(faceAuthentication), inProduction, signingUp, func(a *OpenAct) { a.Session.OpenedAt = noon.Add(time.Second) },
		func(a *OpenAct) {
			a.Session.Person.CPF, a.CPFs = pseudonym(2, "cpf", "ana"), [][]byte{pseudonym(2, "cpf", "ana")}
		},
	} {
		s.expectNothing(ErrNotReserved, open(opening("ses-1", "ana", change)))
	}
	s.release(act)
	s.expectNothing(ErrNotReserved, open(act))
	s.expectTrail("ses-1", "open minting", "open refused provider_unavailable")
	if got := s.rows(`SELECT at || ' ' || client_ids FROM audit WHERE outcome = 'refused'`)[0]; got != fmt.Sprint(noon.Add(5*time.Second).UnixMicro(), " mobile=client-1") {
		s.t.Errorf("audit row of the release: %q", got)
	}
	act = opening("ses-3", "ana", limited(9, 10*time.Minute))
	s.reserve(act)
	s.sweep(noon.Add(10 * time.Minute))
	s.expectNothing(ErrNotReserved, open(act))
	s.expectTrail("ses-3", "open minting")
}

// An act that fails half way leaves all as it was, and the reservation too: it can still open or be released.
func reservationAllOrNothing(s tested) {
	s.open(opening("ses-earlier", "ana"))
	act := opening("ses-1", "ana", repeatable("k"))
	noPepper := finishedAt(act, noon)
	noPepper.Session.Person.PepperVersion = 9
	s.reserve(act)
	s.expectNothing(nil, func() error { return s.OpenReserved(s.t.Context(), noPepper) })
	s.expectNothing(nil, func() error { return s.tryReserve(opening("ses-1", "bruno", repeatable("other"))) }) // an id in use
	foreign := opening("ses-2", "bruno", repeatable("other"))
	foreign.Subjects = [][]byte{pseudonym(1, "subject", "ana")}
	s.expectNothing(nil, func() error { return s.tryReserve(foreign) }) // it would have no limit
	s.openReserved(finishedAt(act, noon))
	s.expectStates(map[string]State{"ses-earlier": StateSuperseded, "ses-1": StateOpen})
}

// A reservation counts from the start, like a session, and its place is free again when it is released, but
// not when it opens.
func reservationCounts(s tested) {
	const window = time.Hour
	two := func(id string, at time.Duration, changes ...func(*OpenAct)) OpenAct {
		return opening(id, "ana", append(changes, openedAt(noon.Add(at)), limited(2, window))...)
	}
	first, second := two("ses-1", 0), two("ses-2", time.Minute)
	s.reserve(first)
	s.reserve(second)
	refused := func(want time.Duration) {
		s.t.Helper()
		before, others := len(s.trail("")), s.everythingBut("audit", "sqlite_sequence")
		s.expectLimit(s.tryReserve(two("ses-x", 10*time.Minute, repeatable("of the refused"))), want)
		s.expectLimit(s.tryOpen(two("ses-x", 10*time.Minute, repeatable("of the refused"))), want)
		if rows := s.trail(""); !slices.Equal(rows[before:], []string{"open refused rate_limited", "open refused rate_limited"}) {
			s.t.Errorf("audit rows of the refusals: %q", rows[before:])
		}
		if diff := cmp.Diff(others, s.everythingBut("audit", "sqlite_sequence")); diff != "" {
			s.t.Errorf("a refusal left something (-before +after):\n%s", diff)
		}
	}
	refused(50 * time.Minute)
	// Somebody else's, and another app's.
	s.reserve(opening("ses-bruno", "bruno", limited(1, window)))
	s.reserve(opening("ses-app-2", "ana", inApp("app-2"), limited(1, window)))

	s.openReserved(finishedAt(second, noon.Add(2*time.Minute)))
	refused(50 * time.Minute) // a reservation and a session
	s.release(first)
	s.open(two("ses-3", 10*time.Minute))
	refused(51 * time.Minute) // ses-2 is the oldest now
	// It leaves the window at the same moment as a session would, swept or not.
	third := opening("ses-4", "carla", limited(1, window))
	s.reserve(third)
	carla := func(at time.Duration) OpenAct {
		return opening("ses-5", "carla", openedAt(noon.Add(at)), limited(1, window))
	}
	s.sweep(noon.Add(window - time.Microsecond))
	s.expectLimit(s.tryOpen(carla(window-time.Microsecond)), time.Microsecond)
	s.open(carla(window))
	// None is none, and what is reserved without a limit is no trouble to anybody.
	s.expectLimit(s.tryReserve(opening("ses-6", "bruno", limited(0, window))), window)
}

// The limit finds what a subject reserved under another live pepper, and opening what it opened.
func reservationAcrossPeppers(s tested) {
	under := func(version int) func(*OpenAct) {
		return func(a *OpenAct) {
			a.Session.Person.Subject, a.Session.Person.PepperVersion = pseudonym(version, "subject", "ana"), version
			a.Subjects = [][]byte{pseudonym(1, "subject", "ana"), pseudonym(2, "subject", "ana")}
			a.Limits[0].Sessions = 2
		}
	}
	old, current := opening("ses-1", "ana", under(1)), opening("ses-2", "ana", under(2))
	s.reserve(old)
	s.reserve(current)
	for _, version := range []int{1, 2} {
		s.expectLimit(s.tryReserve(opening("ses-3", "ana", under(version))), time.Hour)
		s.expectLimit(s.tryOpen(opening("ses-3", "ana", under(version))), time.Hour)
	}
	s.openReserved(finishedAt(old, noon))
	s.openReserved(finishedAt(current, noon))
	s.expectStates(map[string]State{"ses-1": StateSuperseded, "ses-2": StateOpen})
	s.expectTrail("ses-1", "open minting", "open opened", "supersede superseded")
}

// A reservation takes nothing away: the earlier session can be answered until the next one is there.
func reservationSupersedesLate(s tested) {
	s.open(opening("ses-1", "ana"))
	failed := opening("ses-failed", "ana", openedAt(noon.Add(time.Minute)))
	s.reserve(failed)
	s.expectStates(map[string]State{"ses-1": StateOpen})
	s.release(failed)
	s.expectStates(map[string]State{"ses-1": StateOpen})
	s.expectTrail("ses-1", "open opened")

	later := noon.Add(2 * time.Minute)
	next, product := opening("ses-2", "ana", openedAt(later)), opening("ses-product", "ana", openedAt(later), forProduct(faceAuthentication))
	s.reserve(next)
	s.reserve(product)
	s.openReserved(finishedAt(product, later.Add(time.Second)))
	s.expectStates(map[string]State{"ses-1": StateOpen, "ses-product": StateOpen})
	s.openReserved(finishedAt(next, later.Add(3*time.Second)))
	s.expectStates(map[string]State{"ses-1": StateSuperseded, "ses-2": StateOpen, "ses-product": StateOpen})
	if got := s.session("ses-1", later); !got.EndedAt.Equal(later.Add(3 * time.Second)) {
		s.t.Errorf("superseded at %v, want when the next one opened, not when it was reserved", got.EndedAt)
	}
	// An earlier session that runs out while the token is being made is expired, not superseded.
	last := opening("ses-3", "ana", openedAt(later.Add(10*time.Minute-time.Second)))
	s.reserve(last)
	s.openReserved(finishedAt(last, later.Add(10*time.Minute)))
	s.expectTrail("ses-2", "open minting", "open opened", "expire expired")
	// What answered in the meantime keeps its answer.
	s.decide(deciding("ses-3", StateGranted, "id-1").at(later.Add(10 * time.Minute)))
	after := opening("ses-4", "ana", openedAt(later.Add(11*time.Minute)))
	s.reserve(after)
	s.openReserved(finishedAt(after, later.Add(11*time.Minute)))
	s.expectTrail("ses-3", "open minting", "open opened", "respond granted")
}

// Of two reservations the one that opens last is the session, whichever was reserved first; and an opening
// between the halves is superseded like any other.
func reservationsCross(s tested) {
	first, second := opening("ses-1", "ana"), opening("ses-2", "ana", openedAt(noon.Add(time.Second)))
	s.reserve(first)
	s.reserve(second)
	s.openReserved(finishedAt(second, noon.Add(5*time.Second)))
	s.expectStates(map[string]State{"ses-2": StateOpen})
	s.openReserved(finishedAt(first, noon.Add(6*time.Second)))
	s.expectStates(map[string]State{"ses-2": StateSuperseded, "ses-1": StateOpen})
	s.expectPassing("token ses-1")

	third := opening("ses-3", "ana", openedAt(noon.Add(10*time.Second)))
	s.reserve(third)
	s.open(opening("ses-between", "ana", openedAt(noon.Add(11*time.Second))))
	s.openReserved(finishedAt(third, noon.Add(12*time.Second)))
	s.expectStates(map[string]State{"ses-2": StateSuperseded, "ses-1": StateSuperseded, "ses-between": StateSuperseded, "ses-3": StateOpen})
}

// A sealed token is there for its own open session, and goes with it, whichever way that ends.
func sealedTokensEnd(s tested) {
	for _, reserved := range []bool{false, true} {
		for _, e := range endings {
			id := fmt.Sprint("ses-", e.state, "-", reserved)
			act := opening(id, "ana", repeatable(id), withToken)
			if reserved {
				s.reserve(act)
				s.openReserved(act)
			} else {
				s.open(act)
			}
			s.decide(deciding(id, StateOpen)) // an attempt does not end it
			again := opening(id+"-again", "ana", repeatable(id))
			s.expectRepeated(again, id, StateOpen, sealedToken(id))
			e.end(s, id)
			if n := s.count("session_tokens"); n != 0 {
				s.t.Errorf("%s: %d sealed tokens left", id, n)
			}
			s.expectRepeated(again, id, e.state, nil)
		}
	}
	// Denied for its attempts, and found expired by its response.
	s.open(opening("ses-attempts", "bruno", maxAttempts(1), repeatable("attempts"), withToken))
	s.open(opening("ses-late", "carla", repeatable("late"), withToken))
	s.expectPassing(append(s.passing()[:len(s.passing())-2], "token ses-attempts", "token ses-late")...)
	s.decide(deciding("ses-attempts", StateOpen))
	s.decide(deciding("ses-late", StateGranted, "late").at(noon.Add(time.Hour)))
	if n := s.count("session_tokens"); n != 0 {
		s.t.Errorf("%d sealed tokens left", n)
	}
}

// Each repeat gets the token of its own session.
func sealedTokensApart(s tested) {
	for _, who := range []string{"ana", "bruno", "carla"} {
		s.open(opening("ses-"+who, who, repeatable(who), withToken))
	}
	s.open(opening("ses-own", "ana", forProduct(faceAuthentication), repeatable("own"))) // made by us: none is kept
	for _, who := range []string{"carla", "ana", "bruno"} {
		s.expectRepeated(opening("ses-x", who, repeatable(who)), "ses-"+who, StateOpen, sealedToken("ses-"+who))
	}
	s.expectRepeated(opening("ses-x", "ana", forProduct(faceAuthentication), repeatable("own")), "ses-own", StateOpen, nil)
	if n := s.count("session_tokens"); n != 3 {
		s.t.Errorf("%d sealed tokens, want 3", n)
	}
	err := s.tryOpen(opening("ses-"+"ana", "bruno", withToken)) // an id in use
	if transcript.Error(err) == nil {
		s.t.Error("a second token was sealed under one session")
	}
}
