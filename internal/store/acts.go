package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/selo-id/selo"
)

// RegisterPepper notes the fingerprint of a pepper version on first use and compares it ever after. It
// fails with ErrPepperChanged when the version was used with another pepper.
func (s *Store) RegisterPepper(ctx context.Context, version int, fingerprint []byte) error {
	return s.act(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO peppers (version, fingerprint) VALUES (?, ?) ON CONFLICT DO NOTHING`,
			version, fingerprint); err != nil {
			return fmt.Errorf("registering pepper: %w", err)
		}
		var have []byte
		if err := tx.QueryRowContext(ctx, `SELECT fingerprint FROM peppers WHERE version = ?`, version).Scan(&have); err != nil {
			return fmt.Errorf("registering pepper: %w", err)
		}
		if !bytes.Equal(have, fingerprint) {
			return fmt.Errorf("pepper version %d: %w", version, ErrPepperChanged)
		}
		return nil
	})
}

func supersedeOrExpire(s *Session, now time.Time) State {
	if now.Before(s.RespondBy) {
		return StateSuperseded
	}
	return StateExpired
}

// end gives an open session a terminal state other than by a decision, with its audit row.
func end(ctx context.Context, tx *sql.Tx, s *Session, to State, at time.Time, by Audit) error {
	if _, err := tx.ExecContext(ctx, `UPDATE sessions SET state = ?, ended_at = ? WHERE id = ?`, string(to), at.UnixMicro(), s.ID); err != nil {
		return fmt.Errorf("ending session: %w", err)
	}
	s.State, s.EndedAt = to, at
	by.Note = "" // of another act
	by.Act, by.Outcome, by.Reasons, by.SessionID = "expire", string(to), nil, s.ID
	if to == StateSuperseded {
		by.Act = "supersede"
	}
	by.At, by.App, by.Product, by.Purpose, by.Person, by.Keys = at, s.App, s.Product, s.Purpose, s.Person, s.Keys
	return insertAudit(ctx, tx, by)
}

// Session returns a session, or ErrNotFound. One that is past its respond_by is recorded as expired first,
// so that a clock that goes back does not open it again.
func (s *Store) Session(ctx context.Context, id string, now time.Time) (*Session, error) {
	found, err := oneSession(scanSessions(s.read.QueryContext(ctx, selectSession+` WHERE id = ?`, id)))
	if err != nil || found.State != StateOpen || now.Before(found.RespondBy) {
		return found, err
	}
	err = s.act(ctx, func(tx *sql.Tx) error {
		found, err = oneSession(scanSessions(tx.QueryContext(ctx, selectSession+` WHERE id = ?`, id)))
		if err != nil || found.State != StateOpen {
			return err
		}
		return end(ctx, tx, found, StateExpired, now, Audit{CallerKind: "selo"})
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// Decide applies a decision to an open session, together with the ids it uses up; of any number of
// simultaneous acts on one session at most one ends it. An id that was used before turns the act into a
// refused attempt, and so does an access key that has ended meanwhile turn a grant into one. A session that is no longer open stays as it is.
func (s *Store) Decide(ctx context.Context, act DecideAct) (*Decided, error) {
	var d *Decided
	err := s.act(ctx, func(tx *sql.Tx) error {
		n, err := oneSession(scanSessions(tx.QueryContext(ctx, selectSession+` WHERE id = ?`, act.SessionID)))
		if err != nil {
			return err
		}
		d = &Decided{Session: n, Reasons: slices.Clone(act.Reasons)}
		if n.State == StateOpen && !act.At.Before(n.RespondBy) {
			if err := end(ctx, tx, n, StateExpired, act.At, act.Audit); err != nil {
				return err
			}
		}
		row := act.Audit
		row.Outcome = "refused"
		if n.State != StateOpen {
			d.Reasons = []selo.Reason{selo.ReasonSessionNotOpen}
			if n.State == StateExpired {
				d.Reasons = append(d.Reasons, selo.ReasonExpired)
			}
			row.Reasons = d.Reasons
			return insertAudit(ctx, tx, row)
		}

		if !act.valid() {
			return fmt.Errorf("deciding %s: outcome %q with reasons %q is not a decision", n.ID, act.Outcome, act.Reasons)
		}
		to, consumed := act.Outcome, false
		if to == StateGranted {
			ended, err := keyEnded(ctx, tx, n, act.At)
			if err != nil {
				return err
			}
			if ended {
				to = StateOpen
				d.Reasons = append(d.Reasons, selo.ReasonKeyRevoked)
			}
		}
		if to == StateGranted || to == StateDenied {
			used, err := consume(ctx, tx, act)
			if err != nil {
				return err
			}
			consumed = !used
			if used {
				to = StateOpen
				d.Reasons = append(d.Reasons, selo.ReasonReplayed)
			}
		}
		if to == StateOpen {
			n.Attempts++
			if n.Attempts >= n.MaxAttempts {
				to = StateDenied
				d.Reasons = append(d.Reasons, selo.ReasonTooManyAttempts)
			}
		}
		n.State = to
		endedAt := sql.NullInt64{}
		if to != StateOpen {
			n.EndedAt = act.At
			endedAt = sql.NullInt64{Int64: act.At.UnixMicro(), Valid: true}
			row.Outcome = string(to)
		}
		switch to {
		case StateGranted:
			n.Proved, n.ReceiptID = act.Proved, act.ReceiptID
		case StateDenied:
			n.Reasons = d.Reasons
		}
		if _, err := tx.ExecContext(ctx, `UPDATE sessions SET attempts = ?, state = ?, ended_at = ?, reasons = ?, proved = ?,
			receipt_id = ? WHERE id = ?`, n.Attempts, string(to), endedAt, joinReasons(n.Reasons), n.Proved.String(),
			n.ReceiptID, n.ID); err != nil {
			return fmt.Errorf("updating session: %w", err)
		}
		row.Reasons = d.Reasons
		if err := insertAudit(ctx, tx, row); err != nil {
			return err
		}
		if !consumed {
			return nil
		}
		d.Contradicted, err = earlierEvents(ctx, tx, n, act)
		return err
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// valid reports whether the reasons are those of the outcome: none for a grant, some for the others.
func (act DecideAct) valid() bool {
	switch act.Outcome {
	case StateGranted:
		return len(act.Reasons) == 0
	case StateDenied, StateOpen:
		return len(act.Reasons) > 0
	default:
		return false
	}
}

// consume records the ids of act, or reports that one of them is taken, and then records none.
func consume(ctx context.Context, tx *sql.Tx, act DecideAct) (used bool, _ error) {
	if len(act.IDs) == 0 {
		return false, errors.New("a decision without an id could be used again")
	}
	// Two passes are safe: this transaction is the only writer.
	for _, id := range act.IDs {
		hash := sha256.Sum256([]byte(id.Value))
		err := tx.QueryRowContext(ctx, `SELECT true FROM consumed_ids WHERE provider = ? AND environment = ? AND field = ? AND value = ?`,
			id.Provider, string(id.Environment), id.Field, hash[:]).Scan(&used)
		if used {
			return true, nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return false, fmt.Errorf("looking up id: %w", err)
		}
	}
	for _, id := range act.IDs {
		hash := sha256.Sum256([]byte(id.Value))
		if _, err := tx.ExecContext(ctx, `INSERT INTO consumed_ids (provider, environment, field, value, session_id, consumed_at)
			VALUES (?, ?, ?, ?, ?, ?)`, id.Provider, string(id.Environment), id.Field, hash[:], act.SessionID,
			act.At.UnixMicro()); err != nil {
			return false, fmt.Errorf("consuming id: %w", err)
		}
	}
	return false, nil
}

// Record writes one audit row: a refusal that touched no session, or a read.
func (s *Store) Record(ctx context.Context, row Audit) error {
	return s.act(ctx, func(tx *sql.Tx) error { return insertAudit(ctx, tx, row) })
}

// CountUnauthenticated adds to the number of unauthenticated refusals in the minute of at: a row per
// request would let a flood fill the disk.
func (s *Store) CountUnauthenticated(ctx context.Context, at time.Time, reason selo.Reason, n int) error {
	return s.act(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO unauthenticated_refusals (minute, reason, count) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET count = count + excluded.count`, at.Unix()/60, string(reason), n); err != nil {
			return fmt.Errorf("counting refusals: %w", err)
		}
		return nil
	})
}

// joinNotes returns two notes as one, of which either may be empty.
func joinNotes(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

func insertAudit(ctx context.Context, tx *sql.Tx, a Audit) error {
	keys := make([]string, 0, len(a.Keys))
	for _, role := range slices.Sorted(maps.Keys(a.Keys)) {
		keys = append(keys, role+"="+a.Keys[role])
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO audit (at, act, outcome, reasons, session_id, caller_kind, service, app,
		product, purpose, subject_issuer, subject, cpf, pepper_version, client_ids, request_id, note)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		a.At.UnixMicro(), a.Act, a.Outcome, joinReasons(a.Reasons), a.SessionID, a.CallerKind, a.Service, a.App,
		a.Product, a.Purpose, a.Person.SubjectIssuer, orEmpty(a.Person.Subject), orEmpty(a.Person.CPF),
		a.Person.PepperVersion, strings.Join(keys, " "), a.RequestID, a.Note); err != nil {
		return fmt.Errorf("inserting audit row: %w", err)
	}
	return nil
}
