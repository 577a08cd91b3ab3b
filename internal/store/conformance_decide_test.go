package store

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

func grantEnds(s tested) {
	s.open(opening("ses-1", "ana"))
	s.decide(deciding("ses-1", StateOpen)) // an attempt before does not stop it
	act := deciding("ses-1", StateGranted, "id-1", "id-2")
	d := s.decide(act)
	s.expectDecided(d, StateGranted, 1)
	if n := d.Session; n.Proved != act.Proved || n.ReceiptID != act.ReceiptID || !n.EndedAt.Equal(act.At) || n.Reasons != nil {
		s.t.Errorf("granted: %+v", n)
	}
	s.expectTrail("ses-1", "open opened", "respond refused stale", "respond granted")
	if n := s.count("consumed_ids WHERE session_id = 'ses-1'"); n != 2 {
		s.t.Errorf("%d used ids, want 2", n)
	}
}

func denialEnds(s tested) {
	s.open(opening("ses-1", "ana"))
	d := s.decide(deciding("ses-1", StateDenied, "id-1", "id-2"))
	s.expectDecided(d, StateDenied, 0, selo.ReasonNotApproved)
	if n := d.Session; n.Proved != selo.AssuranceUnset || n.ReceiptID != "" || !n.EndedAt.Equal(noon.Add(time.Minute)) ||
		!slices.Equal(n.Reasons, []selo.Reason{selo.ReasonNotApproved}) {
		s.t.Errorf("denied: %+v", n)
	}
	s.expectTrail("ses-1", "open opened", "respond denied not_approved")
	// Its ids are used up: the response that denied one session grants no other.
	s.open(opening("ses-2", "ana"))
	s.expectDecided(s.decide(deciding("ses-2", StateGranted, "id-1", "id-9")), StateOpen, 1, selo.ReasonReplayed)
}

func attemptsRunOut(s tested) {
	s.open(opening("ses-1", "ana", maxAttempts(3)))
	s.expectDecided(s.decide(deciding("ses-1", StateOpen)), StateOpen, 1, selo.ReasonStale)
	s.expectDecided(s.decide(deciding("ses-1", StateOpen)), StateOpen, 2, selo.ReasonStale)
	d := s.decide(deciding("ses-1", StateOpen))
	s.expectDecided(d, StateDenied, 3, selo.ReasonStale, selo.ReasonTooManyAttempts)
	if !slices.Equal(d.Session.Reasons, []selo.Reason{selo.ReasonStale, selo.ReasonTooManyAttempts}) || d.Session.EndedAt.IsZero() {
		s.t.Errorf("denied: %+v", d.Session)
	}
	s.expectTrail("ses-1", "open opened", "respond refused stale", "respond refused stale", "respond denied stale too_many_attempts")
	// The right response is late by one.
	s.expectDecided(s.decide(deciding("ses-1", StateGranted, "id-1")), StateDenied, 3, selo.ReasonSessionNotOpen)

	s.open(opening("ses-2", "ana", maxAttempts(1)))
	s.expectDecided(s.decide(deciding("ses-2", StateOpen)), StateDenied, 1, selo.ReasonStale, selo.ReasonTooManyAttempts)
	// And a session whose last attempt is right is granted.
	s.open(opening("ses-3", "ana", maxAttempts(2)))
	s.decide(deciding("ses-3", StateOpen))
	s.expectDecided(s.decide(deciding("ses-3", StateGranted, "id-1")), StateGranted, 1)
}

// Nobody burns another's ids with rubbish: what did not decide used nothing up, even when it names ids.
func refusalConsumesNothing(s tested) {
	s.open(opening("ses-1", "ana", maxAttempts(2)))
	s.decide(deciding("ses-1", StateOpen, "id-1"))
	s.decide(deciding("ses-1", StateOpen, "id-1")) // denies for the attempts
	if n := s.count("consumed_ids"); n != 0 {
		s.t.Errorf("refusals used %d ids up", n)
	}
	s.open(opening("ses-2", "bruno"))
	s.expectDecided(s.decide(deciding("ses-2", StateGranted, "id-1")), StateGranted, 0)
}

