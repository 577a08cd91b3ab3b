package store

import (
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/selo-id/selo"
)

const selectSession = `SELECT id, app, product, purpose, environment, service, subject_issuer, subject, subject_sealed,
	cpf, pepper_version, assurance, opened_at, token_expires_at, respond_by, max_attempts, attempts, state, ended_at,
	reasons, proved, receipt_id, policy_id, sign_up,
	(SELECT group_concat(role || '=' || client_id, ' ') FROM session_keys WHERE session_id = sessions.id)
	FROM sessions`

func scanSessions(rows *sql.Rows, err error) (_ []*Session, failed error) {
	if err != nil {
		return nil, fmt.Errorf("reading sessions: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var all []*Session
	for rows.Next() {
		var (
			s                             Session
			assurance, proved, reasons    string
			opened, tokenExpires, respond sql.NullInt64
			ended                         sql.NullInt64
			keys                          sql.NullString
		)
		if err := rows.Scan(&s.ID, &s.App, &s.Product, &s.Purpose, &s.Environment, &s.Service, &s.Person.SubjectIssuer,
			&s.Person.Subject, &s.SubjectSealed, &s.Person.CPF, &s.Person.PepperVersion, &assurance, &opened,
			&tokenExpires, &respond, &s.MaxAttempts, &s.Attempts, &s.State, &ended, &reasons, &proved, &s.ReceiptID,
			&s.PolicyID, &s.SignUp, &keys); err != nil {
			return nil, fmt.Errorf("reading session: %w", err)
		}
		if err := s.Assurance.UnmarshalText([]byte(assurance)); err != nil {
			return nil, fmt.Errorf("reading session %s: %w", s.ID, err)
		}
		if proved != "" {
			if err := s.Proved.UnmarshalText([]byte(proved)); err != nil {
				return nil, fmt.Errorf("reading session %s: %w", s.ID, err)
			}
		}
		s.OpenedAt, s.TokenExpiresAt, s.RespondBy, s.EndedAt = fromMicro(opened), fromMicro(tokenExpires), fromMicro(respond), fromMicro(ended)
		s.Reasons = splitReasons(reasons)
		s.Person.CPF = orNil(s.Person.CPF)
		s.Keys = splitKeys(keys.String)
		all = append(all, &s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading sessions: %w", err)
	}
	return all, nil
}

func oneSession(all []*Session, err error) (*Session, error) {
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, ErrNotFound
	}
	return all[0], nil
}

func fromMicro(t sql.NullInt64) time.Time {
	if !t.Valid {
		return time.Time{}
	}
	return time.UnixMicro(t.Int64).UTC()
}

// toMicro is its reverse.
func toMicro(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: !t.IsZero()}
}

func inClause[T any](values []T) (string, []any) {
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	return "(" + strings.TrimSuffix(strings.Repeat("?, ", len(values)), ", ") + ")", args
}

func joinReasons(rs []selo.Reason) string {
	words := make([]string, len(rs))
	for i, r := range rs {
		words[i] = string(r)
	}
	return strings.Join(words, " ")
}

func splitReasons(text string) (rs []selo.Reason) {
	for _, r := range strings.Fields(text) {
		rs = append(rs, selo.Reason(r))
	}
	return rs
}

// splitKeys reads pairs of role=client_id: role to client ID.
func splitKeys(text string) map[string]string {
	keys := make(map[string]string)
	for _, pair := range strings.Fields(text) {
		role, clientID, _ := strings.Cut(pair, "=")
		keys[role] = clientID
	}
	return keys
}

// orEmpty keeps nil from becoming NULL.
func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// orNil is its reverse.
func orNil(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}
