package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo/internal/transcript"
)

// refusedBy fails unless opening and reserving are both refused by that limit with that wait, and leave an audit row
// each that says so and nothing else.
func (s tested) refusedBy(act OpenAct, l Limit, wait time.Duration) {
	s.t.Helper()
	for _, open := range []func(OpenAct) error{s.tryOpen, s.tryReserve} {
		before, others := s.count("audit"), s.everythingBut("audit", "sqlite_sequence")
		var got *LimitError
		if err := open(act); !errors.As(transcript.Error(err), &got) || *got != (LimitError{l, wait}) || !strings.Contains(err.Error(), l.String()) {
			s.t.Errorf("%s: %v (%+v), want to be refused by %v for %v", act.Session.ID, err, got, l, wait)
			continue
		}
		want := strings.TrimPrefix(act.Audit.Note+"; limit "+l.String(), "; ")
		row, note := s.lastRow(), s.rows(`SELECT note FROM audit ORDER BY id DESC LIMIT 1`)[0]
		if row != "open refused rate_limited, , "+act.Audit.RequestID || note != want || s.count("audit") != before+1 {
			s.t.Errorf("%s: audit row %q with note %q, want one with note %q", act.Session.ID, row, note, want)
		}
		if diff := cmp.Diff(others, s.everythingBut("audit", "sqlite_sequence")); diff != "" {
			s.t.Errorf("%s: a refusal left something (-before +after):\n%s", act.Session.ID, diff)
		}
	}
}