func replayAcrossSessions(s tested) {
	s.open(opening("ses-1", "ana"))
	s.decide(deciding("ses-1", StateGranted, "id-1"))
	s.open(opening("ses-2", "ana"))
	s.open(opening("ses-3", "bruno", maxAttempts(5)))
	for _, outcome := range []State{StateGranted, StateDenied} {
		for i, session := range []string{"ses-2", "ses-3"} {
			d := s.decide(deciding(session, outcome, "id-1"))
			want := []selo.Reason{selo.ReasonReplayed}
			if outcome == StateDenied {
				want = []selo.Reason{selo.ReasonNotApproved, selo.ReasonReplayed}
			}
			if d.Session.State != StateOpen || !slices.Equal(d.Reasons, want) {
				s.t.Errorf("replay %d as %s: %s, %q, want open, %q", i, outcome, d.Session.State, d.Reasons, want)
			}
			if d.Session.ReceiptID != "" || d.Session.Proved != selo.AssuranceUnset || !d.Session.EndedAt.IsZero() {
				s.t.Errorf("a refused grant left its marks: %+v", d.Session)
			}
		}
	}
	s.expectTrail("ses-2", "open opened", "respond refused replayed", "respond refused not_approved replayed")
	// The session is still good for a response of its own.
	s.expectDecided(s.decide(deciding("ses-3", StateGranted, "id-2")), StateGranted, 2)
}

// An id is used within its provider, environment and field, by its exact value.
func idsApart(s tested) {
	base := selo.UsedID{Provider: "caf", Environment: selo.EnvironmentSandbox, Field: "requestId", Value: "id-1"}
	other := func(change func(*selo.UsedID)) selo.UsedID { id := base; change(&id); return id }
	for i, id := range []selo.UsedID{
		base,
		other(func(id *selo.UsedID) { id.Provider = "other" }),
		other(func(id *selo.UsedID) { id.Environment = selo.EnvironmentProduction }),
		other(func(id *selo.UsedID) { id.Field = "executionId" }),
		other(func(id *selo.UsedID) { id.Value = "ID-1" }),
		other(func(id *selo.UsedID) { id.Value = "id-1 " }),
		other(func(id *selo.UsedID) { id.Value = "id-1\x00" }),
	} {
		session := "ses-" + string(rune('a'+i))
		s.open(opening(session, "ana"))
		act := deciding(session, StateGranted)
		act.IDs = []selo.UsedID{id}
		s.expectDecided(s.decide(act), StateGranted, 0)
		s.open(opening(session+"-again", "ana"))
		act = deciding(session+"-again", StateGranted)
		act.IDs = []selo.UsedID{id}
		s.expectDecided(s.decide(act), StateOpen, 1, selo.ReasonReplayed)
	}
}

// A response that mixes a used id with fresh ones uses none of the fresh ones up, wherever the used one stands.
func oneUsedOfSeveral(s tested) {
	s.open(opening("ses-1", "ana"))
	s.decide(deciding("ses-1", StateGranted, "used-0", "used-1", "used-2"))
	s.open(opening("ses-2", "bruno", maxAttempts(9)))
	for i, ids := range [][]string{{"used-0", "new-1", "new-2"}, {"new-0", "used-1", "new-2"}, {"new-0", "new-1", "used-2"}} {
		s.expectDecided(s.decide(deciding("ses-2", StateGranted, ids...)), StateOpen, i+1, selo.ReasonReplayed)
	}
	if n := s.count("consumed_ids"); n != 3 {
		s.t.Errorf("%d used ids, want the first 3", n)
	}
	s.expectDecided(s.decide(deciding("ses-2", StateGranted, "new-0", "new-1", "new-2")), StateGranted, 3)
}

func replayOnLastAttempt(s tested) {
	s.open(opening("ses-1", "ana"))
	s.decide(deciding("ses-1", StateGranted, "id-1"))
	s.open(opening("ses-2", "ana", maxAttempts(1)))
	s.expectDecided(s.decide(deciding("ses-2", StateGranted, "id-1")), StateDenied, 1, selo.ReasonReplayed, selo.ReasonTooManyAttempts)
	if n := s.session("ses-2", noon); n.ReceiptID != "" || n.Proved != selo.AssuranceUnset {
		s.t.Errorf("a denied session has marks of a grant: %+v", n)
	}
}

