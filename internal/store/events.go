package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/selo-id/selo"
)

// Verdict is what an event says of an attempt.
type Verdict string

// The verdicts. Most events have none.
const (
	VerdictNone     Verdict = ""
	VerdictApproved Verdict = "approved"
	VerdictRefused  Verdict = "refused"
)

// Event is something that the provider said by itself, over a webhook.
type Event struct {
	Webhook    string // its name here
	ID         string // unique in the webhook
	Type       string
	At         time.Time
	ReceivedAt time.Time
	Verdict    Verdict
	IDs        []selo.UsedID // of the attempt
	Audit      Audit         // Outcome, and what is known of the sessions, are filled in here
}

// Recorded is what became of an event.
type Recorded struct {
	New         bool     // false when it was there already, and nothing was written
	Sessions    []string // that used one of its ids
	Contradicts bool     // one of them was granted, and the event refuses
}

// RecordEvent records an event once. Sessions that used one of its ids get an audit row about it; those that use
// one later get theirs then.
func (s *Store) RecordEvent(ctx context.Context, e Event) (*Recorded, error) {
	done := &Recorded{}
	err := s.act(ctx, func(tx *sql.Tx) error {
		*done = Recorded{}
		hash := sha256.Sum256([]byte(e.ID))
		var there bool
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM webhook_events WHERE webhook = ? AND event = ?)`, e.Webhook, hash[:]).Scan(&there); err != nil {
			return fmt.Errorf("looking up event: %w", err)
		}
		if there {
			return nil
		}
		done.New = true
		if _, err := tx.ExecContext(ctx, `INSERT INTO webhook_events (webhook, event, type, at, received_at, verdict) VALUES (?, ?, ?, ?, ?, ?)`,
			e.Webhook, hash[:], e.Type, e.At.UnixMicro(), e.ReceivedAt.UnixMicro(), string(e.Verdict)); err != nil {
			return fmt.Errorf("inserting event: %w", err)
		}
		for _, id := range e.IDs {
			value := sha256.Sum256([]byte(id.Value))
			if _, err := tx.ExecContext(ctx, `INSERT INTO webhook_event_ids (provider, environment, field, value, webhook, event) VALUES (?, ?, ?, ?, ?, ?)`,
				id.Provider, string(id.Environment), id.Field, value[:], e.Webhook, hash[:]); err != nil {
				return fmt.Errorf("inserting event id: %w", err)
			}
			var session string
			err := tx.QueryRowContext(ctx, `SELECT session_id FROM consumed_ids WHERE provider = ? AND environment = ? AND field = ? AND value = ?`,
				id.Provider, string(id.Environment), id.Field, value[:]).Scan(&session)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return fmt.Errorf("matching event: %w", err)
			}
			if err == nil && !slices.Contains(done.Sessions, session) {
				done.Sessions = append(done.Sessions, session)
			}
		}
		for _, id := range done.Sessions {
			n, err := oneSession(scanSessions(tx.QueryContext(ctx, selectSession+` WHERE id = ?`, id)))
			if err != nil {
				return err
			}
			contradicts, err := insertEvidence(ctx, tx, n, e.Webhook, e.Type, e.Verdict, e.Audit)
			if err != nil {
				return err
			}
			done.Contradicts = done.Contradicts || contradicts
		}
		if len(done.Sessions) > 0 {
			return nil
		}
		row := e.Audit
		row.Outcome, row.Note = "recorded", note(e.Webhook, e.Type, e.Verdict)
		return insertAudit(ctx, tx, row)
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

// earlierEvents gives a session that has just used ids its rows about the events that came before it, and reports
// whether one contradicts its grant.
func earlierEvents(ctx context.Context, tx *sql.Tx, n *Session, act DecideAct) (contradicted bool, _ error) {
	var all []earlierEvent
	for _, id := range act.IDs {
		some, err := eventsOf(ctx, tx, id)
		if err != nil {
			return false, err
		}
		for _, e := range some {
			if !slices.Contains(all, e) {
				all = append(all, e)
			}
		}
	}
	for _, e := range all {
		row := Audit{At: act.At, Act: "webhook", CallerKind: "provider", RequestID: act.Audit.RequestID}
		contradicts, err := insertEvidence(ctx, tx, n, e.webhook, e.kind, e.verdict, row)
		if err != nil {
			return false, err
		}
		contradicted = contradicted || contradicts
	}
	return contradicted, nil
}

type earlierEvent struct {
	webhook, id, kind string
	verdict           Verdict
}

// eventsOf returns the events about an attempt, in the order in which they came.
func eventsOf(ctx context.Context, tx *sql.Tx, id selo.UsedID) (all []earlierEvent, _ error) {
	value := sha256.Sum256([]byte(id.Value))
	rows, err := tx.QueryContext(ctx, `SELECT e.webhook, e.event, e.type, e.verdict FROM webhook_event_ids i JOIN webhook_events e
		ON e.webhook = i.webhook AND e.event = i.event WHERE i.provider = ? AND i.environment = ? AND i.field = ? AND i.value = ?
		ORDER BY e.received_at`, id.Provider, string(id.Environment), id.Field, value[:])
	if err != nil {
		return nil, fmt.Errorf("matching earlier events: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var e earlierEvent
		if err := rows.Scan(&e.webhook, &e.id, &e.kind, &e.verdict); err != nil {
			return nil, fmt.Errorf("matching earlier events: %w", err)
		}
		all = append(all, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("matching earlier events: %w", err)
	}
	return all, nil
}

// insertEvidence writes what an event means for a session, and reports whether it contradicts its grant.
func insertEvidence(ctx context.Context, tx *sql.Tx, n *Session, webhook, kind string, v Verdict, row Audit) (contradicts bool, _ error) {
	row.Outcome, row.Note = "evidence", note(webhook, kind, v)
	if contradicts = n.State == StateGranted && v == VerdictRefused; contradicts {
		row.Outcome = "contradicts"
	}
	row.SessionID, row.App, row.Product, row.Purpose, row.Person, row.Keys = n.ID, n.App, n.Product, n.Purpose, n.Person, n.Keys
	return contradicts, insertAudit(ctx, tx, row)
}

func note(webhook, kind string, v Verdict) string {
	text := "webhook " + webhook + ", event " + kind
	if v != VerdictNone {
		text += ", " + string(v)
	}
	return text
}
