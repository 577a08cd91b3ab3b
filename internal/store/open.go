package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/selo-id/selo"
)

// reservedFor is how long a reservation may take to become a session. One that is older is of a process that
// died: a repeat of its request need not wait for it.
const reservedFor = time.Minute

// Open records a new session and supersedes the subject's earlier open session of the same app for the same
// product. It returns the use of each limit that applies, in their order, with this session. Over a limit it returns a
// *LimitError, and there is an audit row and no session. So is there, with a *RepeatedError, ErrRepeatConflict or
// ErrRepeatRunning, for a request that was sent before; that counts towards no limit. With ErrKeyEnded nothing is written.
func (s *Store) Open(ctx context.Context, act OpenAct) ([]Usage, error) {
	return s.open(ctx, act, func(ctx context.Context, tx *sql.Tx) error {
		if err := countUp(ctx, tx, act, false); err != nil {
			return err
		}
		if err := insertRepeat(ctx, tx, act); err != nil {
			return err
		}
		return insertSession(ctx, tx, act)
	})
}

// Reserve is the first half of opening a session whose token somebody else makes, which takes time: the
// session counts towards the limits from now on. It refuses as Open does. OpenReserved or Release must follow.
func (s *Store) Reserve(ctx context.Context, act OpenAct) ([]Usage, error) {
	return s.open(ctx, act, func(ctx context.Context, tx *sql.Tx) error {
		n := act.Session
		keep := reservedFor
		for _, l := range act.Limits {
			if _, width, _ := l.series(n); l.By != LimitOpen {
				keep = max(keep, l.Window+micros(width)) // for as long as it counts, it can be released
			}
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO reservations (session_id, app, product, environment, subject, cpf, opened_at, until) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			n.ID, n.App, n.Product, string(n.Environment), n.Person.Subject, orEmpty(n.Person.CPF), n.OpenedAt.UnixMicro(), n.OpenedAt.Add(keep).UnixMicro()); err != nil {
			return fmt.Errorf("inserting reservation: %w", err)
		}
		if err := countUp(ctx, tx, act, true); err != nil {
			return err
		}
		if err := insertRepeat(ctx, tx, act); err != nil {
			return err
		}
		row := act.Audit
		row.Outcome, row.SessionID, row.Keys = "minting", n.ID, n.Keys
		return insertAudit(ctx, tx, row)
	})
}

// OpenReserved is the second half: it turns the reservation into the session, or fails with ErrNotReserved or ErrKeyEnded.
func (s *Store) OpenReserved(ctx context.Context, act OpenAct) error {
	if err := act.check(); err != nil {
		return err
	}
	return s.act(ctx, func(tx *sql.Tx) error {
		n := act.Session // as it was reserved, or it would open on somebody else's place
		done, err := tx.ExecContext(ctx, `DELETE FROM reservations WHERE session_id = ? AND app = ? AND product = ? AND environment = ?
			AND subject = ? AND cpf = ? AND opened_at = ?`, n.ID, n.App, n.Product, string(n.Environment), n.Person.Subject, orEmpty(n.Person.CPF), n.OpenedAt.UnixMicro())
		if err != nil {
			return fmt.Errorf("ending reservation: %w", err)
		}
		if one, err := done.RowsAffected(); err != nil || one != 1 {
			return errors.Join(ErrNotReserved, err)
		}
		if err := stillRoom(ctx, tx, act); err != nil {
			return err
		}
		return insertSession(ctx, tx, act)
	})
}

// stillRoom fails with ErrNotReserved when a reservation has taken so long that it was no longer counted among the
// open sessions, and others have its place.
func stillRoom(ctx context.Context, tx *sql.Tx, act OpenAct) error {
	if act.Audit.At.Sub(act.Session.OpenedAt) < reservedFor {
		return nil
	}
	for _, l := range act.Limits {
		if l.By != LimitOpen {
			continue
		}
		c, err := l.countOpen(ctx, tx, act, act.Audit.At.UnixMicro())
		if err != nil {
			return fmt.Errorf("counting for limit %v: %w", l, err)
		}
		if c.used >= l.Sessions {
			return fmt.Errorf("limit %v: %w", l, ErrNotReserved)
		}
	}
	return nil
}

