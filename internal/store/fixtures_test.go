package store

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/transcript"
)

const (
	faceLiveness       = "caf/face-liveness"
	faceAuthentication = "caf/face-authentication"
)

// What must be found in no error and in no database file. Some issuers use the CPF as the subject's ID.
var (
	pseudonymizer = transcript.Secret("store tests: this makes their pseudonyms, 42")
	plantedID     = transcript.Secret("provider-id-of-the-store-tests-0001")
	people        = map[string]string{
		"ana":   transcript.CPF("52998224725"),
		"bruno": transcript.CPF("11144477735"),
		"carla": transcript.CPF("39053344705"),
	}
)

// noon is when sessions open, unless a test says otherwise. They last ten minutes.
var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// pseudonym stands for what the broker's peppers make of a person before the store hears of it.
func pseudonym(version int, what, who string) []byte {
	h := hmac.New(sha256.New, []byte(pseudonymizer))
	fmt.Fprintf(h, "%d %s %s", version, what, people[who])
	if people[who] == "" {
		fmt.Fprint(h, who)
	}
	return h.Sum(nil)
}

// opening returns the act that opens a session for a subject, with the changes asked for.
func opening(id, who string, changes ...func(*OpenAct)) OpenAct {
	person := Person{SubjectIssuer: "https://id.example", Subject: pseudonym(1, "subject", who), CPF: pseudonym(1, "cpf", who), PepperVersion: 1}
	act := OpenAct{
		Session: Session{
			ID: id, App: "app", Product: faceLiveness, Purpose: "login", Environment: selo.EnvironmentSandbox, Person: person,
			SubjectSealed: pseudonym(1, "sealed "+id, who), Assurance: selo.AssurancePresence,
			Keys: map[string]string{"mobile": "client-1"}, MaxAttempts: 3, State: StateOpen,
		},
		Subjects: [][]byte{person.Subject},
		CPFs:     [][]byte{person.CPF},
		Limits:   []Limit{{LimitSubject, 1 << 20, time.Hour}},
		Audit:    Audit{Act: "open", CallerKind: "user", App: "app", Product: faceLiveness, Purpose: "login", Person: person, RequestID: "req " + id},
	}
	openedAt(noon)(&act)
	for _, change := range changes {
		change(&act)
	}
	if len(act.Repeats) > 0 {
		act.RepeatUntil = act.Session.OpenedAt.Add(24 * time.Hour)
	}
	return act
}

func openedAt(at time.Time) func(*OpenAct) {
	return func(a *OpenAct) {
		a.Session.OpenedAt, a.Audit.At = at, at
		a.Session.TokenExpiresAt, a.Session.RespondBy = at.Add(5*time.Minute), at.Add(10*time.Minute)
	}
}

func forProduct(p string) func(*OpenAct) {
	return func(a *OpenAct) { a.Session.Product, a.Audit.Product = p, p }
}

func inApp(app string) func(*OpenAct) {
	return func(a *OpenAct) { a.Session.App, a.Audit.App = app, app }
}

func limited(sessions int, window time.Duration) func(*OpenAct) {
	return limits(Limit{LimitSubject, sessions, window})
}

func limits(all ...Limit) func(*OpenAct) { return func(a *OpenAct) { a.Limits = all } }

func maxAttempts(n int) func(*OpenAct) { return func(a *OpenAct) { a.Session.MaxAttempts = n } }

// byService makes an opening one that a service asks for.
func byService(name string) func(*OpenAct) {
	return func(a *OpenAct) { a.Session.Service, a.Audit.Service, a.Audit.CallerKind = name, name, "service" }
}

// inProduction is of an app that is not in the sandbox.
func inProduction(a *OpenAct) { a.Session.Environment = selo.EnvironmentProduction }

// withCPF is of somebody who has this person's CPF, or nobody's, under a pepper of which both are live.
func withCPF(version int, who string) func(*OpenAct) {
	return func(a *OpenAct) {
		a.CPFs = [][]byte{pseudonym(1, "cpf", who), pseudonym(2, "cpf", who)}
		a.Session.Person.CPF = a.CPFs[version-1]
		a.Session.Person.PepperVersion = version
		a.Session.Person.Subject = pseudonym(version, "subject", "of "+a.Session.ID)
		a.Subjects = [][]byte{a.Session.Person.Subject}
		a.Audit.Person = a.Session.Person
	}
}

func signingUp(a *OpenAct) {
	a.Session.SignUp, a.Session.Person.CPF, a.Audit.Person.CPF, a.CPFs = true, nil, nil, nil
}

func noted(note string) func(*OpenAct) { return func(a *OpenAct) { a.Audit.Note = note } }

