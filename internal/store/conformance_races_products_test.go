package store

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/selo-id/selo/internal/transcript"
)

// Of simultaneous openings with one key exactly one opens, and the others get its session.
func manyOpenOneKey(s tested) {
	errs := make([]error, racers)
	race(func(i int) {
		errs[i] = s.tryOpen(opening(fmt.Sprint("ses-", i), "ana", repeatable("k"), withToken))
	})
	s.expectOneOpen(errs)
	if n := s.count("audit WHERE outcome = 'repeated'"); n != racers-1 {
		s.t.Errorf("%d repeats in the trail, want %d", n, racers-1)
	}
}

// expectOneOpen fails unless one act opened a session and the others were told of the same one.
func (s tested) expectOneOpen(errs []error) {
	s.t.Helper()
	opened := slices.Index(errs, nil)
	for i, err := range errs {
		var again *RepeatedError
		want := fmt.Sprint("ses-", opened)
		switch {
		case i == opened:
		case !errors.As(transcript.Error(err), &again):
			s.t.Errorf("racer %d: %v, want a repeated error", i, err)
		case again.Session.ID != want || !slices.Equal(again.TokenSealed, sealedToken(want)):
			s.t.Errorf("racer %d was told of %s, token %x, want %s", i, again.Session.ID, again.TokenSealed, want)
		}
	}
	if got := s.rows(`SELECT id FROM sessions`); opened < 0 || !slices.Equal(got, []string{fmt.Sprint("ses-", opened)}) {
		s.t.Errorf("sessions %q, of which racer %d's was opened", got, opened)
	}
}

// The same for reserving; and different requests under one key.
func manyReserveOneKey(s tested) {
	for _, tc := range []struct {
		name    string
		request func(int) string
		want    error
	}{
		{"one request", func(int) string { return "the request" }, ErrRepeatRunning},
		{"many requests", func(i int) string { return fmt.Sprint("request ", i) }, ErrRepeatConflict},
	} {
		errs := make([]error, racers)
		race(func(i int) {
			act := opening(fmt.Sprint(tc.name, " ", i), "ana", repeatableUnder(tc.name, tc.request(i), 1))
			if errs[i] = s.tryReserve(act); errs[i] == nil { // and fails before anybody asks again
				return
			}
			if !errors.Is(transcript.Error(errs[i]), tc.want) {
				s.t.Errorf("%s, racer %d: %v, want %v", tc.name, i, errs[i], tc.want)
			}
		})
		if i := slices.Index(errs, nil); i < 0 || slices.Index(errs[i+1:], nil) >= 0 {
			s.t.Errorf("%s: not exactly one was reserved", tc.name)
		}
	}
	if n := s.count("reservations"); n != 2 {
		s.t.Errorf("%d reservations, want 2", n)
	}
	if n := s.count("audit WHERE outcome = 'refused' AND session_id = ''"); n != 2*(racers-1) {
		s.t.Errorf("%d refusals in the trail, want %d", n, 2*(racers-1))
	}
}

// Of any number of posts of one event exactly one is new.
func manyRecordOneEvent(s tested) {
	s.open(opening("ses-1", "ana"))
	s.decide(deciding("ses-1", StateGranted, "id-1"))
	got := make([]*Recorded, racers)
	race(func(i int) {
		var err error
		if got[i], err = s.RecordEvent(s.t.Context(), happening(plantedEventID, VerdictRefused, "id-1")); transcript.Error(err) != nil {
			s.t.Error(err)
		}
	})
	s.expectOneNew(got)
	s.expectNotes("ses-1", "contradicts, webhook caf, event attempt.finished, refused")
}

func (s tested) expectOneNew(all []*Recorded) {
	s.t.Helper()
	n := 0
	for i, got := range all {
		switch {
		case got == nil: // reported
		case got.New:
			n++
		case got.Contradicts || got.Sessions != nil:
			s.t.Errorf("racer %d: %+v, of an event that was there", i, got)
		}
	}
	if n != 1 {
		s.t.Errorf("%d of %d events were new, want exactly one", n, len(all))
	}
}