// A grant or denial that used no id up could be repeated, so there is none.
func decisionWithoutIDs(s tested) {
	s.open(opening("ses-1", "ana"))
	for _, outcome := range []State{StateGranted, StateDenied} {
		s.expectError(deciding("ses-1", outcome), 1)
	}
	s.expectDecided(s.decide(deciding("ses-1", StateOpen)), StateOpen, 1, selo.ReasonStale) // a refusal needs none
}

// An act that the database refuses half way leaves nothing of its first half.
func decisionNotWritten(s tested) {
	s.open(opening("ses-1", "ana"))
	noReceipt := deciding("ses-1", StateGranted, "id-1")
	noReceipt.ReceiptID = ""
	s.expectError(noReceipt, 1)
	for _, outcome := range []State{"approved", "", StateExpired, StateSuperseded} { // not a decision's
		act := deciding("ses-1", outcome, "id-1")
		s.expectError(act, 1)
		act.Reasons = []selo.Reason{selo.ReasonStale}
		s.expectError(act, 1)
	}
	// Reasons are empty exactly when a session is granted, so an act that says otherwise is none.
	for _, act := range []DecideAct{deciding("ses-1", StateGranted, "id-1"), deciding("ses-1", StateDenied, "id-1"), deciding("ses-1", StateOpen)} {
		if act.Reasons = nil; act.Outcome == StateGranted {
			act.Reasons = []selo.Reason{selo.ReasonStale}
		}
		s.expectError(act, 1)
	}
	twice := deciding("ses-1", StateGranted, "id-1")
	twice.IDs = append(twice.IDs, twice.IDs...)
	s.expectError(twice, 1)
	s.expectDecided(s.decide(deciding("ses-1", StateGranted, "id-1")), StateGranted, 0)
}

// expectError fails unless act is an error and leaves an open session, no used id and this many audit rows.
func (s tested) expectError(act DecideAct, auditRows int) {
	s.t.Helper()
	d, err := s.Decide(s.t.Context(), act)
	if transcript.Error(err) == nil || d != nil {
		s.t.Errorf("deciding: %+v, %v, want an error and nothing else", d, err)
	}
	n := s.session(act.SessionID, noon)
	if got := s.count("audit"); got != auditRows || n.State != StateOpen || n.Attempts != 0 || s.count("consumed_ids") != 0 {
		s.t.Errorf("after an error: %d audit rows, want %d; %d used ids; %+v", got, auditRows, s.count("consumed_ids"), n)
	}
}

// endings bring a session of ana's to each terminal state.
var endings = []struct {
	state State
	end   func(s tested, id string)
}{
	{StateGranted, func(s tested, id string) { s.decide(deciding(id, StateGranted, "ending "+id)) }},
	{StateDenied, func(s tested, id string) { s.decide(deciding(id, StateDenied, "ending "+id)) }},
	{StateExpired, func(s tested, id string) { s.session(id, noon.Add(time.Hour)) }},
	{StateSuperseded, func(s tested, id string) { s.open(opening("after "+id, "ana")) }},
}

// A session that has ended takes no further act, whichever way it ended, and each act on it is recorded.
func endedStaysEnded(s tested) {
	for _, e := range endings {
		id := "ses-" + string(e.state)
		s.open(opening(id, "ana"))
		e.end(s, id)
		ended := s.session(id, noon)
		if ended.State != e.state {
			s.t.Fatalf("%s is %s", id, ended.State)
		}
		used, rows := s.count("consumed_ids"), len(s.trail(id))
		want := []selo.Reason{selo.ReasonSessionNotOpen}
		if e.state == StateExpired {
			want = append(want, selo.ReasonExpired)
		}
		acts := []DecideAct{
			deciding(id, StateGranted, "fresh"), deciding(id, StateGranted, "ending "+id), deciding(id, StateDenied, "fresh"), deciding(id, StateOpen),
			deciding(id, StateGranted, "fresh").at(noon.Add(time.Hour)),
			deciding(id, StateGranted), // nothing is used up, so that this one is no error
		}
		for _, act := range acts {
			s.expectDecided(s.decide(act), e.state, ended.Attempts, want...)
		}
		if diff := cmp.Diff(ended, s.session(id, noon.Add(time.Hour))); diff != "" {
			s.t.Errorf("%s changed (-before +after):\n%s", id, diff)
		}
		if n := s.count("consumed_ids"); n != used {
			s.t.Errorf("%s: acts on an ended session used %d ids up", id, n-used)
		}
		trail := s.trail(id)
		if len(trail) != rows+len(acts) {
			s.t.Errorf("%s: %d audit rows for %d acts", id, len(trail)-rows, len(acts))
		}
		for _, row := range trail[rows:] {
			if row != "respond refused "+joinReasons(want) {
				s.t.Errorf("%s: audit row %q", id, row)
			}
		}
	}
}

