package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

// The reservation that most scenarios of openings are about, and what is there beside it.
func reservable() OpenAct {
	return opening("ses-new", "ana", openedAt(noon.Add(time.Minute)), limited(9, time.Hour), repeatable("k"), func(a *OpenAct) {
		a.Session.Keys = map[string]string{"identity": "client-1", "face": "client-2"}
	})
}

func beside(s tested) {
	s.open(opening("ses-earlier", "ana", repeatable("earlier"), withToken))
	s.open(opening("ses-other", "bruno", repeatable("other"), withToken))
}

// expectBeside fails unless the earlier session is in this state and nothing else of beside has changed.
func (s tested) expectBeside(earlier State) {
	s.t.Helper()
	for id, want := range map[string]State{"ses-earlier": earlier, "ses-other": StateOpen} {
		if got := s.session(id, noon).State; got != want {
			s.t.Errorf("%s is %s, want %s", id, got, want)
		}
	}
	if n, want := s.count("session_tokens WHERE session_id = 'ses-earlier'"), s.count("sessions WHERE id = 'ses-earlier' AND state = 'open'"); n != want {
		s.t.Errorf("%d sealed tokens of an earlier session that is %s", n, earlier)
	}
}

// expectTook fails unless err is nil when the act had not taken place, and ours when it had.
func (s tested) expectTook(took bool, err, ours error) {
	s.t.Helper()
	if transcript.Error(err); took && !errors.Is(err, ours) || !took && err != nil {
		s.t.Errorf("again: %v, when the first took place is %v", err, took)
	}
}

var openScenarios = []scenario{
	{
		name:  "reserve",
		setup: beside,
		act:   func(ctx context.Context, s *Store) error { return tryReserve(ctx, s, reservable()) },
		again: func(s tested, took bool) {
			s.expectTook(took, s.tryReserve(reservable()), ErrRepeatRunning)
			s.expectBeside(StateOpen)
			s.openReserved(finishedAt(reservable(), noon.Add(2*time.Minute)))
			s.expectBeside(StateSuperseded)
		},
	},
	{
		name: "open reserved",
		setup: func(s tested) {
			beside(s)
			s.reserve(reservable())
		},
		act: func(ctx context.Context, s *Store) error {
			return s.OpenReserved(ctx, finishedAt(reservable(), noon.Add(2*time.Minute)))
		},
		again: func(s tested, took bool) {
			s.expectTook(took, s.OpenReserved(s.t.Context(), finishedAt(reservable(), noon.Add(2*time.Minute))), ErrNotReserved)
			s.expectBeside(StateSuperseded)
			s.expectRepeated(reservable(), "ses-new", StateOpen, sealedToken("ses-new"))
		},
	},
	{
		name: "release",
		setup: func(s tested) {
			beside(s)
			s.reserve(reservable())
		},
		act: func(ctx context.Context, s *Store) error {
			return s.Release(ctx, "ses-new", releasing(reservable()))
		},
		again: func(s tested, took bool) {
			if !took {
				s.release(reservable())
			}
			s.expectTrail("ses-new", "open minting", "open refused provider_unavailable")
			s.expectNothing(ErrNotReserved, func() error { return s.OpenReserved(s.t.Context(), finishedAt(reservable(), noon)) })
			s.expectBeside(StateOpen)
			s.open(opening("ses-next", "ana", repeatable("k")))
		},
	},
	{
		name: "repeat",
		setup: func(s tested) {
			beside(s)
			s.open(opening("ses-1", "carla", repeatable("k"), withToken))
		},
		act: func(ctx context.Context, s *Store) error {
			var again *RepeatedError
			if err := tryOpen(ctx, s, reservable()); !errors.As(err, &again) {
				return err
			}
			return nil
		},
		again: func(s tested, _ bool) {
			s.expectRepeated(reservable(), "ses-1", StateOpen, sealedToken("ses-1"))
			s.expectBeside(StateOpen)
		},
	},
	{
		name: "repeat that expires",
		setup: func(s tested) {
			s.open(opening("ses-1", "ana", repeatable("k"), withToken))
		},
		act: func(ctx context.Context, s *Store) error {
			var again *RepeatedError
			if err := tryReserve(ctx, s, opening("ses-new", "ana", repeatable("k"), openedAt(noon.Add(time.Hour)))); !errors.As(err, &again) {
				return err
			}
			return nil
		},
		again: func(s tested, _ bool) {
			s.session("ses-1", noon.Add(time.Hour))
			s.expectRepeated(reservable(), "ses-1", StateExpired, nil)
		},
	},
	{
		name: "take over",
		setup: func(s tested) {
			beside(s)
			s.reserve(opening("ses-died", "ana", repeatable("k")))
			s.open(opening("ses-forgotten", "carla", repeatableUnder("k", "the request", 2), openedAt(noon.Add(-24*time.Hour))))
		},
		act: func(ctx context.Context, s *Store) error { return tryReserve(ctx, s, takingOver()) },
		again: func(s tested, took bool) {
			s.expectTook(took, s.tryReserve(takingOver()), ErrRepeatRunning)
			s.expectNothing(ErrNotReserved, func() error {
				return s.OpenReserved(s.t.Context(), finishedAt(opening("ses-died", "ana"), noon.Add(time.Minute)))
			})
			s.expectBeside(StateOpen)
			s.expectPassing("key ses-earlier", "key ses-new", "key ses-other", "reservation ses-new", "token ses-earlier", "token ses-other")
		},
	},
	{
		name: "sweep",
		setup: func(s tested) {
			beside(s)
			s.reserve(reservable())
			s.open(opening("ses-last", "carla", repeatable("last"), withToken, openedAt(noon.Add(24*time.Hour))))
		},
		act: func(ctx context.Context, s *Store) error { return s.Sweep(ctx, noon.Add(24*time.Hour)) },
		again: func(s tested, _ bool) {
			s.sweep(noon.Add(24 * time.Hour))
			s.expectPassing("key ses-last", "key ses-new", "token ses-last")
			s.expectNothing(ErrNotReserved, func() error { return s.OpenReserved(s.t.Context(), finishedAt(reservable(), noon)) })
		},
	},
}

