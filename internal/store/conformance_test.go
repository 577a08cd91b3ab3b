package store

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

func TestSQLite(t *testing.T) {
	conformance(t, func(t *testing.T) *Store { return openSQLite(t, newPath(t)) })
}

// conformance holds an engine against everything that the documentation of Store promises. open returns a
// new, empty store. The tests look behind the methods through SQL that every engine speaks.
func conformance(t *testing.T, open func(*testing.T) *Store) {
	for _, tc := range []struct {
		name string
		test func(tested)
	}{
		{"peppers are known again", peppersKnownAgain},
		{"session comes back as it was opened", sessionComesBack},
		{"opening is all or nothing", openingAllOrNothing},
		{"opening supersedes", openingSupersedes},
		{"opening supersedes under every pepper", openingSupersedesAcrossPeppers},
		{"opening records what had expired as expired", openingExpires},
		{"limit", limitAtItsEdge},
		{"limit across products and peppers", limitAcross},
		{"refusal by the limit is recorded", limitRecorded},
		{"limit of a CPF", limitOfCPF},
		{"limit of a product", limitOfProduct},
		{"limit of a service", limitOfService},
		{"limit of a day", limitOfDay},
		{"limit of open sessions", limitOfOpen},
		{"limit of open sessions and slow reservations", limitOfOpenAndSlowReservations},
		{"several limits", severalLimits},
		{"buckets pass", bucketsPass},
		{"release takes off", releaseTakesOff},
		{"limits that limit nothing", limitsThatLimitNothing},
		{"limits use indexes", limitsUseIndexes},
		{"expiry", expiryAtItsEdge},
		{"clock that goes back", clockGoesBack},
		{"record", recordWritesOneRow},
		{"unauthenticated refusals", unauthenticatedRefusals},
		{"ready", readyWritesNothing},

		{"grant", grantEnds},
		{"denial", denialEnds},
		{"attempts", attemptsRunOut},
		{"refusal consumes nothing", refusalConsumesNothing},
		{"replay", replayAcrossSessions},
		{"replay within other bounds", idsApart},
		{"one used id of several", oneUsedOfSeveral},
		{"replay on the last attempt", replayOnLastAttempt},
		{"decision without ids", decisionWithoutIDs},
		{"decision that cannot be written", decisionNotWritten},
		{"session that has ended", endedStaysEnded},
		{"terminal states in raw SQL", terminalInRawSQL},
		{"audit rows in raw SQL", auditInRawSQL},
		{"used ids in raw SQL", usedIDsInRawSQL},

		{"reservation opens", reservationOpens},
		{"not reserved", notReserved},
		{"reserving is all or nothing", reservationAllOrNothing},
		{"reservation counts", reservationCounts},
		{"reservation across peppers", reservationAcrossPeppers},
		{"reservation supersedes when it opens", reservationSupersedesLate},
		{"reservations cross", reservationsCross},
		{"sealed tokens end with their session", sealedTokensEnd},
		{"sealed tokens are apart", sealedTokensApart},
		{"repeats are answered", repeatsAnswered},
		{"repeat of what has run out", repeatExpires},
		{"refused request has no key", refusedHasNoKey},
		{"repeat of a reservation", repeatOfReservation},
		{"key is forgotten", keyForgotten},
		{"repeat across peppers", repeatAcrossPeppers},
		{"sweep at its times", sweepAtItsTimes},
		{"swept reservation", sweptReservation},
		{"nothing to sweep", sweepNothing},
		{"swept token ends its session", sweptTokenEndsItsSession},

		{"event once", eventOnce},
		{"event by itself", eventAlone},
		{"event meets its session", eventMatches},
		{"event before its session", eventBefore},
		{"events alike", eventsAlike},
		{"events within other bounds", eventsApart},
		{"events and sealed tokens in raw SQL", eventsInRawSQL},

		{"credential life", credentialLife},
		{"credential conflicts", credentialConflicts},
		{"credentials in raw SQL", credentialsInRawSQL},
		{"trail explains", trailExplains},
		{"notes stay", notesStay},
		{"sign-ups", signUps},
		{"stats count", statsCount},

		{"key life", keyLife},
		{"key states", keyStates},
		{"key conflicts", keyConflicts},
		{"keys in raw SQL", keysInRawSQL},
		{"keys rewrap", keysRewrap},
		{"peppers sealed", peppersSealed},
		{"blast radius", blastRadius},

		{"many add credentials", manyAddCredentials},
		{"many change keys", manyChangeKeys},
		{"many decide one session", manyDecideOne},
		{"many sessions, one id", manySessionsOneID},
		{"many sessions, ids in two orders", manySessionsTwoOrders},
		{"many open for one subject", manyOpenOneSubject},
		{"many meet every limit", manyMeetEveryLimit},
		{"many see one expire", manySeeOneExpire},
		{"many reserve for one subject", manyReserveOneSubject},
		{"many open one reservation", manyOpenOneReservation},
		{"many open with one key", manyOpenOneKey},
		{"many reserve with one key", manyReserveOneKey},
		{"many record one event", manyRecordOneEvent},
		{"events meet responses", eventsMeetResponses},
		{"everything at once", everythingAtOnce},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := tested{t, open(t)}
			s.registerPeppers()
			tc.test(s)
			s.expectConsistent()
		})
	}
}

