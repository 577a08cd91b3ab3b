package store

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
)

// notes returns "act outcome, note" of the audit rows that events left with a session, or with none, oldest first.
func (s tested) notes(session string) []string {
	s.t.Helper()
	return s.rows(`SELECT outcome || ', ' || note FROM audit WHERE act = 'webhook' AND session_id = '` + session + `' ORDER BY id`)
}

func (s tested) expectNotes(session string, want ...string) {
	s.t.Helper()
	if got := s.notes(session); !slices.Equal(got, want) {
		s.t.Errorf("audit rows of events about %q: %q, want %q", session, got, want)
	}
}

// An event is recorded once in its webhook, by its id and whatever else it says.
func eventOnce(s tested) {
	s.open(opening("ses-1", "ana"))
	s.decide(deciding("ses-1", StateGranted, "id-1"))
	e := happening(plantedEventID, VerdictApproved, "id-1", "id-2")
	s.record(e, true, false, "ses-1")
	before := dump(s.t, s.write)
	s.record(e, false, false)
	changed := happening(plantedEventID, VerdictRefused, "id-1", "id-9")
	changed.Type, changed.At = "another", noon
	s.record(changed, false, false)
	if diff := cmp.Diff(before, dump(s.t, s.write)); diff != "" {
		s.t.Errorf("the same event again (-before +after):\n%s", diff)
	}
	other := e
	other.Webhook = "caf-2"
	s.record(other, true, false, "ses-1")
	for _, id := range []string{plantedEventID + " ", plantedEventID + "\x00", "E" + plantedEventID[1:], ""} {
		s.record(happening(id, VerdictNone), true, false)
	}
	approved := ", event attempt.finished, approved"
	s.expectNotes("ses-1", "evidence, webhook caf"+approved, "evidence, webhook caf-2"+approved)
	got := s.rows(`SELECT webhook || ' ' || lower(hex(event)) || ' ' || type || ' ' || at || ' ' || received_at || ' ' || verdict FROM webhook_events WHERE verdict <> '' ORDER BY webhook`)
	row := fmt.Sprint(" ", hashed(plantedEventID), " attempt.finished ", e.At.UnixMicro(), " ", e.ReceivedAt.UnixMicro(), " approved")
	if diff := cmp.Diff([]string{"caf" + row, "caf-2" + row}, got); diff != "" {
		s.t.Errorf("events (-want +got):\n%s", diff)
	}
}

// An event that nothing is known about is in the trail by itself, and one that is not written is not there at all.
func eventAlone(s tested) {
	s.open(opening("ses-1", "ana")) // open: it used nothing yet
	s.record(happening("evt-1", VerdictNone), true, false)
	s.record(happening("evt-2", VerdictRefused, plantedID), true, false)
	s.expectNotes("", "recorded, webhook caf, event attempt.finished", "recorded, webhook caf, event attempt.finished, refused")
	if got := s.rows(`SELECT DISTINCT caller_kind || ' ' || at || app || product || client_ids || reasons FROM audit WHERE act = 'webhook'`); !slices.Equal(got, []string{fmt.Sprint("provider ", noon.Add(2*time.Minute).UnixMicro())}) {
		s.t.Errorf("audit rows of events: %q", got)
	}
	// Neither an id nor an event is in an error.
	fails := func(e Event) {
		s.t.Helper()
		s.expectNothing(nil, func() error {
			got, err := s.RecordEvent(s.t.Context(), e)
			if got != nil {
				s.t.Errorf("recorded %+v, and an error", got)
			}
			return err
		})
	}
	twice := happening(plantedEventID, VerdictNone, plantedID)
	twice.IDs = append(twice.IDs, twice.IDs...)
	fails(twice)
	fails(happening(plantedEventID, "perhaps", plantedID))
}

