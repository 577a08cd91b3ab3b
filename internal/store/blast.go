package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/selo-id/selo"
)

// blastSubjects bounds the subjects that BlastRadius names.
const blastSubjects = 100

// BlastRadius is what hangs on an access key: what would be lost with it, and what somebody else who has its secret may
// have touched. It is of sessions in the key's environment that have its client ID.
type BlastRadius struct {
	OpenSessions      int       // still open, and not past their respond_by
	TokensAlive       int       // not yet expired, whatever became of their session; a session has one for each role of the key
	LatestTokenExpiry time.Time // of those; zero when there is none
	SessionsSince     int       // opened at since or later
	GrantsSince       int       // granted at since or later
	Grants            []string  // ids of those sessions, at most 100, the newest first

	// Subjects are those of all the sessions above. One under two peppers is counted twice.
	Subjects          int
	SubjectPseudonyms [][]byte // of at most 100, those of the newest sessions first
}

// BlastRadius reads every session of the access key, of which there may be millions: it is for an operator, not for a
// request. A zero since is ever. A key of a fixed set, which is not in the database, may have sessions all the same.
func (s *Store) BlastRadius(ctx context.Context, clientID string, env selo.Environment, since, now time.Time) (*BlastRadius, error) {
	const sessions = `WITH mine AS (
		SELECT s.id, s.ended_at, s.subject, s.opened_at, s.token_expires_at, count(*) AS tokens,
			s.state = 'open' AND s.respond_by > ?4 AS open, s.token_expires_at > ?4 AS alive,
			s.opened_at >= ?3 AS recent, s.state = 'granted' AND s.ended_at >= ?3 AS granted
		FROM session_keys k JOIN sessions s ON s.id = k.session_id WHERE k.client_id = ?1 AND s.environment = ?2 GROUP BY s.id
	), hit AS (SELECT * FROM mine WHERE open OR alive OR recent OR granted)`
	args := []any{clientID, string(env), since.UnixMicro(), now.UnixMicro()}
	b := &BlastRadius{}
	err := s.look(ctx, func(tx *sql.Tx) (err error) {
		var latest sql.NullInt64
		if err := tx.QueryRowContext(ctx, sessions+` SELECT coalesce(sum(open), 0), coalesce(sum(tokens) FILTER (WHERE alive), 0),
			max(token_expires_at) FILTER (WHERE alive), coalesce(sum(recent), 0), coalesce(sum(granted), 0), count(DISTINCT subject) FROM hit`, args...).
			Scan(&b.OpenSessions, &b.TokensAlive, &latest, &b.SessionsSince, &b.GrantsSince, &b.Subjects); err != nil {
			return err
		}
		b.LatestTokenExpiry = fromMicro(latest)
		if b.Grants, err = scanTexts(tx.QueryContext(ctx, sessions+` SELECT id FROM hit WHERE granted ORDER BY ended_at DESC, id LIMIT ?5`, append(args, blastSubjects)...)); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, sessions+` SELECT subject FROM hit GROUP BY subject ORDER BY max(opened_at) DESC, subject LIMIT ?5`, append(args, blastSubjects)...)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var subject []byte
			if err := rows.Scan(&subject); err != nil {
				return err
			}
			b.SubjectPseudonyms = append(b.SubjectPseudonyms, subject)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("reading blast radius of %v: %w", KeyID{clientID, env}, err)
	}
	return b, nil
}
