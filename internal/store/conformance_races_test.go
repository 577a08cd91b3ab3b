package store

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

const racers = 64

// race runs one function per racer at the same moment, and returns once all have ended.
func race(run func(i int)) {
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			<-start
			run(i)
		})
	}
	close(start)
	wg.Wait()
}

// Of any number of simultaneous decisions of one session exactly one ends it, be it with the same response
// or with others.
func manyDecideOne(s tested) {
	for name, id := range map[string]func(int) string{
		"one response":   func(int) string { return "the id" },
		"many responses": func(i int) string { return fmt.Sprint("id-", i) },
	} {
		s.open(opening("ses "+name, "ana", maxAttempts(racers)))
		decided := make([]*Decided, racers)
		race(func(i int) {
			act := deciding("ses "+name, StateGranted, id(i), id(i)+"'")
			act.ReceiptID = fmt.Sprint("rct-", i)
			decided[i] = s.raceDecide(act)
		})
		s.expectOneGrant(name, decided, selo.ReasonSessionNotOpen)
		stored := s.session("ses "+name, noon)
		for i, d := range decided {
			if d != nil && len(d.Reasons) == 0 && stored.ReceiptID != fmt.Sprint("rct-", i) {
				s.t.Errorf("%s: racer %d was granted, the receipt stored is %s", name, i, stored.ReceiptID)
			}
		}
		if n := len(s.trail("ses " + name)); n != 1+racers {
			s.t.Errorf("%s: %d audit rows, want one for the opening and each of %d acts", name, n, racers)
		}
		if n := s.count("consumed_ids WHERE session_id = 'ses " + name + "'"); n != 2 {
			s.t.Errorf("%s: %d used ids, want 2", name, n)
		}
	}
}

// An id grants one session, whichever sessions it is shown to at the same moment.
func manySessionsOneID(s tested) {
	s.openForRacers()
	decided := make([]*Decided, racers)
	race(func(i int) { decided[i] = s.raceDecide(deciding(fmt.Sprint("ses-", i), StateGranted, "the id")) })
	s.expectOneGrant("one id", decided, selo.ReasonReplayed)
	if n := s.count("consumed_ids"); n != 1 {
		s.t.Errorf("%d used ids, want 1", n)
	}
	if n := s.count("sessions WHERE state = 'open' AND attempts = 1"); n != racers-1 {
		s.t.Errorf("%d sessions open with one attempt, want %d", n, racers-1)
	}
}

// Ids taken in opposite orders neither stop each other for good nor are used up in part.
func manySessionsTwoOrders(s tested) {
	s.openForRacers()
	decided := make([]*Decided, racers)
	race(func(i int) {
		act := deciding(fmt.Sprint("ses-", i), StateGranted, "id-1", "id-2", "id-3")
		if i%2 == 1 {
			slices.Reverse(act.IDs)
		}
		decided[i] = s.raceDecide(act)
	})
	s.expectOneGrant("two orders", decided, selo.ReasonReplayed)
	if n := s.count("consumed_ids"); n != 3 {
		s.t.Errorf("%d used ids, want 3", n)
	}
}

func (s tested) openForRacers() {
	s.t.Helper()
	for i := range racers {
		s.open(opening(fmt.Sprint("ses-", i), fmt.Sprint("subject ", i)))
	}
}

// raceDecide is Decide on a goroutine, where a test must not stop.
func (s tested) raceDecide(act DecideAct) *Decided {
	d, err := s.Decide(s.t.Context(), act)
	if transcript.Error(err) != nil {
		s.t.Errorf("deciding %s: %v", act.SessionID, err)
	}
	return d
}

// expectOneGrant fails unless one act granted, and all the others were refused for that reason.
func (s tested) expectOneGrant(name string, all []*Decided, otherwise selo.Reason) {
	s.t.Helper()
	granted := 0
	for i, d := range all {
		switch {
		case d == nil: // reported
		case len(d.Reasons) == 0:
			granted++
		case !slices.Equal(d.Reasons, []selo.Reason{otherwise}):
			s.t.Errorf("%s: racer %d was refused for %q, want %s", name, i, d.Reasons, otherwise)
		}
	}
	if granted != 1 {
		s.t.Errorf("%s: %d of %d granted, want exactly one", name, granted, len(all))
	}
}