// used opens a session and fails unless the use of its limits is this.
func (s tested) used(act OpenAct, want ...Usage) {
	s.t.Helper()
	got, err := s.Open(s.t.Context(), act)
	if transcript.Error(err) != nil {
		s.t.Fatalf("opening %s: %v", act.Session.ID, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("opening %s: use of limits (-want +got):\n%s", act.Session.ID, diff)
	}
}

func at(after time.Duration) func(*OpenAct) { return openedAt(noon.Add(after)) }

// The sessions of a CPF count, whoever asked for them, in whatever app, under whatever pepper; in one environment.
func limitOfCPF(s tested) {
	l := Limit{LimitCPF, 3, time.Hour}
	s.used(opening("ses-1", "", withCPF(1, "ana"), limits(l)), Usage{l, 1, time.Hour})
	s.open(opening("ses-2", "", withCPF(2, "ana"), inApp("app-2"), byService("backend"), forProduct(faceAuthentication), at(time.Minute))) // under no such limit
	s.reserve(opening("ses-3", "", withCPF(1, "ana"), at(2*time.Minute), limits(l)))
	for version := 1; version <= 2; version++ {
		s.refusedBy(opening("ses-x", "", withCPF(version, "ana"), inApp("app-3"), at(10*time.Minute), limits(l)), l, 50*time.Minute)
	}
	s.refusedBy(opening("ses-x", "", withCPF(1, "ana"), at(time.Hour-time.Microsecond), limits(l), repeatable("k")), l, time.Microsecond)
	s.refusedBy(opening("ses-x", "", withCPF(1, "ana"), at(-time.Hour), limits(l)), l, 2*time.Hour) // a clock that goes back
	for name, change := range map[string]func(*OpenAct){"production": inProduction, "bruno": withCPF(1, "bruno"), "nobody": signingUp} {
		act := opening("ses-"+name, "", withCPF(1, "ana"), change, limits(l))
		if name == "nobody" {
			s.used(act) // without a CPF it does not apply
			continue
		}
		s.used(act, Usage{l, 1, time.Hour})
	}
	s.used(opening("ses-4", "", withCPF(2, "ana"), at(time.Hour), limits(l)), Usage{l, 3, time.Minute})
	// Under only one pepper the others are not found, as for a subject.
	one := opening("ses-5", "", withCPF(2, "ana"), at(time.Hour), limits(l))
	one.CPFs = one.CPFs[1:]
	s.used(one, Usage{l, 3, time.Minute})
}

// A limit by product is of an app and its product, counted in sixtieths of the window of which the oldest counts whole.
func limitOfProduct(s tested) {
	l := Limit{LimitProduct, 2, time.Hour}
	s.used(opening("ses-1", "ana", at(30*time.Second), limits(l)), Usage{l, 1, time.Hour + 30*time.Second})
	s.used(opening("ses-2", "bruno", at(70*time.Second), limits(l)), Usage{l, 2, time.Hour - 10*time.Second})
	s.used(opening("ses-app", "ana", at(70*time.Second), inApp("app-2"), limits(l)), Usage{l, 1, time.Hour + 50*time.Second})
	s.used(opening("ses-product", "ana", at(70*time.Second), forProduct(faceAuthentication), limits(l)), Usage{l, 1, time.Hour + 50*time.Second})
	s.refusedBy(opening("ses-x", "carla", at(10*time.Minute), limits(l)), l, 51*time.Minute)
	s.refusedBy(opening("ses-x", "carla", at(time.Hour+time.Minute-time.Microsecond), limits(l)), l, time.Microsecond) // up to a bucket longer than it must
	s.used(opening("ses-3", "carla", at(time.Hour+time.Minute), limits(l)), Usage{l, 2, time.Minute})
	lowered := Limit{LimitProduct, 1, time.Hour}
	s.refusedBy(opening("ses-x", "carla", at(time.Hour+time.Minute), limits(lowered)), lowered, time.Hour+time.Minute)
	none := Limit{LimitProduct, 0, time.Hour}
	s.refusedBy(opening("ses-x", "carla", inApp("app-9"), limits(none)), none, time.Hour)
	// Buckets are no shorter than a second.
	short := Limit{LimitProduct, 1, 10 * time.Second}
	s.used(opening("ses-4", "ana", inApp("app-3"), at(500*time.Millisecond), limits(short)), Usage{short, 1, 10*time.Second + 500*time.Millisecond})
	s.refusedBy(opening("ses-x", "ana", inApp("app-3"), at(11*time.Second-time.Microsecond), limits(short)), short, time.Microsecond)
	s.used(opening("ses-5", "ana", inApp("app-3"), at(11*time.Second), limits(short)), Usage{short, 1, 11 * time.Second})
}

// A limit of a service counts what it opened, in whatever app, and nobody else.
func limitOfService(s tested) {
	l := Limit{LimitService, 2, time.Minute}
	s.used(opening("ses-user", "ana", limits(l))) // end users have none
	s.used(opening("ses-1", "ana", byService("backend"), limits(l)), Usage{l, 1, time.Minute + time.Second})
	s.reserve(opening("ses-2", "bruno", byService("backend"), inApp("app-2"), forProduct(faceAuthentication), limits(l), at(5*time.Second)))
	s.refusedBy(opening("ses-x", "carla", byService("backend"), limits(l), at(10*time.Second)), l, 51*time.Second)
	s.used(opening("ses-3", "carla", byService("other"), limits(l)), Usage{l, 1, time.Minute + time.Second})
	s.used(opening("ses-4", "ana", limits(l)))
	s.used(opening("ses-5", "carla", byService("backend"), limits(l), at(61*time.Second)), Usage{l, 2, 5 * time.Second})
}

// A daily limit is over all apps of an environment, in any 24 hours and not in those of a calendar.
func limitOfDay(s tested) {
	l := Limit{LimitDaily, 2, 24 * time.Hour}
	s.used(opening("ses-1", "ana", limits(l)), Usage{l, 1, 24*time.Hour + 24*time.Minute})
	s.used(opening("ses-2", "bruno", inApp("app-2"), byService("backend"), limits(l), at(13*time.Hour)), Usage{l, 2, 11*time.Hour + 24*time.Minute})
	s.used(opening("ses-production", "ana", inProduction, limits(l)), Usage{l, 1, 24*time.Hour + 24*time.Minute})
	s.used(opening("ses-product", "ana", forProduct(faceAuthentication), limits(l)), Usage{l, 1, 24*time.Hour + 24*time.Minute})
	s.refusedBy(opening("ses-x", "carla", inApp("app-3"), limits(l), at(14*time.Hour)), l, 10*time.Hour+24*time.Minute)
	s.open(opening("ses-3", "carla", limits(l), at(24*time.Hour+24*time.Minute)))
}

// As many products as the limit may have an open session at a time, and the next one for the same product takes the
// place of the one before.
func limitOfOpen(s tested) {
	l := Limit{By: LimitOpen, Sessions: 2}
	const selfie, third = "caf/document-detection", "caf/smart-auth"
	s.used(opening("ses-1", "ana", limits(l)), Usage{l, 1, 10 * time.Minute})
	s.used(opening("ses-2", "ana", limits(l), at(time.Minute)), Usage{l, 1, 10 * time.Minute}) // in its place
	s.used(opening("ses-3", "ana", limits(l), at(2*time.Minute), forProduct(faceAuthentication)), Usage{l, 2, 9 * time.Minute})
	s.refusedBy(opening("ses-x", "ana", limits(l), at(3*time.Minute), forProduct(selfie)), l, 8*time.Minute)
	s.open(opening("ses-bruno", "bruno", limits(l), at(3*time.Minute), forProduct(selfie)))
	s.open(opening("ses-app", "ana", limits(l), at(3*time.Minute), inApp("app-2"), forProduct(selfie)))
	s.refusedBy(opening("ses-x", "ana", limits(l), at(11*time.Minute-time.Microsecond), forProduct(selfie)), l, time.Microsecond)
	s.decide(deciding("ses-3", StateGranted, "id-1").at(noon.Add(4 * time.Minute))) // ended
	reserved := opening("ses-released", "ana", limits(l), at(5*time.Minute), forProduct(selfie))
	s.reserve(reserved)
	s.refusedBy(opening("ses-x", "ana", limits(l), at(5*time.Minute), forProduct(third)), l, time.Minute)
	s.release(reserved)
	reserved = opening("ses-4", "ana", limits(l), at(5*time.Minute), forProduct(selfie))
	s.reserve(reserved)
	s.openReserved(finishedAt(reserved, noon.Add(5*time.Minute+time.Second)))
	s.refusedBy(opening("ses-x", "ana", limits(l), at(6*time.Minute), forProduct(third)), l, 5*time.Minute)
	// Past its respond_by it is not open, recorded or not.
	s.used(opening("ses-5", "ana", limits(l), at(11*time.Minute), forProduct(third)), Usage{l, 2, 4 * time.Minute})
	none := Limit{By: LimitOpen}
	s.refusedBy(opening("ses-x", "carla", limits(none)), none, time.Minute)

	// Under another pepper it is the same subject.
	both := func(version int) func(*OpenAct) {
		return func(a *OpenAct) {
			a.Subjects = [][]byte{pseudonym(1, "subject", "carla"), pseudonym(2, "subject", "carla")}
			a.Session.Person.Subject, a.Session.Person.PepperVersion = a.Subjects[version-1], version
		}
	}
	one := Limit{By: LimitOpen, Sessions: 1}
	s.open(opening("ses-6", "carla", both(1), limits(one)))
	s.refusedBy(opening("ses-x", "carla", both(2), forProduct(selfie), limits(one)), one, 10*time.Minute)
	s.open(opening("ses-7", "carla", both(2), limits(one)))
}

// A reservation holds its place for the minute in which its process must have died or opened. One that was slow opens
// all the same, unless others have its place.
func limitOfOpenAndSlowReservations(s tested) {
	l := Limit{By: LimitOpen, Sessions: 1}
	for _, who := range []string{"ana", "bruno"} {
		slow := opening("ses-slow-"+who, who, limits(l))
		s.reserve(slow)
		s.refusedBy(opening("ses-x", who, limits(l), forProduct(faceAuthentication), at(time.Minute-time.Microsecond)), l, time.Microsecond)
		s.refusedBy(opening("ses-x", who, limits(l), forProduct(faceAuthentication), at(-time.Hour)), l, 61*time.Minute)
		if who == "ana" {
			s.open(opening("ses-taken", who, limits(l), forProduct(faceAuthentication), at(time.Minute)))
			s.expectNothing(ErrNotReserved, func() error { return s.OpenReserved(s.t.Context(), finishedAt(slow, noon.Add(time.Minute))) })
			s.release(slow)
			continue
		}
		s.openReserved(finishedAt(slow, noon.Add(time.Minute)))
	}
	s.expectStates(map[string]State{"ses-taken": StateOpen, "ses-slow-bruno": StateOpen})
}

// All limits must have room; the refusal names the one that has none for the longest, and none of them counts it.
func severalLimits(s tested) {
	hour, day := Limit{LimitSubject, 2, time.Hour}, Limit{LimitSubject, 3, 24 * time.Hour}
	minutes, hours := Limit{LimitProduct, 9, time.Minute}, Limit{LimitProduct, 4, 30 * time.Second} // of one series: seconds
	all := limits(hour, minutes, day, hours)
	s.used(opening("ses-1", "ana", all), Usage{hour, 1, time.Hour}, Usage{minutes, 1, 61 * time.Second}, Usage{day, 1, 24 * time.Hour}, Usage{hours, 1, 31 * time.Second})
	s.used(opening("ses-2", "ana", all), Usage{hour, 2, time.Hour}, Usage{minutes, 2, 61 * time.Second}, Usage{day, 2, 24 * time.Hour}, Usage{hours, 2, 31 * time.Second})
	s.refusedBy(opening("ses-x", "ana", all, at(time.Minute), noted("rule 7")), hour, 59*time.Minute)
	s.used(opening("ses-3", "ana", all, at(time.Hour)), Usage{hour, 1, time.Hour}, Usage{minutes, 1, 61 * time.Second}, Usage{day, 3, 23 * time.Hour}, Usage{hours, 1, 31 * time.Second})
	s.refusedBy(opening("ses-x", "ana", all, at(2*time.Hour)), day, 22*time.Hour)
	s.refusedBy(opening("ses-x", "ana", limits(Limit{LimitSubject, 1, time.Hour}, day), at(time.Hour)), day, 23*time.Hour)
	if got := s.rows(`SELECT count || '' FROM usage ORDER BY bucket`); !slices.Equal(got, []string{"2", "1"}) {
		s.t.Errorf("buckets %q, want 2 and 1", got)
	}
	s.sweep(noon.Add(61*time.Second - time.Microsecond)) // as long as the longer of them needs
	if n := s.count("usage"); n != 2 {
		s.t.Errorf("%d buckets, want 2", n)
	}
}

// A bucket goes when no window reaches it any more, and not before; one that lies in the future counts.
func bucketsPass(s tested) {
	l := Limit{LimitService, 1, time.Minute}
	s.open(opening("ses-1", "ana", byService("backend"), limits(l)))
	s.sweep(noon.Add(61*time.Second - time.Microsecond))
	s.refusedBy(opening("ses-x", "ana", byService("backend"), limits(l), at(61*time.Second-time.Microsecond)), l, time.Microsecond)
	s.refusedBy(opening("ses-x", "ana", byService("backend"), limits(l), at(-time.Hour)), l, time.Hour+61*time.Second)
	s.sweep(noon.Add(61 * time.Second))
	if n := s.count("usage"); n != 0 {
		s.t.Errorf("%d buckets left", n)
	}
	// One that is configured later starts from zero, unlike those that count rows.
	later := Limit{LimitProduct, 1, time.Hour}
	s.used(opening("ses-2", "ana", limits(later), at(61*time.Second)), Usage{later, 1, time.Hour + 59*time.Second})
	s.used(opening("ses-3", "ana", limits(Limit{LimitSubject, 3, time.Hour}), at(61*time.Second)), Usage{Limit{LimitSubject, 3, time.Hour}, 3, time.Hour - 61*time.Second})
}

// A release takes the reservation off where it was counted, once, at whatever time it comes; what became a session, or
// was never counted, is not taken off.
func releaseTakesOff(s tested) {
	l, daily := Limit{LimitService, 2, time.Minute}, Limit{LimitDaily, 2, 24 * time.Hour}
	of := func(id string, changes ...func(*OpenAct)) OpenAct {
		return opening(id, id, append([]func(*OpenAct){byService("backend"), limits(l, daily)}, changes...)...)
	}
	counts := func(want string) {
		s.t.Helper()
		if got := strings.Join(s.rows(`SELECT count || '' FROM usage ORDER BY key, bucket`), " "); got != want {
			s.t.Errorf("counts %q, want %q", got, want)
		}
	}
	first, second := of("ses-1"), of("ses-2", at(3*time.Second), repeatable("k"))
	s.reserve(first)
	s.reserve(second)
	counts("2 1 1")
	s.refusedBy(of("ses-x", at(5*time.Second)), daily, 24*time.Hour+24*time.Minute-5*time.Second)
	s.release(first)
	counts("1 0 1")
	s.release(first) // nothing
	counts("1 0 1")
	s.openReserved(finishedAt(second, noon.Add(5*time.Second)))
	s.expectNothing(ErrNotReserved, func() error { return s.Release(s.t.Context(), "ses-2", releasing(second)) })
	s.expectRepeated(of("ses-x", at(5*time.Second), repeatable("k")), "ses-2", StateOpen, sealedToken("ses-2"))
	counts("1 0 1")
	// Of a process that died: it counts until it is taken over, or forgotten.
	s.reserve(of("ses-died", at(10*time.Second), repeatable("k2")))
	s.refusedBy(of("ses-x", at(70*time.Second)), daily, 24*time.Hour+24*time.Minute-70*time.Second)
	s.reserve(of("ses-3", at(70*time.Second), repeatable("k2")))
	counts("2 0 1 0 1")
	s.sweep(noon.Add(24*time.Hour + 25*time.Minute + 10*time.Second))
	counts("")
	s.expectPassing()
	s.release(of("ses-3", at(70*time.Second)))
	counts("")
	// A count that is gone or too low, whatever did that, does not go below zero.
	s.reserve(of("ses-4"))
	if _, err := s.write.ExecContext(s.t.Context(), `UPDATE usage SET count = 0`); err != nil {
		s.t.Fatal(err)
	}
	s.release(of("ses-4"))
	counts("0 0")
	s.expectRefused(`UPDATE usage SET count = -1`, "CHECK constraint failed")
}

// Limits that would not limit, and acts that a limit would not find, are refused before anything is written.
func limitsThatLimitNothing(s tested) {
	for _, l := range []Limit{
		{}, {"week", 1, time.Hour}, {LimitSubject, 1, 0}, {LimitCPF, 1, -time.Hour}, {LimitProduct, 1, time.Nanosecond},
		{LimitService, 1, 0}, {LimitDaily, 1, time.Hour}, {LimitDaily, 1, 0},
	} {
		for _, open := range []func(OpenAct) error{s.tryOpen, s.tryReserve} {
			s.expectNothing(nil, func() error { return open(opening("ses-1", "ana", limits(l))) })
		}
	}
	for name, change := range map[string]func(*OpenAct){
		"another's CPFs":    func(a *OpenAct) { a.CPFs = [][]byte{pseudonym(1, "cpf", "bruno")} },
		"no CPFs":           func(a *OpenAct) { a.CPFs = nil },
		"CPFs without one":  func(a *OpenAct) { a.Session.Person.CPF, a.Session.SignUp = nil, true },
		"an empty CPF":      func(a *OpenAct) { a.Session.Person.CPF, a.Session.SignUp, a.CPFs = nil, true, [][]byte{{}} },
		"one that is empty": func(a *OpenAct) { a.CPFs = append(a.CPFs, nil) },
		"no CPF":            func(a *OpenAct) { a.Session.Person.CPF, a.CPFs = nil, nil },
		"no subjects":       func(a *OpenAct) { a.Subjects = nil },
		"another's subject": func(a *OpenAct) { a.Subjects = [][]byte{pseudonym(1, "subject", "bruno")} },
	} {
		for _, open := range []func(OpenAct) error{s.tryOpen, s.tryReserve, func(a OpenAct) error { return s.OpenReserved(s.t.Context(), a) }} {
			s.expectNothing(nil, func() error {
				err := open(opening("ses-1", "ana", change))
				if errors.Is(err, ErrNotReserved) {
					s.t.Errorf("%s: %v", name, err)
				}
				return err
			})
		}
	}
	s.used(opening("ses-none", "ana", limits())) // no limits are none
}

// Whoever reads the counts by rows reads them from an index.
func limitsUseIndexes(s tested) {
	newest := func(where string) string {
		return `SELECT count(*), min(opened_at) FROM (SELECT opened_at FROM sessions WHERE ` + where + ` UNION ALL SELECT opened_at FROM reservations WHERE ` + where + ` ORDER BY opened_at DESC LIMIT ?)`
	}
	for query, index := range map[string]string{
		newest(`cpf IN (?, ?) AND environment = ? AND opened_at > ?`):                                                             "COVERING INDEX sessions_by_cpf",
		newest(`cpf IN (?) AND environment = ? AND opened_at > ?`):                                                                "COVERING INDEX reservations_by_cpf",
		newest(`subject IN (?, ?) AND app = ? AND opened_at > ?`):                                                                 "COVERING INDEX sessions_by_subject",
		newest(`subject IN (?) AND app = ? AND opened_at > ?`):                                                                    "COVERING INDEX reservations_by_subject",
		`SELECT product FROM sessions WHERE subject IN (?, ?) AND app = ? AND product <> ? AND state = 'open' AND respond_by > ?`: "INDEX sessions_open",
		`SELECT count(*) FROM sessions WHERE state = 'open'`:                                                                      "COVERING INDEX sessions_open",
		`SELECT 1 FROM audit WHERE request_id = ? ORDER BY id LIMIT 200`:                                                          "INDEX audit_by_request",
		`SELECT 1 FROM credentials WHERE key_hash = ? AND key_hash <> x''`:                                                        "INDEX credentials_by_key",
	} {
		plan := strings.Builder{}
		dumpRows(s.t, s.write, `EXPLAIN QUERY PLAN `+strings.ReplaceAll(query, "?", "x'00'"), &plan)
		if !strings.Contains(plan.String(), index) || strings.Contains(strings.ReplaceAll(plan.String(), "SCAN sessions USING COVERING INDEX sessions_open", ""), "SCAN sessions") || strings.Contains(plan.String(), "SCAN reservations") {
			s.t.Errorf("%s: %s, want %s", query, plan.String(), index)
		}
	}
}

// The last places of limits of every kind are taken once, whoever comes at once.
func manyMeetEveryLimit(s tested) {
	for _, l := range []Limit{
		{LimitSubject, 7, time.Hour}, {LimitCPF, 7, time.Hour}, {LimitProduct, 7, time.Hour}, {LimitService, 7, time.Hour}, {LimitDaily, 7, 24 * time.Hour}, {By: LimitOpen, Sessions: 7},
	} {
		s.expectPlaces(l, func(int) *Store { return s.Store })
	}
}

// expectPlaces fails unless as many of the racers, each with a store, are let in as the limit has places, and none
// comes after them.
func (s tested) expectPlaces(l Limit, store func(int) *Store) {
	s.t.Helper()
	act := func(i int) OpenAct {
		return opening(fmt.Sprint("ses-", l.By, "-", i), "subject "+string(l.By), byService("backend"), forProduct("product "+string(l.By)), inApp("app "+string(l.By)), limits(l), func(a *OpenAct) {
			if l.By == LimitOpen {
				a.Session.Product = fmt.Sprint("product ", i)
			}
		})
	}
	errs := make([]error, racers)
	race(func(i int) {
		errs[i] = []func(*Store) error{
			func(x *Store) error { return tryOpen(s.t.Context(), x, act(i)) }, func(x *Store) error { return tryReserve(s.t.Context(), x, act(i)) },
		}[i%2](store(i))
	})
	in := 0
	for i, err := range errs {
		var over *LimitError
		switch {
		case err == nil:
			in++
		case !errors.As(transcript.Error(err), &over) || over.Limit != l:
			s.t.Errorf("limit %v, racer %d: %v", l, i, err)
		}
	}
	if in != l.Sessions {
		s.t.Errorf("limit %v: %d were let in", l, in)
	}
	for i := range 2 {
		var over *LimitError
		if err := tryOpen(s.t.Context(), store(i), act(racers)); !errors.As(err, &over) {
			s.t.Errorf("limit %v: then %v", l, err)
		}
	}
}