// The database keeps terminal states, whatever the program above it believes.
func terminalInRawSQL(s tested) {
	for _, e := range endings {
		id := "ses-" + string(e.state)
		s.open(opening(id, "ana"))
		e.end(s, id)
		for _, set := range []string{
			"state = 'open', ended_at = NULL, receipt_id = ''", "state = 'granted', receipt_id = 'rct'", "attempts = 0",
			"state = state", "respond_by = respond_by + 1", "subject = x'00'",
		} {
			s.expectRefused(`UPDATE sessions SET `+set+` WHERE id = '`+id+`'`, "has ended does not change")
		}
		s.expectRefused(`DELETE FROM sessions WHERE id = '`+id+`'`, "FOREIGN KEY")
	}
	s.open(opening("ses-open", "bruno"))
	s.expectRefused(`UPDATE sessions SET state = 'approved' WHERE id = 'ses-open'`, "CHECK")
	s.expectRefused(`UPDATE sessions SET state = 'denied' WHERE id = 'ses-open'`, "CHECK")                // without an end
	s.expectRefused(`UPDATE sessions SET state = 'granted', ended_at = 1 WHERE id = 'ses-open'`, "CHECK") // without a receipt
	s.expectRefused(`UPDATE sessions SET state = 'denied', ended_at = 1, receipt_id = 'rct' WHERE id = 'ses-open'`, "CHECK")
}

func auditInRawSQL(s tested) {
	s.open(opening("ses-1", "ana"))
	before := s.trail("ses-1")
	s.expectRefused(`UPDATE audit SET outcome = 'denied'`, "never changed")
	s.expectRefused(`UPDATE audit SET id = id + 1`, "never changed")
	s.expectRefused(`DELETE FROM audit`, "never deleted")
	if diff := cmp.Diff(before, s.trail("ses-1")); diff != "" {
		s.t.Errorf("audit rows (-before +after):\n%s", diff)
	}
}

func usedIDsInRawSQL(s tested) {
	s.open(opening("ses-1", "ana"))
	s.decide(deciding("ses-1", StateGranted, "id-1"))
	s.expectRefused(`INSERT INTO consumed_ids SELECT * FROM consumed_ids`, "used once")
	s.expectRefused(`INSERT OR REPLACE INTO consumed_ids SELECT * FROM consumed_ids`, "used once")
	s.expectRefused(`UPDATE consumed_ids SET environment = 'sandbox'`, "stays used")
	s.expectRefused(`DELETE FROM consumed_ids`, "stays used")
	s.expectRefused(`INSERT INTO consumed_ids SELECT provider, environment, 'new field', value, 'ses-nobody-s', 0 FROM consumed_ids`, "FOREIGN KEY")
}

// Bug: REPLACE deletes and inserts without firing the triggers of UPDATE and DELETE, so that it changed
// audit rows and reopened sessions that had ended.
func TestReplaceIsRefused(t *testing.T) {
	t.Parallel()
	s := tested{t, openSQLite(t, newPath(t))}
	s.registerPeppers()
	s.open(opening("ses-1", "ana"))
	s.decide(deciding("ses-1", StateGranted, "id-1"))
	s.expectRefused(`REPLACE INTO audit SELECT * FROM audit`, "never replaced")
	s.expectRefused(`INSERT OR REPLACE INTO audit SELECT * FROM audit`, "never replaced")
	s.expectRefused(`REPLACE INTO sessions SELECT * FROM sessions`, "never replaced")
	s.expectConsistent()
}