// An event belongs to the session that used its id, with what the trail says of that session.
func eventMatches(s tested) {
	s.open(opening("ses-granted", "ana", func(a *OpenAct) { a.Session.Keys = map[string]string{"identity": "client-1", "face": "client-2"} }))
	s.decide(deciding("ses-granted", StateGranted, "id-1", "id-1'"))
	s.open(opening("ses-denied", "bruno"))
	s.decide(deciding("ses-denied", StateDenied, "id-2"))
	s.open(opening("ses-open", "carla", maxAttempts(9)))
	s.decide(deciding("ses-open", StateGranted, "id-1"))  // replayed
	s.decide(deciding("ses-open", StateOpen, "id-other")) // refused: not used

	s.record(happening("evt-1", VerdictApproved, "id-1", "id-1'"), true, false, "ses-granted") // one row for two ids
	s.record(happening("evt-2", VerdictRefused, "id-1"), true, true, "ses-granted")
	s.record(happening("evt-3", VerdictNone, "id-1"), true, false, "ses-granted")
	s.record(happening("evt-4", VerdictRefused, "id-2"), true, false, "ses-denied")
	s.record(happening("evt-5", VerdictApproved, "id-2"), true, false, "ses-denied")
	s.record(happening("evt-6", VerdictRefused, "id-other"), true, false)
	about := "webhook caf, event attempt.finished"
	s.expectNotes("ses-granted", "evidence, "+about+", approved", "contradicts, "+about+", refused", "evidence, "+about)
	s.expectNotes("ses-denied", "evidence, "+about+", refused", "evidence, "+about+", approved")
	s.expectNotes("", "recorded, "+about+", refused")
	s.expectNotes("ses-open")
	// One about two sessions is in the trail of both, and contradicts when it contradicts one.
	both := happening("evt-7", VerdictRefused, "id-2")
	both.IDs = append(both.IDs, selo.UsedID{Provider: "caf", Environment: selo.EnvironmentSandbox, Field: "executionId", Value: "id-1'"})
	s.record(both, true, true, "ses-denied", "ses-granted")
	both.ID = "evt-8"
	slices.Reverse(both.IDs)
	s.record(both, true, true, "ses-granted", "ses-denied")

	got := s.rows(`SELECT DISTINCT app || ' ' || product || ' ' || purpose || ' ' || client_ids || ' ' || subject_issuer || ' ' || pepper_version || ' ' || caller_kind
		FROM audit WHERE act = 'webhook' AND session_id = 'ses-granted' AND subject = (SELECT subject FROM sessions WHERE id = 'ses-granted') AND cpf = (SELECT cpf FROM sessions WHERE id = 'ses-granted')`)
	if want := []string{"app " + faceLiveness + " login face=client-2 identity=client-1 https://id.example 1 provider"}; !slices.Equal(got, want) {
		s.t.Errorf("audit rows of events about a session: %q, want %q", got, want)
	}
	// It decides nothing.
	s.expectStates(map[string]State{"ses-granted": StateGranted, "ses-denied": StateDenied, "ses-open": StateOpen})
}

// An event that is here first is found by the session that uses its id afterwards, and by no other.
func eventBefore(s tested) {
	for i, v := range []Verdict{VerdictRefused, VerdictApproved, VerdictNone} {
		e := happening(fmt.Sprint("evt-", i), v, "id-1", "id-1'")
		e.ReceivedAt = e.ReceivedAt.Add(time.Duration(i) * time.Second)
		s.record(e, true, false)
	}
	about := "webhook caf, event attempt.finished"
	s.open(opening("ses-refused", "ana"))
	s.decide(deciding("ses-refused", StateOpen, "id-1"))
	s.open(opening("ses-other", "bruno"))
	s.decide(deciding("ses-other", StateGranted, "id-other"))
	s.open(opening("ses-1", "ana"))
	s.decide(deciding("ses-1", StateGranted, "id-1", "id-1'"))
	s.expectTrail("ses-1", "open opened", "respond granted", "webhook contradicts", "webhook evidence", "webhook evidence")
	s.expectNotes("ses-1", "contradicts, "+about+", refused", "evidence, "+about+", approved", "evidence, "+about)
	got := s.rows(`SELECT DISTINCT at || ' ' || caller_kind || ' ' || request_id || ' ' || app || ' ' || client_ids FROM audit WHERE act = 'webhook' AND session_id = 'ses-1'`)
	if want := []string{fmt.Sprint(noon.Add(time.Minute).UnixMicro(), " provider req app mobile=client-1")}; !slices.Equal(got, want) {
		s.t.Errorf("audit rows %q, want %q", got, want)
	}
	s.open(opening("ses-replay", "carla"))
	s.decide(deciding("ses-replay", StateGranted, "id-1"))
	for _, session := range []string{"ses-refused", "ses-other", "ses-replay"} {
		s.expectNotes(session)
	}
	// A denial is no contradiction; and what comes later still finds its session.
	s.record(happening("evt-denied", VerdictRefused, "id-2"), true, false)
	s.open(opening("ses-2", "bruno"))
	s.decide(deciding("ses-2", StateDenied, "id-2"))
	s.record(happening("evt-later", VerdictRefused, "id-2"), true, false, "ses-2")
	s.expectNotes("ses-2", "evidence, "+about+", refused", "evidence, "+about+", refused")
}