// Release gives a reservation up: no token came of it, and it counts no more. row says why. It fails with
// ErrNotReserved, and writes nothing, when it has become a session.
func (s *Store) Release(ctx context.Context, sessionID string, row Audit) error {
	return s.act(ctx, func(tx *sql.Tx) error {
		var opened bool
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM sessions WHERE id = ?)`, sessionID).Scan(&opened); err != nil {
			return fmt.Errorf("looking up session: %w", err)
		}
		if opened {
			return ErrNotReserved
		}
		if err := release(ctx, tx, sessionID); err != nil {
			return err
		}
		row.SessionID = sessionID
		return insertAudit(ctx, tx, row)
	})
}

func release(ctx context.Context, tx *sql.Tx, sessionID string) error {
	for _, statement := range []string{
		`UPDATE usage SET count = count - 1 WHERE count > 0 AND (key, width, bucket) IN
			(SELECT key, width, bucket FROM reservation_usage WHERE session_id = ?)`,
		`DELETE FROM reservations WHERE session_id = ?`,
		`DELETE FROM idempotency WHERE session_id = ?`,
	} {
		if _, err := tx.ExecContext(ctx, statement, sessionID); err != nil {
			return fmt.Errorf("releasing reservation: %w", err)
		}
	}
	return nil
}

// check reports an act that some limit would not find.
func (act OpenAct) check() error {
	person := act.Session.Person
	among := func(all [][]byte, one []byte) bool {
		return slices.ContainsFunc(all, func(b []byte) bool { return bytes.Equal(b, one) })
	}
	switch {
	case !among(act.Subjects, person.Subject):
		return errors.New("opening a session: its own subject is not among the subjects; it would have no limit")
	case len(person.CPF) > 0 && !among(act.CPFs, person.CPF):
		return errors.New("opening a session: its own CPF is not among the CPFs; it would have no limit")
	case len(person.CPF) == 0 && len(act.CPFs) > 0 || slices.ContainsFunc(act.CPFs, func(b []byte) bool { return len(b) == 0 }):
		return errors.New("opening a session: it has no CPF and there are CPFs to look for, or one of them is empty")
	case len(person.CPF) == 0 && !act.Session.SignUp:
		return errors.New("opening a session: it has no CPF and is not a sign-up")
	}
	return nil
}

// open runs the checks that come before any session, and then do.
func (s *Store) open(ctx context.Context, act OpenAct, do func(context.Context, *sql.Tx) error) ([]Usage, error) {
	if err := act.check(); err != nil {
		return nil, err
	}
	var answer error // of an act that is done all the same: it is on the record
	var usage []Usage
	err := s.act(ctx, func(tx *sql.Tx) error {
		row := act.Audit
		repeated, err := sentBefore(ctx, tx, act)
		if err != nil {
			return err
		}
		if answer = repeated; answer != nil {
			row.Outcome, row.SessionID = "refused", ""
			row.Reasons = []selo.Reason{selo.ReasonIdempotencyConflict}
			if again := (*RepeatedError)(nil); errors.As(answer, &again) {
				row.Outcome, row.Reasons, row.SessionID, row.Keys = "repeated", nil, again.Session.ID, again.Session.Keys
			}
			return insertAudit(ctx, tx, row)
		}
		var over *LimitError
		if usage, over, err = checkLimits(ctx, tx, act); err != nil {
			return err
		}
		if over != nil {
			answer = over
			row.Outcome, row.Reasons, row.SessionID = "refused", []selo.Reason{selo.ReasonRateLimited}, ""
			row.Note = joinNotes(row.Note, "limit "+over.Limit.String())
			return insertAudit(ctx, tx, row)
		}
		return do(ctx, tx)
	})
	switch {
	case err != nil:
		return nil, err
	case answer != nil:
		return nil, answer
	}
	return usage, nil
}

// sentBefore returns what became of the same request before, as an error, or nil.
func sentBefore(ctx context.Context, tx *sql.Tx, act OpenAct) (answer, _ error) {
	for _, r := range act.Repeats {
		var request, sealed []byte
		var id string
		var until int64
		err := tx.QueryRowContext(ctx, `SELECT request, session_id, until FROM idempotency WHERE id = ?`, r.ID).Scan(&request, &id, &until)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			continue
		case err != nil:
			return nil, fmt.Errorf("looking up a repeat: %w", err)
		case act.Session.OpenedAt.UnixMicro() >= until:
			if _, err := tx.ExecContext(ctx, `DELETE FROM idempotency WHERE id = ?`, r.ID); err != nil {
				return nil, fmt.Errorf("forgetting a repeat: %w", err)
			}
			continue
		case !bytes.Equal(request, r.Request):
			return ErrRepeatConflict, nil
		}
		found, err := oneSession(scanSessions(tx.QueryContext(ctx, selectSession+` WHERE id = ?`, id)))
		if errors.Is(err, ErrNotFound) {
			var since sql.NullInt64
			if err := tx.QueryRowContext(ctx, `SELECT opened_at FROM reservations WHERE session_id = ?`, id).Scan(&since); err != nil && !errors.Is(err, sql.ErrNoRows) {
				return nil, fmt.Errorf("looking up a reservation: %w", err)
			}
			if since.Valid && act.Session.OpenedAt.Sub(fromMicro(since)) < reservedFor {
				return ErrRepeatRunning, nil
			}
			if err := release(ctx, tx, id); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if found.State == StateOpen && !act.Session.OpenedAt.Before(found.RespondBy) {
			if err := end(ctx, tx, found, StateExpired, act.Session.OpenedAt, act.Audit); err != nil {
				return nil, err
			}
		}
		if err := tx.QueryRowContext(ctx, `SELECT sealed FROM session_tokens WHERE session_id = ?`, id).Scan(&sealed); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, fmt.Errorf("looking up a sealed token: %w", err)
		}
		return &RepeatedError{found, sealed}, nil
	}
	return nil, nil
}

func insertRepeat(ctx context.Context, tx *sql.Tx, act OpenAct) error {
	if len(act.Repeats) == 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO idempotency (id, request, session_id, until) VALUES (?, ?, ?, ?)`,
		act.Repeats[0].ID, act.Repeats[0].Request, act.Session.ID, act.RepeatUntil.UnixMicro()); err != nil {
		return fmt.Errorf("inserting repeat: %w", err)
	}
	return nil
}