func peppersKnownAgain(s tested) {
	s.registerPeppers() // as at every start
	err := s.RegisterPepper(s.t.Context(), 1, pseudonym(2, "fingerprint", ""))
	if !errors.Is(transcript.Error(err), ErrPepperChanged) {
		s.t.Errorf("another pepper under version 1: %v, want ErrPepperChanged", err)
	}
	if n := s.count("peppers"); n != 2 {
		s.t.Errorf("%d peppers stored, want 2", n)
	}
	s.registerPeppers() // the refused one changed nothing
}

func sessionComesBack(s tested) {
	act := opening(`ses-'"; %_`, "ana", func(a *OpenAct) {
		a.Session.Service = "the backend"
		a.Session.Keys = map[string]string{"identity": "client=1", "face": "client-2=="} // base64 ends in =
		a.Session.Assurance = selo.AssuranceMatch
		a.Session.Purpose = "transferência 'já'"
	})
	act.Session.OpenedAt = act.Session.OpenedAt.Add(123456 * time.Microsecond) // kept to the microsecond
	s.open(act)
	if diff := cmp.Diff(&act.Session, s.session(act.Session.ID, noon)); diff != "" {
		s.t.Errorf("session (-opened +read):\n%s", diff)
	}
	if got := s.rows(`SELECT client_ids FROM audit`); !cmp.Equal(got, []string{"face=client-2== identity=client=1"}) {
		s.t.Errorf("client ids in the trail: %q", got)
	}
	_, err := s.Session(s.t.Context(), "ses-nobody-s", noon)
	expectNotFound(s.t, err)
	_, err = s.Decide(s.t.Context(), deciding("ses-nobody-s", StateGranted, "id"))
	expectNotFound(s.t, err)
	if n := s.count("consumed_ids"); n != 0 {
		s.t.Errorf("deciding a session that is not there used %d ids up", n)
	}
}

// A session that exists is never overwritten, and the failed act superseded nothing on its way.
func openingAllOrNothing(s tested) {
	s.open(opening("ses-1", "ana"))
	s.open(opening("ses-2", "bruno"))
	before := s.count("audit")
	err := s.tryOpen(opening("ses-1", "bruno"))
	if transcript.Error(err) == nil {
		s.t.Error("a session was opened under an id in use")
	}
	noPepper := opening("ses-3", "bruno")
	noPepper.Session.Person.PepperVersion = 9
	if transcript.Error(s.tryOpen(noPepper)) == nil {
		s.t.Error("a session was opened under a pepper that was never registered")
	}
	s.expectStates(map[string]State{"ses-1": StateOpen, "ses-2": StateOpen})
	if n := s.count("audit"); n != before {
		s.t.Errorf("failed openings left %d audit rows", n-before)
	}
}