// Two events are two, also when they say the same, and whether they are here first or afterwards.
// Bug: those that were here first left one row between them.
func eventsAlike(s tested) {
	for _, id := range []string{"evt-1", "evt-2"} {
		s.record(happening(id, VerdictRefused, "id-1"), true, false)
	}
	s.open(opening("ses-1", "ana"))
	s.decide(deciding("ses-1", StateGranted, "id-1"))
	s.record(happening("evt-3", VerdictRefused, "id-1"), true, true, "ses-1")
	same := "contradicts, webhook caf, event attempt.finished, refused"
	s.expectNotes("ses-1", same, same, same)
}

// Events meet sessions within their provider, environment and field, by the exact value.
func eventsApart(s tested) {
	base := selo.UsedID{Provider: "caf", Environment: selo.EnvironmentProduction, Field: "requestId", Value: plantedID}
	other := func(change func(*selo.UsedID)) selo.UsedID { id := base; change(&id); return id }
	ids := []selo.UsedID{
		other(func(id *selo.UsedID) { id.Provider = "other" }),
		other(func(id *selo.UsedID) { id.Environment = selo.EnvironmentSandbox }),
		other(func(id *selo.UsedID) { id.Field = "executionId" }),
		other(func(id *selo.UsedID) { id.Value = "P" + plantedID[1:] }),
		other(func(id *selo.UsedID) { id.Value += " " }),
	}
	all := func(when string) {
		for i, id := range ids {
			e := happening(fmt.Sprint(when, i), VerdictRefused)
			e.IDs = []selo.UsedID{id}
			s.record(e, true, false)
		}
	}
	all("before ")
	s.open(opening("ses-1", "ana"))
	act := deciding("ses-1", StateGranted)
	act.IDs = []selo.UsedID{base}
	s.decide(act)
	all("after ")
	s.expectNotes("ses-1")
	same := happening("the same", VerdictRefused)
	same.IDs = []selo.UsedID{base}
	s.record(same, true, true, "ses-1")
}

func eventsInRawSQL(s tested) {
	s.record(happening("evt-1", VerdictApproved, "id-1"), true, false)
	for _, verb := range []string{"INSERT", "INSERT OR REPLACE", "INSERT OR IGNORE", "REPLACE"} {
		s.expectRefused(verb+` INTO webhook_events SELECT webhook, event, type, at, received_at, 'refused' FROM webhook_events`, "recorded once")
	}
	s.expectRefused(`INSERT INTO webhook_events SELECT 'caf-2', event, type, at, received_at, 'perhaps' FROM webhook_events`, "CHECK")
	s.expectRefused(`INSERT INTO webhook_event_ids SELECT provider, environment, field, value, webhook, x'00' FROM webhook_event_ids`, "FOREIGN KEY")
	s.expectRefused(`INSERT INTO webhook_event_ids SELECT * FROM webhook_event_ids`, "UNIQUE")
	s.expectRefused(`DELETE FROM webhook_events`, "never deleted")
	s.expectRefused(`UPDATE webhook_events SET verdict = 'refused'`, "never changed")
	s.expectRefused(`INSERT INTO session_tokens VALUES ('ses-nobody-s', x'00', 0)`, "FOREIGN KEY")
	// The database drops the token of a session that ends, whoever ends it.
	s.open(opening("ses-1", "ana", withToken))
	s.open(opening("ses-2", "bruno", withToken))
	s.rows(`UPDATE sessions SET max_attempts = 4 WHERE id = 'ses-1'`)
	s.expectPassing("token ses-1", "token ses-2")
	s.rows(`UPDATE sessions SET state = 'expired', ended_at = 1 WHERE id = 'ses-1'`)
	s.expectPassing("token ses-2")
	s.rows(`UPDATE sessions SET state = 'open', ended_at = NULL WHERE id = 'ses-2'`)
	s.expectPassing("token ses-2")
	// As through the store, so that the trail agrees.
	row := opening("ses-1", "ana").Audit
	row.Act, row.Outcome, row.SessionID = "expire", "expired", "ses-1"
	if err := s.Record(s.t.Context(), row); err != nil {
		s.t.Fatal(err)
	}
}