// insertSession supersedes the earlier session and writes the new one with its audit rows.
func insertSession(ctx context.Context, tx *sql.Tx, act OpenAct) error {
	n := act.Session
	if ended, err := keyEnded(ctx, tx, &n, act.Audit.At); err != nil || ended {
		if err == nil {
			err = ErrKeyEnded
		}
		return err
	}
	subjects, args := inClause(act.Subjects)
	earlier, err := scanSessions(tx.QueryContext(ctx, selectSession+` WHERE subject IN `+subjects+
		` AND app = ? AND product = ? AND state = 'open'`, append(args, n.App, n.Product)...))
	if err != nil {
		return fmt.Errorf("finding earlier sessions: %w", err)
	}
	for _, e := range earlier {
		if err := end(ctx, tx, e, supersedeOrExpire(e, act.Audit.At), act.Audit.At, act.Audit); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO sessions (id, app, product, purpose, environment, service,
		subject_issuer, subject, subject_sealed, cpf, pepper_version, assurance, opened_at, token_expires_at,
		respond_by, max_attempts, policy_id, sign_up) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		n.ID, n.App, n.Product, n.Purpose, string(n.Environment), n.Service,
		n.Person.SubjectIssuer, n.Person.Subject, n.SubjectSealed, orEmpty(n.Person.CPF), n.Person.PepperVersion,
		n.Assurance.String(), n.OpenedAt.UnixMicro(), n.TokenExpiresAt.UnixMicro(), n.RespondBy.UnixMicro(),
		n.MaxAttempts, n.PolicyID, n.SignUp); err != nil {
		return fmt.Errorf("inserting session: %w", err)
	}
	for _, role := range slices.Sorted(maps.Keys(n.Keys)) {
		if _, err := tx.ExecContext(ctx, `INSERT INTO session_keys (session_id, role, client_id) VALUES (?, ?, ?)`,
			n.ID, role, n.Keys[role]); err != nil {
			return fmt.Errorf("inserting session key: %w", err)
		}
	}
	if len(act.TokenSealed) > 0 {
		if _, err := tx.ExecContext(ctx, `INSERT INTO session_tokens (session_id, sealed, until) VALUES (?, ?, ?)`,
			n.ID, act.TokenSealed, n.RespondBy.UnixMicro()); err != nil {
			return fmt.Errorf("inserting sealed token: %w", err)
		}
	}
	row := act.Audit
	row.Outcome, row.SessionID, row.Keys = "opened", n.ID, n.Keys
	return insertAudit(ctx, tx, row)
}

// Sweep forgets what is past its time: reservations that became nothing, requests that nobody repeats any more, counts
// that no window reaches, sealed tokens of sessions that nobody answered. The sessions of those are recorded as expired: a clock that goes back must
// not find them open without their token.
func (s *Store) Sweep(ctx context.Context, now time.Time) error {
	var some bool
	if err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM reservations WHERE until <= ?1)
		OR EXISTS (SELECT 1 FROM idempotency WHERE until <= ?1) OR EXISTS (SELECT 1 FROM session_tokens WHERE until <= ?1)
		OR EXISTS (SELECT 1 FROM usage WHERE until <= ?1)`,
		now.UnixMicro()).Scan(&some); err != nil || !some {
		return err
	}
	return s.act(ctx, func(tx *sql.Tx) error {
		unanswered, err := scanSessions(tx.QueryContext(ctx, selectSession+` WHERE state = 'open' AND id IN (SELECT session_id FROM session_tokens WHERE until <= ?)`, now.UnixMicro()))
		if err != nil {
			return err
		}
		for _, n := range unanswered {
			if err := end(ctx, tx, n, StateExpired, now, Audit{CallerKind: "selo"}); err != nil {
				return err
			}
		}
		for _, statement := range []string{`DELETE FROM reservations WHERE until <= ?`, `DELETE FROM idempotency WHERE until <= ?`, `DELETE FROM session_tokens WHERE until <= ?`,
			`DELETE FROM usage WHERE until <= ?`} {
			if _, err := tx.ExecContext(ctx, statement, now.UnixMicro()); err != nil {
				return fmt.Errorf("sweeping: %w", err)
			}
		}
		return nil
	})
}