func openingSupersedes(s tested) {
	s.open(opening("ses-other-product", "ana", forProduct(faceAuthentication)))
	s.open(opening("ses-other-subject", "bruno"))
	s.open(opening("ses-other-app", "ana", inApp("app-2")))
	s.open(opening("ses-granted", "ana"))
	s.decide(deciding("ses-granted", StateGranted, "id-1"))
	s.open(opening("ses-earlier", "ana"))

	later := noon.Add(2 * time.Minute)
	s.open(opening("ses-later", "ana", openedAt(later)))
	s.expectStates(map[string]State{
		"ses-other-product": StateOpen, "ses-other-subject": StateOpen, "ses-other-app": StateOpen, "ses-granted": StateGranted,
		"ses-earlier": StateSuperseded, "ses-later": StateOpen,
	})
	s.expectTrail("ses-earlier", "open opened", "supersede superseded")
	s.expectTrail("ses-later", "open opened")
	if got := s.session("ses-earlier", later); !got.EndedAt.Equal(later) {
		s.t.Errorf("superseded at %v, want %v", got.EndedAt, later)
	}
	d := s.decide(deciding("ses-earlier", StateGranted, "id-2").at(later))
	s.expectDecided(d, StateSuperseded, 0, selo.ReasonSessionNotOpen)
	if n := s.count("consumed_ids"); n != 1 {
		s.t.Errorf("%d used ids, want 1: a superseded session uses none up", n)
	}
	// The row says which session and whose keys, and who asked for the one that took its place.
	got := s.rows(`SELECT request_id || ', ' || client_ids || ', ' || product FROM audit WHERE act = 'supersede'`)
	if !cmp.Equal(got, []string{"req ses-later, mobile=client-1, " + faceLiveness}) {
		s.t.Errorf("audit row of superseding: %q", got)
	}
}

// While two peppers are live, a subject has a pseudonym under each: neither hides an earlier session.
func openingSupersedesAcrossPeppers(s tested) {
	s.open(opening("ses-old-pepper", "ana"))
	newPepper := func(a *OpenAct) {
		a.Session.Person.Subject, a.Session.Person.PepperVersion = pseudonym(2, "subject", "ana"), 2
		a.Subjects = [][]byte{pseudonym(1, "subject", "ana"), pseudonym(2, "subject", "ana")}
	}
	s.open(opening("ses-new-pepper", "ana", newPepper))
	s.expectStates(map[string]State{"ses-old-pepper": StateSuperseded, "ses-new-pepper": StateOpen})
	s.open(opening("ses-newer", "ana", newPepper))
	s.open(opening("ses-bruno", "bruno"))
	s.expectStates(map[string]State{
		"ses-old-pepper": StateSuperseded, "ses-new-pepper": StateSuperseded, "ses-newer": StateOpen, "ses-bruno": StateOpen,
	})
	// Programs that know one pepper each, as while a new one is rolled out, leave a session open under each.
	only := func(version int) func(*OpenAct) {
		return func(a *OpenAct) {
			a.Session.Person.Subject, a.Session.Person.PepperVersion = pseudonym(version, "subject", "carla"), version
			a.Subjects = [][]byte{a.Session.Person.Subject}
		}
	}
	s.open(opening("ses-only-1", "carla", only(1)))
	s.open(opening("ses-only-2", "carla", only(2)))
	s.open(opening("ses-both", "carla", only(2), func(a *OpenAct) {
		a.Subjects = [][]byte{pseudonym(1, "subject", "carla"), pseudonym(2, "subject", "carla")}
	}))
	for _, id := range []string{"ses-only-1", "ses-only-2"} {
		s.expectTrail(id, "open opened", "supersede superseded")
	}
	if got := s.session("ses-newer", noon).Person.PepperVersion; got != 2 {
		s.t.Errorf("pepper version %d, want 2", got)
	}
}

func openingExpires(s tested) {
	s.open(opening("ses-late", "ana"))
	s.open(opening("ses-next", "ana", openedAt(noon.Add(10*time.Minute))))
	s.expectStates(map[string]State{"ses-late": StateExpired, "ses-next": StateOpen})
	s.expectTrail("ses-late", "open opened", "expire expired")
	s.open(opening("ses-last", "ana", openedAt(noon.Add(20*time.Minute-time.Microsecond))))
	s.expectStates(map[string]State{"ses-late": StateExpired, "ses-next": StateSuperseded, "ses-last": StateOpen})
}

