package store

import (
	"fmt"
	"os"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

func (s tested) explain(session, request string) []Audit {
	s.t.Helper()
	all, err := s.Trail(s.t.Context(), session, request)
	if transcript.Error(err) != nil {
		s.t.Fatal(err)
	}
	return all
}

// The trail of a session or a request is its rows as they were written, oldest first.
func trailExplains(s tested) {
	act := opening("ses-1", "ana", noted("rule 3 of 7"), func(a *OpenAct) {
		a.Session.Keys = map[string]string{"identity": "client=1", "face": "client-2=="}
	})
	s.open(act)
	s.open(opening("ses-other", "bruno"))
	row := Audit{At: noon.Add(time.Second), Act: "read", Outcome: "refused", Reasons: []selo.Reason{selo.ReasonSessionUnknown, selo.ReasonStale},
		SessionID: "ses-1", CallerKind: "service", Service: "backend", App: "app", RequestID: "req 'x'"} // no person, no keys
	if err := s.Record(s.t.Context(), row); err != nil {
		s.t.Fatal(err)
	}
	opened := act.Audit
	opened.Outcome, opened.SessionID, opened.Keys = "opened", "ses-1", act.Session.Keys
	for _, tc := range []struct {
		session, request string
		want             []Audit
	}{
		{"ses-1", "", []Audit{opened, row}}, {"", "req ses-1", []Audit{opened}}, {"", "req 'x'", []Audit{row}},
		{"ses-nobody-s", "", nil}, {"", "ses-1", nil}, {"req ses-1", "", nil},
	} {
		if diff := cmp.Diff(tc.want, s.explain(tc.session, tc.request)); diff != "" {
			s.t.Errorf("trail of %q, %q (-want +got):\n%s", tc.session, tc.request, diff)
		}
	}
	for _, both := range []string{"", "ses-1"} {
		if all, err := s.Trail(s.t.Context(), both, both); transcript.Error(err) == nil || all != nil {
			s.t.Errorf("trail of %q and %q: %v, %v", both, both, all, err)
		}
	}
	for i := range 250 {
		row.Note = fmt.Sprint(i)
		if err := s.Record(s.t.Context(), row); err != nil {
			s.t.Fatal(err)
		}
	}
	all := s.explain("", row.RequestID)
	if len(all) != 200 || all[0].Note != "" || all[99].Note != "98" || all[100].Note != "150" || all[199].Note != "249" {
		s.t.Errorf("%d rows, the last %q, want the first and the last hundred", len(all), all[len(all)-1].Note)
	}
}

// The note of an act is on its own rows, whatever comes of it, and on no other session's.
func notesStay(s tested) {
	s.open(opening("ses-1", "ana", noted("first"), repeatable("k")))
	s.reserve(opening("ses-2", "ana", noted("second")))
	s.openReserved(finishedAt(opening("ses-2", "ana", noted("third")), noon.Add(time.Second)))
	s.open(opening("ses-3", "ana", noted("fourth"), at(time.Hour))) // finds that one expired
	if err := s.tryOpen(opening("ses-x", "ana", noted("fifth"), repeatable("k"), at(time.Hour))); err == nil {
		s.t.Error("a repeat was opened")
	}
	late := opening("ses-4", "bruno", repeatable("k2"))
	s.open(late)
	if err := s.tryOpen(opening("ses-x", "bruno", noted("sixth"), repeatable("k2"), at(time.Hour))); err == nil {
		s.t.Error("a repeat was opened")
	}
	s.open(opening("ses-5", "carla"))
	decided := deciding("ses-5", StateGranted, "id").at(noon.Add(time.Hour))
	decided.Audit.Note = "seventh"
	s.decide(decided)
	reserved := opening("ses-6", "bruno", noted("eighth"))
	s.reserve(reserved)
	s.release(reserved)
	s.expectConflict(opening("ses-x", "bruno", repeatableUnder("k2", "another", 1), noted("ninth")), ErrRepeatConflict)
	want := []string{
		"ses-1 opened first", "ses-2 minting second", "ses-1 superseded", "ses-2 opened third", "ses-2 expired", "ses-3 opened fourth", "ses-1 repeated fifth",
		"ses-4 opened", "ses-4 expired", "ses-4 repeated sixth", "ses-5 opened", "ses-5 expired", "ses-5 refused seventh",
		"ses-6 minting eighth", "ses-6 refused eighth", " refused ninth", " refused ninth",
	}
	if diff := cmp.Diff(want, s.rows(`SELECT rtrim(session_id || ' ' || outcome || ' ' || note) FROM audit ORDER BY id`)); diff != "" {
		s.t.Errorf("notes (-want +got):\n%s", diff)
	}
}

// A session without a CPF is a sign-up, also in raw SQL, and stays what it is.
func signUps(s tested) {
	act := opening("ses-1", "ana", signingUp)
	s.open(act)
	reserved := opening("ses-2", "bruno", signingUp)
	s.reserve(reserved)
	s.openReserved(finishedAt(reserved, noon))
	known := opening("ses-3", "carla", func(a *OpenAct) { a.Session.SignUp = true }) // a sign-up may have one
	s.open(known)
	s.open(opening("ses-4", "ana", at(time.Minute)))
	for id, want := range map[string]Session{"ses-2": reserved.Session, "ses-3": known.Session} {
		if diff := cmp.Diff(&want, s.session(id, noon)); diff != "" {
			s.t.Errorf("session (-opened +read):\n%s", diff)
		}
	}
	s.expectStates(map[string]State{"ses-1": StateSuperseded, "ses-2": StateOpen, "ses-3": StateOpen, "ses-4": StateOpen})
	if n := s.count(`audit WHERE cpf = x''`); n != 4 { // both of the reservation, and of the first its end
		s.t.Errorf("%d audit rows without a CPF, want 4", n)
	}
	s.expectDecided(s.decide(deciding("ses-2", StateGranted, "id-1")), StateGranted, 0)
	s.expectRefused(`INSERT INTO sessions SELECT 'ses-5', app, 'product', purpose, environment, service, subject_issuer, subject, subject_sealed, x'', pepper_version, assurance,
		opened_at, token_expires_at, respond_by, max_attempts, attempts, state, ended_at, reasons, proved, receipt_id, policy_id, 0 FROM sessions WHERE id = 'ses-3'`, "is a sign-up")
	for _, change := range []string{`cpf = x''`, `sign_up = 1`, `cpf = x'01'`} {
		s.expectRefused(`UPDATE sessions SET `+change+` WHERE id = 'ses-4'`, "does not change")
	}
}

func statsCount(s tested) {
	stats := func() Stats {
		s.t.Helper()
		n, err := s.Stats(s.t.Context())
		if transcript.Error(err) != nil {
			s.t.Fatal(err)
		}
		return n
	}
	before := stats()
	if before.OpenSessions != 0 || before.DatabaseBytes < 4096 {
		s.t.Errorf("new: %+v", before)
	}
	for i := range 50 {
		s.open(opening(fmt.Sprint("ses-", i), fmt.Sprint("subject ", i)))
	}
	s.decide(deciding("ses-0", StateGranted, "id"))
	s.session("ses-1", noon.Add(time.Hour)) // expired
	s.reserve(opening("ses-x", "ana"))
	if n := stats(); n.OpenSessions != 48 || n.DatabaseBytes <= before.DatabaseBytes {
		s.t.Errorf("%+v, want 48 open sessions and more than %d bytes", n, before.DatabaseBytes)
	}
	if _, err := s.write.ExecContext(s.t.Context(), `PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		s.t.Fatal(err)
	}
	if info, err := os.Stat(s.path); err != nil || stats().DatabaseBytes != info.Size() {
		s.t.Errorf("%+v, the file %v, %v", stats(), info, err)
	}
}
