package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/selo-id/selo"
	"github.com/selo-id/selo/internal/broker"
	"github.com/selo-id/selo/internal/policy"
	"github.com/selo-id/selo/internal/store"
	"github.com/selo-id/selo/internal/transcript"
)

// A reply that got lost costs nothing: the owner asks again and gets the same bytes, after a restart too.
func TestLostReply(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := h.opened(ana(), faceAuth, "new-device")
	granted, err := h.decide(ana(), s.SessionID, h.approved(faceAuth, anaCPF).by("sbx-faceauth"))
	if err != nil {
		t.Fatal(err)
	}
	same := func(c *policy.Caller) {
		t.Helper()
		got, err := h.read(c, s.SessionID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(granted, got); diff != "" {
			t.Errorf("(-granted +read):\n%s", diff)
		}
	}
	verifyReceipt(t, h, granted, selo.Subject{Issuer: issuer, ID: "ana"})
	same(ana())
	same(reader)
	h.restart()
	same(ana())
	h.clock.move(time.Hour)
	h.restart(func(cfg *broker.Config) { cfg.Peppers = peppers(t, pepper1, pepper2) })
	same(ana())
}

func TestReceiptVerifiesForWhatItSaysOnly(t *testing.T) {
	h := newHouse(t)
	s := h.opened(ana(), liveness, "login")
	granted, err := h.decide(ana(), s.SessionID, h.approved(liveness, anaCPF).by("sbx-liveness"))
	if err != nil {
		t.Fatal(err)
	}
	good := func() selo.ReceiptExpectation {
		return selo.ReceiptExpectation{Keys: receiptKey.Public(), Issuer: seloIss, App: "bank", Subject: selo.Subject{Issuer: issuer, ID: "ana"},
			Purpose: "login", Once: new(selo.MemoryOnce), Assurance: selo.AssurancePresence, Now: h.clock.Now()}
	}
	if _, err := selo.VerifyReceipt(t.Context(), granted.Receipt, good()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*selo.ReceiptExpectation){
		"another app":                  func(e *selo.ReceiptExpectation) { e.App = "shop" },
		"another issuer":               func(e *selo.ReceiptExpectation) { e.Issuer = "https://other.test" },
		"another subject":              func(e *selo.ReceiptExpectation) { e.Subject.ID = "bruno" },
		"the same sub of a service":    func(e *selo.ReceiptExpectation) { e.Subject.Issuer = "service:backend" },
		"another purpose":              func(e *selo.ReceiptExpectation) { e.Purpose = "new-device" },
		"more assurance":               func(e *selo.ReceiptExpectation) { e.Assurance = selo.AssuranceMatch },
		"two minutes later":            func(e *selo.ReceiptExpectation) { e.Now = e.Now.Add(2 * time.Minute) },
		"what it was used for already": func(e *selo.ReceiptExpectation) { _, _ = selo.VerifyReceipt(context.Background(), granted.Receipt, *e) },
	} {
		e := good()
		change(&e)
		if r, err := selo.VerifyReceipt(t.Context(), granted.Receipt, e); err == nil || r != nil {
			t.Errorf("%s: verifies", name)
		}
	}
	// Nor is a receipt a response.
	next := h.opened(ana(), liveness, "login")
	_, err = h.decide(ana(), next.SessionID, granted.Receipt)
	refused(t, err, selo.ReasonSignatureInvalid)
}

// acts are the three things that a caller can ask, against a session of ana's.
func acts(h *house, id, response string) map[string]func(context.Context) (any, error) {
	request := broker.OpenRequest{Product: liveness, Purpose: "login"}
	return map[string]func(context.Context) (any, error){
		"open": func(ctx context.Context) (any, error) {
			s, err := h.OpenSession(ctx, ana(), request)
			return orNil(s), err
		},
		"open, refused": func(ctx context.Context) (any, error) {
			s, err := h.OpenSession(ctx, ana(), broker.OpenRequest{Product: "x"})
			return orNil(s), err
		},
		"decide": func(ctx context.Context) (any, error) {
			s, err := h.Decide(ctx, ana(), id, broker.Answer{SignedResponse: response}, thisTest)
			return orNil(s), err
		},
		"decide, refused": func(ctx context.Context) (any, error) {
			s, err := h.Decide(ctx, ana(), id, broker.Answer{SignedResponse: "rubbish"}, thisTest)
			return orNil(s), err
		},
		"decide, somebody else's": func(ctx context.Context) (any, error) {
			s, err := h.Decide(ctx, bruno(), id, broker.Answer{SignedResponse: response}, thisTest)
			return orNil(s), err
		},
		"what was no request": func(ctx context.Context) (any, error) {
			return nil, h.Refused(ctx, ana(), broker.ActOpen, &selo.Error{Reason: selo.ReasonRequestInvalid, Field: "body"}, thisTest)
		},
		"read, somebody else's": func(ctx context.Context) (any, error) {
			s, err := h.Session(ctx, bruno(), id, thisTest)
			return orNil(s), err
		},
	}
}

func orNil[T any](p *T) any {
	if p == nil {
		return nil
	}
	return p
}

// Without a record there is no act: no token, no grant, no refusal that says anything.
func TestStoreFails(t *testing.T) {
	const refuseAudit = `CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'the disk is full'); END`
	for failure, breakIt := range map[string]func(h *house){
		"closed":                func(h *house) { _ = h.store.Close() },
		"no audit row":          func(h *house) { h.exec(refuseAudit) },
		"no session, no ids":    func(h *house) { h.exec(`DROP TABLE consumed_ids`); h.exec(`DROP TABLE session_keys`) },
		"the database is wiped": func(h *house) { h.exec(`DROP TABLE audit`) },
	} {
		t.Run(failure, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			s := h.opened(ana(), liveness, "login")
			response := h.approved(liveness, anaCPF).by("sbx-liveness")
			breakIt(h)
			for name, act := range acts(h, s.SessionID, response) {
				if failure == "no session, no ids" && (name == "open, refused" || name == "what was no request") {
					continue // which needs neither
				}
				answer, err := act(t.Context())
				_ = transcript.Error(err)
				if answer != nil {
					t.Errorf("%s: answered %T", name, answer)
				}
				refused(t, err, selo.ReasonStoreUnavailable)
			}
			if err := h.Ready(t.Context()); failure == "closed" && err == nil {
				t.Error("ready with a closed store")
			}
			if failure != "no audit row" {
				return
			}
			// Nothing was half done: when the disk has room again, all is as before.
			if n := h.count("sessions"); n != 1 || h.count("consumed_ids") != 0 || len(h.trail()) != 1 {
				t.Errorf("%d sessions, %d ids, %d audit rows; want what was there before: 1, 0, 1", n, h.count("consumed_ids"), len(h.trail()))
			}
			h.exec(`DROP TRIGGER full`)
			if got, err := h.read(ana(), s.SessionID); err != nil || got.AttemptsLeft != 5 {
				t.Errorf("read: %+v, %v", got, err)
			}
			if _, err := h.decide(ana(), s.SessionID, response); err != nil {
				t.Error(err)
			}
		})
	}
}