// An event and the response about the same attempt find each other, whichever is first.
func eventsMeetResponses(s tested) {
	s.openForRacers()
	var mu sync.Mutex
	found := 0
	race(func(i int) {
		session, id := fmt.Sprint("ses-", i/2), fmt.Sprint("id-", i/2)
		if i%2 == 0 {
			s.raceDecide(deciding(session, StateGranted, id))
			return
		}
		got, err := s.RecordEvent(s.t.Context(), happening("evt of "+id, VerdictRefused, id))
		if transcript.Error(err) != nil || !got.New || got.Contradicts != slices.Equal(got.Sessions, []string{session}) {
			s.t.Errorf("racer %d: %+v, %v", i, got, err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		found += len(got.Sessions)
	})
	for i := range racers / 2 {
		s.expectNotes(fmt.Sprint("ses-", i), "contradicts, webhook caf, event attempt.finished, refused")
	}
	if n := len(s.notes("")); n != racers/2-found {
		s.t.Errorf("%d events by themselves, and %d found their session, want %d of both", n, found, racers/2)
	}
}

// The limit holds when sessions are reserved and opened at once, and what is released is free again, once.
func manyReserveOneSubject(s tested) {
	const limit = 10
	at := func(i int) OpenAct {
		return opening(fmt.Sprint("ses-", i), "ana", limited(limit, time.Hour), forProduct(fmt.Sprint("product ", i)))
	}
	errs := make([]error, racers)
	reserveOrOpen := func(i int) {
		if i%2 == 0 {
			errs[i] = s.tryReserve(at(i))
		} else {
			errs[i] = s.tryOpen(at(i))
		}
		var limited *LimitError
		if errs[i] != nil && !errors.As(transcript.Error(errs[i]), &limited) {
			s.t.Error(errs[i])
		}
	}
	race(reserveOrOpen)
	if n := s.count(`(SELECT id FROM sessions UNION ALL SELECT session_id FROM reservations)`); n != limit {
		s.t.Errorf("%d sessions and reservations, want %d", n, limit)
	}
	reserved := s.count("reservations")
	// Half of the reservations open, half are given back, and as many others get through meanwhile at most.
	first := slices.Clone(errs)
	released := make([]bool, racers)
	race(func(i int) {
		switch {
		case first[i] != nil:
			reserveOrOpen(i)
		case i%4 == 0:
			if err := s.Release(s.t.Context(), at(i).Session.ID, releasing(at(i))); transcript.Error(err) != nil {
				s.t.Error(err)
			}
			released[i] = true
		case i%2 == 0:
			if err := s.OpenReserved(s.t.Context(), finishedAt(at(i), noon)); transcript.Error(err) != nil {
				s.t.Error(err)
			}
		}
	})
	if n := s.count(`(SELECT id FROM sessions UNION ALL SELECT session_id FROM reservations)`); n > limit {
		s.t.Errorf("%d sessions and reservations, want at most %d", n, limit)
	}
	for i := range racers { // whoever is left over takes exactly the places that are left
		if errs[i] != nil {
			reserveOrOpen(i)
		}
	}
	if n := s.count(`(SELECT id FROM sessions UNION ALL SELECT session_id FROM reservations)`); n != limit {
		s.t.Errorf("%d sessions and reservations, want %d; %d were reserved first, %v released", n, limit, reserved, released)
	}
}

// A reservation opens once, and not when a repeat took its place at the same moment.
func manyOpenOneReservation(s tested) {
	s.reserve(opening("ses-once", "bruno"))
	first := opening("ses-first", "ana", repeatable("k"), withToken)
	s.reserve(first)
	opened, taken := make([]error, racers), make([]error, racers)
	race(func(i int) {
		opened[i] = s.OpenReserved(s.t.Context(), opening("ses-once", "bruno"))
		if i == racers/2 {
			taken[i] = s.OpenReserved(s.t.Context(), first)
		} else {
			taken[i] = s.tryReserve(opening(fmt.Sprint("ses-", i), "ana", repeatable("k"), openedAt(noon.Add(time.Minute))))
		}
	})
	for i, err := range opened {
		if err != nil && !errors.Is(transcript.Error(err), ErrNotReserved) {
			s.t.Errorf("racer %d: %v", i, err)
		}
	}
	if i := slices.Index(opened, nil); i < 0 || slices.Contains(opened[i+1:], nil) {
		s.t.Error("not exactly one opened the reservation")
	}
	winner := slices.Index(taken, nil)
	if winner < 0 || slices.Contains(taken[winner+1:], nil) {
		s.t.Fatal("not exactly one of the reservation and those that would take its place won")
	}
	for i, err := range taken {
		var again *RepeatedError
		switch {
		case i == winner:
		case i == racers/2 && errors.Is(transcript.Error(err), ErrNotReserved):
		case winner == racers/2 && errors.As(transcript.Error(err), &again) && again.Session.ID == "ses-first":
		case winner != racers/2 && errors.Is(transcript.Error(err), ErrRepeatRunning):
		default:
			s.t.Errorf("racer %d: %v, when racer %d won", i, err, winner)
		}
	}
}