func limitAtItsEdge(s tested) {
	const window = time.Hour
	for i := range 3 {
		s.open(opening(fmt.Sprint("ses-", i), "ana", openedAt(noon.Add(time.Duration(i)*time.Minute)), limited(3, window)))
	}
	refused := func(id string, at time.Time, want time.Duration) {
		s.t.Helper()
		var limit *LimitError
		err := s.tryOpen(opening(id, "ana", openedAt(at), limited(3, window)))
		if !errors.As(transcript.Error(err), &limit) || limit.RetryAfter != want {
			s.t.Errorf("%s: %v (%+v), want a limit error with retry after %v", id, err, limit, want)
		}
	}
	refused("ses-x1", noon.Add(30*time.Minute), 30*time.Minute)
	refused("ses-x2", noon.Add(window-time.Microsecond), time.Microsecond)
	s.open(opening("ses-bruno", "bruno", limited(3, window)))               // somebody else's limit
	s.open(opening("ses-app-2", "ana", inApp("app-2"), limited(1, window))) // another app's
	// Exactly RetryAfter later there is room for one, and only one.
	s.open(opening("ses-3", "ana", openedAt(noon.Add(window)), limited(3, window)))
	refused("ses-x3", noon.Add(window), time.Minute)
	// A clock that goes back makes no room.
	refused("ses-x4", noon.Add(-window), 2*window+time.Minute)
	// With a limit that was lowered, the wait is until enough of them have left.
	var limit *LimitError
	err := s.tryOpen(opening("ses-x5", "ana", openedAt(noon.Add(window)), limited(1, window)))
	if !errors.As(err, &limit) || limit.RetryAfter != window {
		s.t.Errorf("lowered limit: %v, want retry after %v", err, window)
	}
	s.open(opening("ses-4", "ana", openedAt(noon.Add(window)))) // no limit
}

func limitAcross(s tested) {
	s.open(opening("ses-1", "ana", limited(2, time.Hour)))
	s.open(opening("ses-2", "ana", forProduct(faceAuthentication), limited(2, time.Hour)))
	act := opening("ses-3", "ana", limited(2, time.Hour), func(a *OpenAct) {
		a.Session.Person.Subject, a.Session.Person.PepperVersion = pseudonym(2, "subject", "ana"), 2
		a.Subjects = [][]byte{pseudonym(1, "subject", "ana"), pseudonym(2, "subject", "ana")}
	})
	var limit *LimitError
	if err := s.tryOpen(act); !errors.As(err, &limit) {
		s.t.Errorf("third session under a new pepper: %v, want a limit error", err)
	}
}

// A refused opening leaves its audit row and nothing else: above all it supersedes nothing.
func limitRecorded(s tested) {
	s.open(opening("ses-1", "ana", limited(1, time.Hour)))
	var limit *LimitError
	act := opening("ses-2", "ana", limited(1, time.Hour))
	if err := s.tryOpen(act); !errors.As(err, &limit) {
		s.t.Fatalf("error %v, want a limit error", err)
	}
	s.expectStates(map[string]State{"ses-1": StateOpen})
	s.expectTrail("", "open refused rate_limited")
	if n := s.count("session_keys"); n != 1 {
		s.t.Errorf("%d session keys, want 1", n)
	}
	if got := s.rows(`SELECT request_id FROM audit WHERE outcome = 'refused'`); !cmp.Equal(got, []string{"req ses-2"}) {
		s.t.Errorf("request ids %q", got)
	}
}

func expiryAtItsEdge(s tested) {
	s.open(opening("ses-1", "ana"))
	respondBy := noon.Add(10 * time.Minute)
	if got := s.session("ses-1", respondBy.Add(-time.Microsecond)); got.State != StateOpen || !got.EndedAt.IsZero() {
		s.t.Errorf("before respond_by: %s, ended %v", got.State, got.EndedAt)
	}
	s.expectTrail("ses-1", "open opened") // reading wrote nothing
	got := s.session("ses-1", respondBy)
	if got.State != StateExpired || !got.EndedAt.Equal(respondBy) {
		s.t.Errorf("at respond_by: %s, ended %v", got.State, got.EndedAt)
	}
	if diff := cmp.Diff(got, s.session("ses-1", respondBy.Add(time.Hour))); diff != "" {
		s.t.Errorf("read again (-first +second):\n%s", diff)
	}
	s.expectTrail("ses-1", "open opened", "expire expired")
	if got := s.rows(`SELECT caller_kind || ' ' || client_ids FROM audit WHERE act = 'expire'`); !cmp.Equal(got, []string{"selo mobile=client-1"}) {
		s.t.Errorf("expiry by %q, want selo itself", got)
	}

	// Deciding notices too, without a read before it: the session expires, and the response is refused.
	s.open(opening("ses-2", "bruno"))
	d := s.decide(deciding("ses-2", StateGranted, "id").at(respondBy))
	s.expectDecided(d, StateExpired, 0, selo.ReasonSessionNotOpen, selo.ReasonExpired)
	s.expectTrail("ses-2", "open opened", "expire expired", "respond refused session_not_open expired")
	s.open(opening("ses-3", "carla"))
	d = s.decide(deciding("ses-3", StateGranted, "id").at(respondBy.Add(-time.Microsecond)))
	s.expectDecided(d, StateGranted, 0)
}