// What could not be read as a request is a refusal like any other.
func TestRefusedLeavesARow(t *testing.T) {
	h := newHouse(t)
	for _, act := range []string{broker.ActOpen, broker.ActRespond} {
		before := len(h.trail())
		err := h.Refused(t.Context(), backend(), act, &selo.Error{Reason: selo.ReasonRequestInvalid, Field: "body"}, thisTest)
		refused(t, err, selo.ReasonRequestInvalid)
		h.recorded(before, act, "refused", backend(), err)
	}
}

// A receipt that was granted is not given out again without a record either.
func TestReadingWithoutRecord(t *testing.T) {
	h := newHouse(t)
	id := ended[store.StateGranted](h)
	h.exec(`CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'the disk is full'); END`)
	got, err := h.Session(t.Context(), ana(), id, thisTest)
	if got != nil {
		t.Error("answered")
	}
	refused(t, err, selo.ReasonStoreUnavailable)
}

// A caller that has gone away gets nothing done.
func TestCancelled(t *testing.T) {
	h := newHouse(t)
	s := h.opened(ana(), liveness, "login")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for name, act := range acts(h, s.SessionID, h.approved(liveness, anaCPF).by("sbx-liveness")) {
		if answer, err := act(gone); answer != nil || !errors.Is(err, selo.ReasonStoreUnavailable) {
			t.Errorf("%s: %v, %v", name, answer, err)
		}
	}
	if n := len(h.trail()); n != 1 || h.count("sessions") != 1 || h.count("consumed_ids") != 0 {
		t.Errorf("%d audit rows after acts that did not happen, want 1", n)
	}
}

// counts is what the database knows of unauthenticated refusals.
func (h *house) counts() string {
	h.t.Helper()
	rows, err := h.sql().QueryContext(context.Background(), `SELECT minute, reason, count FROM unauthenticated_refusals ORDER BY minute, reason`)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var all []string
	for rows.Next() {
		var minute, n int64
		var reason string
		if err := rows.Scan(&minute, &reason, &n); err != nil {
			h.t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("+%dm %s %d", minute-start.Unix()/60, reason, n))
	}
	if err := rows.Err(); err != nil {
		h.t.Fatal(err)
	}
	return strings.Join(all, ", ")
}