// deciding returns the act that decides a session a minute after noon, with the ids it uses up.
func deciding(session string, outcome State, ids ...string) DecideAct {
	act := DecideAct{
		SessionID: session, At: noon.Add(time.Minute), Outcome: outcome, IDs: providerIDs(ids...),
		Audit: Audit{At: noon.Add(time.Minute), Act: "respond", CallerKind: "user", SessionID: session, App: "app", RequestID: "req"},
	}
	switch outcome {
	case StateGranted:
		act.Proved, act.ReceiptID = selo.AssurancePresence, "rct_"+session
	case StateDenied:
		act.Reasons = []selo.Reason{selo.ReasonNotApproved}
	case StateOpen:
		act.Reasons = []selo.Reason{selo.ReasonStale}
	}
	return act
}

func (a DecideAct) at(t time.Time) DecideAct {
	a.At, a.Audit.At = t, t
	return a
}

func providerIDs(values ...string) []selo.UsedID {
	var ids []selo.UsedID
	for i, v := range values {
		ids = append(ids, selo.UsedID{Provider: "caf", Environment: selo.EnvironmentSandbox, Field: []string{"requestId", "executionId", "sessionId"}[i], Value: v})
	}
	return ids
}

// tested is a store under test, with the acts that must succeed.
type tested struct {
	t testing.TB
	*Store
}

func (s tested) registerPeppers() {
	s.t.Helper()
	for v := 1; v <= 2; v++ {
		if err := s.RegisterPepper(s.t.Context(), v, pseudonym(v, "fingerprint", "")); err != nil {
			s.t.Fatal(err)
		}
	}
}

// tryOpen and tryReserve are for acts that may fail, and hold them to returning either an error or the use of every
// limit that applies.
func tryOpen(ctx context.Context, s *Store, act OpenAct) error {
	return eitherOr(act)(s.Open(ctx, act))
}

func tryReserve(ctx context.Context, s *Store, act OpenAct) error {
	return eitherOr(act)(s.Reserve(ctx, act))
}

func eitherOr(act OpenAct) func([]Usage, error) error {
	return func(all []Usage, err error) error {
		var of []Limit
		for _, u := range all {
			if u.Used < 1 || u.Used > u.Limit.Sessions || u.Reset <= 0 {
				return fmt.Errorf("use of a limit %+v, of a session that was opened", u)
			}
			of = append(of, u.Limit)
		}
		if want := slices.DeleteFunc(slices.Clone(act.Limits), func(l Limit) bool { return !l.applies(act) }); err == nil && !slices.Equal(of, want) {
			return fmt.Errorf("use of the limits %v, want %v", of, want)
		}
		if err != nil && all != nil {
			return errors.Join(errors.New("an error and the use of limits"), err)
		}
		return err
	}
}

func (s tested) tryOpen(act OpenAct) error    { return tryOpen(s.t.Context(), s.Store, act) }
func (s tested) tryReserve(act OpenAct) error { return tryReserve(s.t.Context(), s.Store, act) }

func (s tested) open(act OpenAct) {
	s.t.Helper()
	if err := s.tryOpen(act); transcript.Error(err) != nil {
		s.t.Fatalf("opening %s: %v", act.Session.ID, err)
	}
}

func (s tested) decide(act DecideAct) *Decided {
	s.t.Helper()
	d, err := s.Decide(s.t.Context(), act)
	if transcript.Error(err) != nil {
		s.t.Fatalf("deciding %s: %v", act.SessionID, err)
	}
	if granted := len(d.Reasons) == 0; granted && (act.Outcome != StateGranted || d.Session.State != StateGranted) {
		s.t.Errorf("deciding %s: no reasons, state %s, for an act that asked for %s", act.SessionID, d.Session.State, act.Outcome)
	}
	if stored := s.session(act.SessionID, act.At); cmp.Diff(stored, d.Session) != "" {
		s.t.Errorf("deciding %s: what was returned is not what is stored (-stored +returned):\n%s", act.SessionID, cmp.Diff(stored, d.Session))
	}
	return d
}

func (s tested) session(id string, now time.Time) *Session {
	s.t.Helper()
	n, err := s.Session(s.t.Context(), id, now)
	if transcript.Error(err) != nil {
		s.t.Fatalf("reading %s: %v", id, err)
	}
	return n
}

// expectStates fails unless the stored states, read without the store's own methods, are these.
func (s tested) expectStates(want map[string]State) {
	s.t.Helper()
	got := map[string]State{}
	for _, row := range s.rows(`SELECT id || ' ' || state FROM sessions`) {
		id, state, _ := strings.Cut(row, " ")
		got[id] = State(state)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("states (-want +got):\n%s", diff)
	}
}

