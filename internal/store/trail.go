package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// trailRows bounds what Trail returns, from either end.
const trailRows = 100

// Trail returns the audit rows of a session, or of the request with an id, oldest first: of more than 200 the first and the
// last 100. Exactly one of the two is given, the other is "".
func (s *Store) Trail(ctx context.Context, sessionID, requestID string) ([]Audit, error) {
	const all = `SELECT at, act, outcome, reasons, session_id, caller_kind, service, app, product, purpose,
		subject_issuer, subject, cpf, pepper_version, client_ids, request_id, note FROM audit`
	column, id := "session_id", sessionID
	switch {
	case (sessionID == "") == (requestID == ""):
		return nil, errors.New("reading trail: of either a session or a request")
	case sessionID == "":
		column, id = "request_id", requestID
	}
	return scanAudit(s.read.QueryContext(ctx, all+` WHERE id IN (SELECT id FROM audit WHERE `+column+` = ?1 ORDER BY id LIMIT ?2)
		OR id IN (SELECT id FROM audit WHERE `+column+` = ?1 ORDER BY id DESC LIMIT ?2) ORDER BY id`, id, trailRows))
}

func scanAudit(rows *sql.Rows, err error) (all []Audit, _ error) {
	if err != nil {
		return nil, fmt.Errorf("reading trail: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var (
			a             Audit
			at            sql.NullInt64
			reasons, keys string
		)
		if err := rows.Scan(&at, &a.Act, &a.Outcome, &reasons, &a.SessionID, &a.CallerKind, &a.Service, &a.App, &a.Product, &a.Purpose,
			&a.Person.SubjectIssuer, &a.Person.Subject, &a.Person.CPF, &a.Person.PepperVersion, &keys, &a.RequestID, &a.Note); err != nil {
			return nil, fmt.Errorf("reading audit row: %w", err)
		}
		a.At, a.Reasons = fromMicro(at), splitReasons(reasons)
		a.Person.Subject, a.Person.CPF = orNil(a.Person.Subject), orNil(a.Person.CPF)
		if keys != "" {
			a.Keys = splitKeys(keys)
		}
		all = append(all, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading trail: %w", err)
	}
	return all, nil
}

// Stats is what the database has, for metrics.
type Stats struct {
	OpenSessions  int   // also those that are past their respond_by and not yet recorded as expired
	DatabaseBytes int64 // of the database file; not of its write-ahead log
}

// Stats counts without reading rows.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	var n Stats
	if err := s.read.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM sessions WHERE state = 'open'), page_count * page_size
		FROM pragma_page_count, pragma_page_size`).Scan(&n.OpenSessions, &n.DatabaseBytes); err != nil {
		return Stats{}, fmt.Errorf("reading stats: %w", err)
	}
	return n, nil
}