// A limit holds under simultaneous openings, and at most one session stays open.
func manyOpenOneSubject(s tested) {
	const limit = 10
	var mu sync.Mutex
	opened, refused := 0, 0
	race(func(i int) {
		err := s.tryOpen(opening(fmt.Sprint("ses-", i), "ana", limited(limit, time.Hour)))
		mu.Lock()
		defer mu.Unlock()
		var limited *LimitError
		switch {
		case err == nil:
			opened++
		case errors.As(err, &limited):
			refused++
		default:
			s.t.Error(transcript.Error(err))
		}
	})
	if opened != limit || refused != racers-limit {
		s.t.Errorf("%d opened and %d refused, want %d and %d", opened, refused, limit, racers-limit)
	}
	if n := s.count("sessions WHERE state = 'open'"); n != 1 {
		s.t.Errorf("%d sessions open, want 1", n)
	}
	if n := s.count("sessions"); n != limit {
		s.t.Errorf("%d sessions, want %d", n, limit)
	}
	if n := len(s.trail("")); n != racers-limit {
		s.t.Errorf("%d refusals in the trail, want %d", n, racers-limit)
	}
}

// However many look, a session expires once.
func manySeeOneExpire(s tested) {
	s.open(opening("ses-1", "ana"))
	race(func(int) {
		n, err := s.Session(s.t.Context(), "ses-1", noon.Add(time.Hour))
		if transcript.Error(err) != nil || n.State != StateExpired {
			s.t.Errorf("%+v, %v", n, err)
		}
	})
	s.expectTrail("ses-1", "open opened", "expire expired")
}

// Acts of every kind at once leave a database in which they all agree; the caller checks that.
func everythingAtOnce(s tested) {
	race(func(i int) {
		who, id := fmt.Sprint("subject ", i%5), fmt.Sprint("ses-", i)
		if err := s.tryOpen(opening(id, who, limited(8, time.Hour), maxAttempts(2))); err != nil {
			var limited *LimitError
			if !errors.As(transcript.Error(err), &limited) {
				s.t.Error(err)
			}
			return
		}
		if err := s.arrive(id, who, i); transcript.Error(err) != nil {
			s.t.Error(err)
		}
		outcome := []State{StateGranted, StateDenied, StateOpen}[i%3]
		for range 2 {
			s.raceDecide(deciding(id, outcome, fmt.Sprint("id-", i%7), fmt.Sprint("id-", i)))
		}
		if i%4 == 0 {
			if _, err := s.Session(s.t.Context(), id, noon.Add(time.Hour)); transcript.Error(err) != nil {
				s.t.Error(err)
			}
		}
		if err := s.CountUnauthenticated(s.t.Context(), noon, selo.ReasonCallerUnauthenticated, 1); transcript.Error(err) != nil {
			s.t.Error(err)
		}
	})
	s.sweep(noon.Add(time.Hour))
	if got := s.rows(`SELECT count || '' FROM unauthenticated_refusals`); len(got) != 1 {
		s.t.Errorf("counts %q, want one row", got)
	}
}

// arrive does what else happens beside an opening: of a thing that others do at the same moment, each part may be
// answered in more than one way.
func (s tested) arrive(id, who string, i int) error {
	ctx := s.t.Context()
	act := opening("res-"+id, who, forProduct(faceAuthentication), limited(20, time.Hour), repeatable(fmt.Sprint("key ", i%9)))
	var limited *LimitError
	var again *RepeatedError
	switch err := s.tryReserve(act); {
	case errors.As(err, &limited) || errors.As(err, &again) || errors.Is(err, ErrRepeatRunning):
	case err != nil:
		return err
	case i%4 == 0:
		return s.Release(ctx, act.Session.ID, releasing(act))
	case i%4 != 1:
		if err := s.OpenReserved(ctx, finishedAt(act, noon.Add(time.Second))); err != nil {
			return err
		}
	}
	_, err := s.RecordEvent(ctx, happening(fmt.Sprint("evt-", i%11), []Verdict{VerdictRefused, VerdictApproved, VerdictNone}[i%3], fmt.Sprint("id-", i%7)))
	return errors.Join(err, s.Sweep(ctx, noon.Add(30*time.Minute)))
}