// expectDecided fails unless the reasons, the state and the attempts are these.
func (s tested) expectDecided(d *Decided, state State, attempts int, reasons ...selo.Reason) {
	s.t.Helper()
	if d.Session.State != state || d.Session.Attempts != attempts || !slices.Equal(d.Reasons, reasons) {
		s.t.Errorf("%s: %s with %d attempts and reasons %q, want %s with %d and %q", d.Session.ID,
			d.Session.State, d.Session.Attempts, d.Reasons, state, attempts, reasons)
	}
}

// trail returns "act outcome reasons" of every audit row of a session, oldest first.
func (s tested) trail(session string) []string {
	s.t.Helper()
	return s.rows(`SELECT trim(act || ' ' || outcome || ' ' || reasons) FROM audit WHERE session_id = '` + session + `' ORDER BY id`)
}

func (s tested) expectTrail(session string, want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.trail(session)); diff != "" {
		s.t.Errorf("audit rows of %q (-want +got):\n%s", session, diff)
	}
}

// rows returns the one text column of a query.
func (s tested) rows(query string) []string {
	s.t.Helper()
	// Not the test's context: cleanups ask too.
	rows, err := s.write.QueryContext(context.WithoutCancel(s.t.Context()), query)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var all []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, text)
	}
	if err := rows.Err(); err != nil {
		s.t.Fatal(err)
	}
	return all
}