// takingOver reserves in the place of a dead reservation under an older pepper, and of a forgotten key.
func takingOver() OpenAct {
	act := reservable()
	repeatableUnder("k", "the request", 2, 1)(&act)
	return act
}

var eventScenarios = []scenario{
	{
		name: "event",
		setup: func(s tested) {
			s.open(opening("ses-1", "ana"))
			s.decide(deciding("ses-1", StateGranted, "id-1", "id-1'"))
			s.open(opening("ses-2", "bruno"))
			s.decide(deciding("ses-2", StateDenied, "id-2"))
		},
		act: func(ctx context.Context, s *Store) error {
			_, err := s.RecordEvent(ctx, aboutTwo())
			return err
		},
		again: func(s tested, took bool) {
			if took {
				s.record(aboutTwo(), false, false)
			} else {
				s.record(aboutTwo(), true, true, "ses-2", "ses-1")
			}
			about := ", webhook caf, event attempt.finished, refused"
			s.expectNotes("ses-1", "contradicts"+about)
			s.expectNotes("ses-2", "evidence"+about)
		},
	},
	{
		name:  "event by itself",
		setup: func(tested) {},
		act: func(ctx context.Context, s *Store) error {
			_, err := s.RecordEvent(ctx, aboutTwo())
			return err
		},
		again: func(s tested, took bool) {
			s.record(aboutTwo(), !took, false)
			s.expectNotes("", "recorded, webhook caf, event attempt.finished, refused")
		},
	},
	{
		name: "grant after events",
		setup: func(s tested) {
			s.record(aboutTwo(), true, false)
			later := happening("evt-2", VerdictApproved, "id-1")
			later.ReceivedAt = later.ReceivedAt.Add(time.Second)
			s.record(later, true, false)
			s.open(opening("ses-1", "ana", withToken))
		},
		act: func(ctx context.Context, s *Store) error {
			_, err := s.Decide(ctx, deciding("ses-1", StateGranted, "id-1", "id-1'"))
			return err
		},
		again: func(s tested, took bool) {
			d := s.decide(deciding("ses-1", StateGranted, "id-1", "id-1'"))
			if want := []selo.Reason(nil); took && !slices.Equal(d.Reasons, []selo.Reason{selo.ReasonSessionNotOpen}) || !took && !slices.Equal(d.Reasons, want) {
				s.t.Errorf("again: reasons %q, when the first took place is %v", d.Reasons, took)
			}
			about := "webhook caf, event attempt.finished, "
			s.expectNotes("ses-1", "contradicts, "+about+"refused", "evidence, "+about+"approved")
			s.expectPassing()
		},
	},
}

// aboutTwo is an event that names an id of ses-2 and one of ses-1.
func aboutTwo() Event {
	e := happening(plantedEventID, VerdictRefused, "id-2", "id-1'")
	e.IDs = append(e.IDs, providerIDs("id-1")...)
	return e
}