func TestUnauthenticatedAreCounted(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	parallel(func() { h.Unauthenticated(selo.ReasonCallerUnauthenticated) })
	h.Unauthenticated(selo.ReasonCPFInvalid)
	h.clock.move(time.Minute)
	h.Unauthenticated(selo.ReasonCallerUnauthenticated)
	if got := h.counts(); got != "" {
		t.Errorf("written one by one: %s", got)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()

	// While they cannot be written they are kept.
	h.exec(`ALTER TABLE unauthenticated_refusals RENAME TO away`)
	h.Run(stopped)
	h.exec(`ALTER TABLE away RENAME TO unauthenticated_refusals`)
	if got := h.counts(); got != "" {
		t.Errorf("counts %s in a table that was away", got)
	}
	h.Run(stopped) // the last thing that a program does
	want := "+0m caller_unauthenticated 64, +0m cpf_invalid 1, +1m caller_unauthenticated 1"
	if got := h.counts(); got != want {
		t.Errorf("counts %s, want %s", got, want)
	}
	h.Run(stopped)
	if got := h.counts(); got != want {
		t.Errorf("written twice: %s", got)
	}
	h.Unauthenticated(selo.ReasonCallerUnauthenticated)
	h.Run(stopped)
	if got, want := h.counts(), strings.Replace(want, "+1m caller_unauthenticated 1", "+1m caller_unauthenticated 2", 1); got != want {
		t.Errorf("counts %s, want %s", got, want)
	}
	if len(h.trail()) != 0 {
		t.Error("audit rows for callers who are nobody")
	}
}

// Counts do not wait for the end of the program.
func TestUnauthenticatedAreWrittenNowAndThen(t *testing.T) {
	h := newHouse(t)
	_ = h.counts() // connects, which must not happen inside the bubble
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { h.Run(ctx); close(ended) }()
		h.Unauthenticated(selo.ReasonCallerUnauthenticated)
		<-time.After(5*time.Second + time.Millisecond) // by the bubble's clock
		synctest.Wait()
		if got := h.counts(); got != "+0m caller_unauthenticated 1" {
			t.Errorf("counts %q after five seconds", got)
		}
		stop()
		<-ended
	})
}

// The database holds nobody's CPF, no client secret, no token and no sub in clear.
func TestDatabaseHoldsNothingInClear(t *testing.T) {
	h := newHouse(t)
	cpfAsSub := endUser("bank", anaCPF.Digits(), anaCPF) // as some issuers do
	s := h.opened(cpfAsSub, liveness, "login")
	response := h.approved(liveness, anaCPF)
	granted, err := h.decide(cpfAsSub, s.SessionID, response.by("sbx-liveness"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.open(backend(), broker.OpenRequest{Product: liveness, Purpose: brunoCPF.Digits(), Subject: new(brunoCPF.Digits()), CPF: new("x" + brunoCPF.Digits())}); err == nil {
		t.Fatal("opened")
	}
	_, err = h.read(ana(), brunoCPF.Digits())
	refused(t, err, selo.ReasonSessionUnknown)
	forbidden := map[string]string{
		"a CPF": anaCPF.Digits(), "a CPF that was refused": brunoCPF.Digits(), "a client secret": string(secrets["sbx-liveness"]), "the pepper": string(pepper1),
		"a mobile token": s.Tokens["mobile"], "a response": response.by("sbx-liveness"), "a receipt": granted.Receipt, "an attempt id": response["requestId"].(string),
	}
	found := false
	for _, name := range []string{h.path, h.path + "-wal"} {
		file, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for what, value := range forbidden {
			if bytes.Contains(file, []byte(value)) {
				t.Errorf("%s is in the database", what)
			}
		}
		found = found || bytes.Contains(file, []byte(s.SessionID)) // or we look in the wrong place
	}
	if !found {
		t.Error("the session is nowhere in the files that were searched")
	}
}

// Anybody may ask whether we are ready, so the store is asked once a second at most, and believed no longer.
func TestReady(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	// Whoever asks first and leaves does not make it so for the others.
	if err := h.Ready(gone); err != nil {
		t.Errorf("at first: %v", err)
	}
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	h.clock.move(time.Second - time.Microsecond)
	if err := h.Ready(t.Context()); err != nil {
		t.Errorf("within the second: %v", err)
	}
	h.clock.move(time.Microsecond)
	parallel(func() {
		if h.Ready(t.Context()) == nil {
			t.Error("ready with a closed store")
		}
	})
	h.clock.move(-time.Hour) // a clock that goes back must not keep an old answer alive
	if h.Ready(t.Context()) == nil {
		t.Error("ready with a closed store and another clock")
	}
}