func (s tested) count(what string) int {
	s.t.Helper()
	var n int
	if _, err := fmt.Sscan(s.rows(`SELECT count(*) || '' FROM ` + what)[0], &n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// expectRefused fails unless raw SQL is refused with this text.
func (s tested) expectRefused(statement, want string) {
	s.t.Helper()
	_, err := s.write.ExecContext(s.t.Context(), statement)
	if transcript.Error(err) == nil || !strings.Contains(err.Error(), want) {
		s.t.Errorf("%s: error %v, want one about %q", statement, err, want)
	}
}

// consistency lists what must never be in a database, whatever happened to the processes that wrote it.
// Each query returns the ids at fault.
var consistency = []struct{ promise, faults string }{
	{"every session has its access keys", `SELECT id FROM sessions WHERE id NOT IN (SELECT session_id FROM session_keys)`},
	{"every session has one audit row of its opening", `SELECT id FROM sessions WHERE
		(SELECT count(*) FROM audit WHERE session_id = sessions.id AND act = 'open' AND outcome = 'opened') <> 1`},
	{"every opening in the trail has its session", `SELECT session_id FROM audit WHERE outcome = 'opened' AND session_id NOT IN (SELECT id FROM sessions)`},
	{"every ended session has one audit row of its end", `SELECT id FROM sessions WHERE state <> 'open' AND
		(SELECT count(*) FROM audit WHERE session_id = sessions.id AND outcome = sessions.state AND act <> 'read') <> 1`},
	{"no session has an audit row of an end it did not come to", `SELECT session_id FROM audit JOIN sessions ON sessions.id = session_id
		WHERE outcome NOT IN ('opened', 'refused', 'minting', 'repeated', 'evidence', 'contradicts', state)`},
	{"every granted session used ids up, and has a receipt and an assurance", `SELECT id FROM sessions WHERE state = 'granted' AND
		(receipt_id = '' OR proved = '' OR id NOT IN (SELECT session_id FROM consumed_ids))`},
	{"a session that was not decided used nothing up", `SELECT session_id FROM consumed_ids JOIN sessions ON sessions.id = session_id
		WHERE state NOT IN ('granted', 'denied')`},
	{"a session denied for its attempts used nothing up", `SELECT session_id FROM consumed_ids JOIN sessions ON sessions.id = session_id
		WHERE reasons LIKE '%too_many_attempts%'`},
	{"attempts are those in the trail", `SELECT id FROM sessions WHERE attempts <> (SELECT count(*) FROM audit WHERE session_id = sessions.id
		AND act = 'respond' AND reasons <> '' AND reasons NOT LIKE '%session_not_open%' AND (outcome = 'refused' OR reasons LIKE '%too_many_attempts%'))`},
	{"no session has more attempts than it may", `SELECT id FROM sessions WHERE attempts > max_attempts`},
	{"a subject has one open session for a product of an app", `SELECT max(id) FROM sessions WHERE state = 'open' GROUP BY subject, app, product HAVING count(*) > 1`},

	{"every session has a CPF, or is a sign-up", `SELECT id FROM sessions WHERE cpf = x'' AND NOT sign_up`},
	{"what a reservation was counted in has it", `SELECT session_id FROM reservation_usage r WHERE (SELECT count(*) FROM reservation_usage o
		WHERE o.key = r.key AND o.width = r.width AND o.bucket = r.bucket) > coalesce((SELECT count FROM usage u WHERE u.key = r.key AND u.width = r.width AND u.bucket = r.bucket), 0)`},
	{"every credential has one audit row of its adding, and of its revocation", `SELECT id FROM credentials WHERE
		(SELECT count(*) FROM audit WHERE act = 'credential' AND outcome = 'added' AND instr(note || ',', ', credential ' || credentials.id || ',')) <> 1 OR
		(SELECT count(*) FROM audit WHERE act = 'credential' AND outcome = 'revoked' AND instr(note || ',', ', credential ' || credentials.id || ',')) <> (revoked_at IS NOT NULL)`},

	{"every access key has one audit row of its adding, and of its revocation", `SELECT client_id FROM access_keys k WHERE
		(SELECT count(*) FROM audit WHERE act = 'key' AND outcome = 'added' AND instr(note, 'access key ' || k.client_id || ' (' || k.environment || ')') = 1) <> 1 OR
		(SELECT count(*) FROM audit WHERE act = 'key' AND outcome = 'revoked' AND instr(note, 'access key ' || k.client_id || ' (' || k.environment || ')') = 1) <> (revoked_at IS NOT NULL)`},
	{"every row of the trail about an access key or a pepper is one of the generation", `SELECT count FROM key_generation WHERE count < (SELECT count(*) FROM audit WHERE act IN ('key', 'pepper'))`},
	{"every restore has its audit row", `SELECT at FROM restores r WHERE at > 5 AND NOT EXISTS (SELECT 1 FROM audit WHERE act = 'restore' AND at = r.at)`},

	{"a sealed token is of an open session", `SELECT session_id FROM session_tokens WHERE session_id NOT IN (SELECT id FROM sessions WHERE state = 'open')`},
	{"what is reserved is no session yet", `SELECT session_id FROM reservations WHERE session_id IN (SELECT id FROM sessions)`},
	{"every reservation has one audit row of it", `SELECT session_id FROM reservations WHERE
		(SELECT count(*) FROM audit WHERE session_id = reservations.session_id AND act = 'open' AND outcome = 'minting') <> 1`},
	{"what was released is no reservation and no session", `SELECT session_id FROM audit WHERE act = 'open' AND outcome = 'refused' AND session_id IN
		(SELECT session_id FROM reservations UNION SELECT id FROM sessions UNION SELECT session_id FROM idempotency)`},
	{"a key is of a session, of a reservation, or of one that was swept", `SELECT session_id FROM idempotency WHERE session_id NOT IN
		(SELECT id FROM sessions UNION SELECT session_id FROM reservations UNION SELECT session_id FROM audit WHERE outcome = 'minting')`},
	{"a session has one key", `SELECT session_id FROM idempotency GROUP BY session_id HAVING count(*) > 1`},
	{"every repeat in the trail is of a session", `SELECT session_id FROM audit WHERE outcome = 'repeated' AND session_id NOT IN (SELECT id FROM sessions)`},
	{"every event about an id that a session used is in its trail, and as a contradiction when it was granted and the event refuses",
		`SELECT c.session_id FROM webhook_event_ids i JOIN consumed_ids c USING (provider, environment, field, value)
		JOIN webhook_events e USING (webhook, event) JOIN sessions s ON s.id = c.session_id WHERE NOT EXISTS (SELECT 1 FROM audit WHERE session_id = s.id
		AND act = 'webhook' AND outcome = CASE WHEN s.state = 'granted' AND e.verdict = 'refused' THEN 'contradicts' ELSE 'evidence' END
		AND note = 'webhook ' || e.webhook || ', event ' || e.type || CASE e.verdict WHEN '' THEN '' ELSE ', ' || e.verdict END)`},
	{"what events say of a session is about an id that it used", `SELECT session_id FROM audit WHERE act = 'webhook' AND outcome IN ('evidence', 'contradicts')
		AND session_id NOT IN (SELECT session_id FROM consumed_ids c JOIN webhook_event_ids i USING (provider, environment, field, value))`},
	{"every event is in the trail", `SELECT webhook FROM webhook_events GROUP BY webhook HAVING count(*) >
		(SELECT count(*) FROM audit WHERE act = 'webhook' AND outcome <> 'refused' AND note LIKE 'webhook ' || webhook || ', %')`},
}

func (s tested) expectConsistent() {
	s.t.Helper()
	for _, c := range consistency {
		if faults := s.rows(c.faults); len(faults) > 0 {
			s.t.Errorf("broken: %s: %s", c.promise, faults)
		}
	}
}

func expectNotFound(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(transcript.Error(err), ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
}