func clockGoesBack(s tested) {
	s.open(opening("ses-1", "ana"))
	s.session("ses-1", noon.Add(time.Hour))
	if got := s.session("ses-1", noon); got.State != StateExpired {
		s.t.Errorf("read by an earlier clock: %s, want expired", got.State)
	}
	d := s.decide(deciding("ses-1", StateGranted, "id"))
	s.expectDecided(d, StateExpired, 0, selo.ReasonSessionNotOpen, selo.ReasonExpired)

	s.open(opening("ses-2", "bruno"))
	s.decide(deciding("ses-2", StateOpen).at(noon.Add(time.Hour))) // finds it expired
	d = s.decide(deciding("ses-2", StateGranted, "id"))
	s.expectDecided(d, StateExpired, 0, selo.ReasonSessionNotOpen, selo.ReasonExpired)

	s.open(opening("ses-3", "carla", openedAt(noon.Add(time.Hour))))
	s.open(opening("ses-4", "carla"))
	s.expectStates(map[string]State{"ses-1": StateExpired, "ses-2": StateExpired, "ses-3": StateSuperseded, "ses-4": StateOpen})
}

func recordWritesOneRow(s tested) {
	row := Audit{At: noon, Act: "read", Outcome: "refused", Reasons: []selo.Reason{selo.ReasonSessionUnknown, selo.ReasonStale},
		SessionID: "(unknown)", CallerKind: "service", Service: "backend", App: "app", RequestID: "req-1"} // no person, no keys
	if err := s.Record(s.t.Context(), row); transcript.Error(err) != nil {
		s.t.Fatal(err)
	}
	want := []string{"read refused session_unknown stale, service backend app req-1"}
	got := s.rows(`SELECT act || ' ' || outcome || ' ' || reasons || ', ' || caller_kind || ' ' || service || ' ' || app || ' ' || request_id FROM audit`)
	if !cmp.Equal(got, want) {
		s.t.Errorf("rows %q, want %q", got, want)
	}
}

// Whatever the flood, there is one row for a reason and a minute.
func unauthenticatedRefusals(s tested) {
	for _, c := range []struct {
		at     time.Time
		reason selo.Reason
		n      int
	}{
		{noon, selo.ReasonCallerUnauthenticated, 1}, {noon.Add(59 * time.Second), selo.ReasonCallerUnauthenticated, 1000},
		{noon, selo.ReasonTooLarge, 5}, {noon.Add(time.Minute), selo.ReasonCallerUnauthenticated, 7},
	} {
		if err := s.CountUnauthenticated(s.t.Context(), c.at, c.reason, c.n); transcript.Error(err) != nil {
			s.t.Fatal(err)
		}
	}
	minute := noon.Unix() / 60
	want := []string{fmt.Sprint(minute, " caller_unauthenticated 1001"), fmt.Sprint(minute, " too_large 5"), fmt.Sprint(minute+1, " caller_unauthenticated 7")}
	if got := s.rows(`SELECT minute || ' ' || reason || ' ' || count FROM unauthenticated_refusals ORDER BY minute, reason`); !cmp.Equal(got, want) {
		s.t.Errorf("counts %q, want %q", got, want)
	}
	if n := s.count("audit"); n != 0 {
		s.t.Errorf("%d audit rows, want none", n)
	}
}

func readyWritesNothing(s tested) {
	if err := s.Ready(s.t.Context()); transcript.Error(err) != nil {
		s.t.Error(err)
	}
	if n := s.count("audit"); n != 0 {
		s.t.Errorf("%d audit rows, want none", n)
	}
}
